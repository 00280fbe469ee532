"""One loss a file, each with its equation and its source."""
