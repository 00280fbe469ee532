"""Results as pages, tables and pictures, for people."""
