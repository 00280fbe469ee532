"""Checkpoint -> the OneStep contract: family, timestep, formula, loop."""
