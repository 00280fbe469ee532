"""The schemes of OpenVINO IR."""
