"""Artifact -> smaller artifact: INT8 and lower."""
