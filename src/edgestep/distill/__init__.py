"""Teacher -> one-step generator: data, autoencoder, teacher, distribution matching, checkpoint."""
