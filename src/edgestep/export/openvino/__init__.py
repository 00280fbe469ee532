"""Captured graphs -> OpenVINO IR."""
