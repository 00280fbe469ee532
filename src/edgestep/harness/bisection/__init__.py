"""The module at which an artifact leaves PyTorch."""
