"""A small teacher, its rows and a config of a few steps, that the trainer's tests share."""

from pathlib import Path

import torch

from edgestep.distill.config import Config
from edgestep.distill.data.about import DataInfo
from edgestep.distill.data.shard_files import Block
from edgestep.distill.data.shards import write_shards
from edgestep.distill.folders import Parts

CPU = torch.device("cpu")
COUNT = 20
PROMPTS = ("a red heart", "grinning face", "cat face", "green apple")
DMD = Config(
    batch=4,
    pairs=8,
    pair_steps=2,
    regression_steps=3,
    matching_steps=4,
    fake_updates=2,
    average=0.9,
    look_every=2,
)
GAN = Config(
    method="dmd2",
    batch=4,
    regression_steps=0,
    regression_weight=0.0,
    matching_steps=4,
    fake_updates=2,
    adversarial_weight=0.5,
    average=0.9,
    look_every=2,
)


def write_rows(folder: Path, parts: Parts, *, tokenizer_sha256: str = "", latent_scale: float | None = None) -> Path:
    """Twenty random latents with prompts in turn, as the teacher's own data would be."""
    unet, texts = parts.teacher.unet, [f"{PROMPTS[i % len(PROMPTS)]} {i}" for i in range(COUNT)]
    shape = (unet.config.in_channels, unet.config.sample_size, unet.config.sample_size)
    latents = torch.randn(COUNT, *shape, generator=torch.Generator().manual_seed(11))
    ids = parts.teacher.ids(texts)

    def make(items: range) -> Block:
        rows = list(items)
        return Block(latents[rows].half(), ids[rows].int(), tuple(texts[i] for i in rows))

    info = DataInfo(shape, latent_scale, ids.shape[1], tokenizer_sha256)
    write_shards(folder, info, COUNT, make, shard_rows=8)
    return folder


def clone(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}
