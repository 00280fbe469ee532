"""Latents + captions -> the data folder that the trainer reads: what 'edgestep distill precompute' makes for others."""

from pathlib import Path

import torch

from edgestep.distill.data.about import DataInfo
from edgestep.distill.data.latent_data import LatentData
from edgestep.distill.data.shard_data import ShardData
from edgestep.distill.data.shard_files import Block
from edgestep.distill.data.shards import write_shards
from edgestep.distill.emoji.captions import Captions
from edgestep.distill.emoji.recipe import EmojiRecipe
from edgestep.distill.workers import Workers


def write_rows(
    folder: Path, latents: torch.Tensor, captions: Captions, recipe: EmojiRecipe, workers: Workers
) -> LatentData:
    """Write one row per picture and pose, each with a caption drawn for it (no null prompts); open them.

    `latents` float32 [V, N, C, h, w].
    """
    poses, pictures = latents.shape[:2]

    def make(items: range) -> Block:
        generator = torch.Generator().manual_seed(recipe.seed * 1_000_003 + 600_000 + items.start)
        places = torch.arange(items.start, items.stop)
        caption = captions.draw(places % pictures, recipe.unstyled_text, 0.0, generator)
        found = latents[(places // pictures).to(latents.device), (places % pictures).to(latents.device)]
        return Block(found.half().cpu(), captions.ids[caption].int(), tuple(captions.texts[i] for i in caption))

    info = DataInfo(tuple(latents.shape[2:]), None, captions.ids.shape[1])
    write_shards(folder, info, poses * pictures, make, workers=workers)
    return ShardData(folder)
