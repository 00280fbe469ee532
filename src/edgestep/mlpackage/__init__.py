"""What a Core ML package is on disk, and coremltools: what export, quantize and runtimes share, below them all."""
