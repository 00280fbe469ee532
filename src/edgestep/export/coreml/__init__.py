"""Captured graphs -> Core ML."""
