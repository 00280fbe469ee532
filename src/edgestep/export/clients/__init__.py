"""Checkpoint -> what existing clients read beside the graphs: configs, schedulers, tokenizers."""
