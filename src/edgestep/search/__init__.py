"""Artifact -> which layers bear how many bits: trials of one layer or of all, in process or over Ray."""
