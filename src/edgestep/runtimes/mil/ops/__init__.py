"""MIL operations in torch, one family a file."""
