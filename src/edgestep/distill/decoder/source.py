"""A one-step checkpoint's folder -> its generator, its prompts and its VAE: what a tiny decoder learns from."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from edgestep.artifact import BadInput
from edgestep.distill.diffusion import Schedule
from edgestep.distill.generator import Predict, generator_of

PIPELINES = ("StableDiffusionPipeline", "LatentConsistencyModelPipeline")


@dataclass(frozen=True)
class OneStepSource:
    """The networks, frozen; `input_ids` int64 [P, T] of every prompt; `latent_shape` is (C, h, w)."""

    unet: Any
    text_encoder: Any
    vae: Any
    scheduler: Any
    input_ids: torch.Tensor
    conditioning_t: int = 999

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """What the generator draws."""
        size = self.unet.config["sample_size"]
        height, width = (size, size) if isinstance(size, int) else size
        return int(self.unet.config["in_channels"]), int(height), int(width)

    @property
    def pixels(self) -> int:
        """Pixels of one picture."""
        _, height, width = self.latent_shape
        return height * width * 4 ** (len(self.vae.config["block_out_channels"]) - 1)

    @property
    def device(self) -> torch.device:
        """Where the networks are."""
        return next(self.unet.parameters()).device

    def to(self, device: torch.device) -> "OneStepSource":
        """Move the networks to the device, frozen and in evaluation mode."""
        for network in (self.unet, self.text_encoder, self.vae):
            network.to(device).requires_grad_(False).eval()
        return self

    @torch.no_grad()
    def draw(self, noise: torch.Tensor, input_ids: torch.Tensor) -> torch.Tensor:
        """Return x0 float32 [B, C, h, w] of noise [B, C, h, w] and prompts [B, T], all on the networks' device."""
        schedule = Schedule(self.scheduler, noise.device)
        embeds = self.text_encoder(input_ids)[0]
        return generator_of(Predict(self.unet), schedule, self.conditioning_t)(noise, embeds)

    @torch.no_grad()
    def pictures(self, x0: torch.Tensor) -> torch.Tensor:
        """Return the VAE's pictures float32 [B, 3, H, W], in about [-1, 1]; a few at a time where they are large."""
        return self.decoded(self.vae, x0 / self.vae.config["scaling_factor"])

    def decoded(self, decoder: Any, latents: torch.Tensor) -> torch.Tensor:
        """Return `decoder`'s pictures, float32, of scaled latents."""
        some = max(1, PIXELS_AT_ONCE // self.pixels)
        return torch.cat([decoder.decode(part).sample.float() for part in latents.split(some)])


PIXELS_AT_ONCE = 2**22
"""1,024 pictures of 64 x 64, 16 of 512 x 512: a decoder's activations are some hundred times the picture."""


def read_source(folder: Path, prompts: Sequence[str] = (), conditioning_t: int = 999) -> OneStepSource:
    """Load a diffusers folder shaped like Stable Diffusion; `prompts` instead of the folder's prompts.txt.

    Raises BadInput where the folder is another pipeline's or cannot be loaded, or there is no prompt.
    """
    _check_pipeline(folder)
    from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTokenizer

    try:
        unet = UNet2DConditionModel.from_pretrained(folder, subfolder="unet")
        vae = AutoencoderKL.from_pretrained(folder, subfolder="vae")
        scheduler = DDIMScheduler.from_pretrained(folder, subfolder="scheduler")
        text_encoder = CLIPTextModel.from_pretrained(folder / "text_encoder")
        tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
    except Exception as error:  # diffusers and transformers raise a dozen unrelated classes
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise BadInput(
            f"got {folder}, which cannot be loaded ({reason}); expected a diffusers folder shaped like Stable Diffusion"
        ) from error
    length = text_encoder.config.max_position_embeddings
    texts = list(prompts or prompts_of(folder))
    ids = tokenizer(texts, padding="max_length", truncation=True, max_length=length, return_tensors="pt").input_ids
    return OneStepSource(unet.float(), text_encoder.float(), vae.float(), scheduler, ids, conditioning_t)


def prompts_of(folder: Path) -> list[str]:
    """Return the lines of prompts.txt that are not blank; BadInput where there are none."""
    path = folder / "prompts.txt"
    lines = path.read_text().splitlines() if path.is_file() else []
    prompts = [line.strip() for line in lines if line.strip()]
    if not prompts:
        raise BadInput(
            f"got no prompts in {path}; expected one a line, to draw latents from; "
            "write the file, or give --prompts FILE"
        )
    return prompts


def _check_pipeline(folder: Path) -> None:
    try:
        kind = json.loads((folder / "model_index.json").read_text())["_class_name"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInput(
            f"got {folder}, which has no readable model_index.json; expected a diffusers folder of a one-step generator"
        ) from error
    if kind not in PIPELINES:
        raise BadInput(
            f"got a {kind} in {folder}; expected {' or '.join(PIPELINES)}; tiny decoders are trained for these"
        )
