"""Checkpoint -> ONNX, OpenVINO IR, Core ML."""
