"""The schemes of ONNX graphs."""
