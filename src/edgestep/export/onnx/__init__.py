"""Captured graphs -> ONNX."""
