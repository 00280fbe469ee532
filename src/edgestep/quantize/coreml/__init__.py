"""The schemes of Core ML packages."""
