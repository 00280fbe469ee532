"""Latents and the VAE's pictures of them -> the trained tiny decoder."""

from pathlib import Path
from typing import Any

import torch

from edgestep.distill.average import Average
from edgestep.distill.data.latent_data import LatentData, check_data
from edgestep.distill.decoder.latents import Stream
from edgestep.distill.decoder.loss import decoder_loss, picture_error
from edgestep.distill.decoder.networks import new_tiny_decoder
from edgestep.distill.decoder.recipe import DecoderRecipe
from edgestep.distill.decoder.source import OneStepSource
from edgestep.distill.loop import Losses, Training, cosine_lr, run
from edgestep.distill.workers import Workers, adamw


class Decoding(torch.nn.Module):
    """An AutoencoderTiny's decoder, called with x0: what is wrapped to exchange gradients.

    As TAESD's, it decodes x0 itself: its scaling factor is 1, whatever the VAE's is.
    """

    def __init__(self, tiny: Any):
        super().__init__()
        self.decoder = tiny.decoder

    def forward(self, x0: torch.Tensor) -> torch.Tensor:
        """Return pictures [B, 3, H, W] in about [-1, 1] of x0 [B, C, h, w]."""
        return self.decoder(x0)


def train_decoder(
    work: Path, source: OneStepSource, recipe: DecoderRecipe, workers: Workers, data: LatentData | None = None
) -> Any:
    """Train, or finish training, in `work`; return the averaged AutoencoderTiny, on the device.

    `data` adds its latents to those that the generator draws. Raises BadInput where they have another shape or scale.
    """
    if data is not None:
        scale = float(source.vae.config["scaling_factor"])
        check_data(data, latent_shape=source.latent_shape, prompt_tokens=data.prompt_tokens, latent_scale=scale)
    source.to(workers.device)
    stream = Stream(source, data, recipe, workers)
    tiny = _untrained(source, recipe).to(workers.device)
    decoding = Decoding(tiny)
    decode = workers.module(decoding)
    average, optimizer = Average(decoding, recipe.average), adamw(decoding, recipe.lr)
    parts = {"decoder": decoding, "average": average, "optimizer": optimizer}
    training = Training(work, "decoder", recipe.steps, parts, recipe.seed + 9, workers)

    def step(i: int, _: torch.Generator) -> Losses:
        cosine_lr(optimizer, i, recipe.steps, recipe.lr, warmup=min(100, recipe.steps // 10))
        x0, target = stream(i)
        with workers.autocast():
            drawn = decode(x0)
        loss = decoder_loss(drawn, target)
        norm = workers.update(loss, decoding, optimizer)
        average.update()
        psnr = -10 * torch.log10(picture_error(drawn.detach().float(), target).square().mean() / 4)
        return {"loss": loss.detach(), "psnr": psnr, "norm": norm}

    run(training, step)
    averaged: Any = average.module
    tiny.decoder.load_state_dict(averaged.decoder.state_dict())
    return tiny.requires_grad_(False).eval()


def _untrained(source: OneStepSource, recipe: DecoderRecipe) -> Any:
    """Return the tiny decoder that every process begins with."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        return new_tiny_decoder(
            source.vae,
            latent_size=source.latent_shape[1:],
            blocks=recipe.blocks,
            flops=recipe.flops,
            channels=recipe.channels,
        )
