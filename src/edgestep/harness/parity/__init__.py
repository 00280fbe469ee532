"""An artifact's pictures against a bundle's, by gates."""
