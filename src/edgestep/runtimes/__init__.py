"""Artifact + device -> Session."""
