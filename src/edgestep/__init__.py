"""edgestep: one-step image generators for phones and laptops, checked against PyTorch and timed."""

__version__ = "0.1.0"
