"""What PyTorch drew, recorded once: bundles, floors, taps."""
