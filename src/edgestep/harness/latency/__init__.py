"""Times and memory of artifacts, in fresh processes."""
