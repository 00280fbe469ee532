"""A checkpoint's VAE decoder -> a tiny decoder that draws nearly the same pictures in a fraction of the work."""
