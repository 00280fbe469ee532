"""Pictures and captions -> latents and token ids on disk, read at constant memory while training."""
