"""The bundled emoji generator: its pictures, captions, autoencoder and teacher, and the order that they are made in."""
