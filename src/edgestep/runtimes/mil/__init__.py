"""Core ML's ML Programs, read and executed without a Mac."""
