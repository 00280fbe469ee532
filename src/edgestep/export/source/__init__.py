"""What people hand over: a folder, a hub id, a UNet file, a LoRA, a decoder -> a checked Checkpoint, its weights."""
