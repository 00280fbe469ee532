"""Tiny decoder, VAE, latents that training has not seen -> how far its pictures are from the VAE's, and what it saves.

The tiny decoder is an approximation: the figures say how near it comes, and none of them is a parity gate.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from edgestep.distill.decoder.networks import decoder_flops, decoder_parameters
from edgestep.distill.decoder.recipe import DecoderRecipe
from edgestep.distill.decoder.similarity import decibels, psnr, ssim
from edgestep.distill.decoder.source import OneStepSource
from edgestep.distill.loop import generator_of_step

SEED = 900_001
"""Set apart from training's: no noise of it is drawn again."""
BATCH = 128
TURNS = 9

Judged = Callable[[torch.Tensor, torch.Tensor], float]
"""(the VAE's pictures, the tiny decoder's), float32 [N, 3, H, W] in [-1, 1] on the CPU -> a distance of the sets."""


@dataclass(frozen=True)
class DecoderMeasures:
    """`psnr_db`: of the mean squared error over all pictures, the strictest single figure; `psnr_mean_db`: the mean of
    each picture's; `psnr_low_db`: a picture in twenty is below. `ssim`: the mean. `frechet`: between the two sets of
    pictures in the judge's features, None without a judge; `frechet_apart`: between two halves of the VAE's own, what
    the number of pictures alone makes of it. FLOPs are for one picture, two a multiply-add; seconds the median of
    decoding one picture on `device`, in turns.
    """

    pictures: int
    psnr_db: float
    psnr_mean_db: float
    psnr_low_db: float
    ssim: float
    frechet: float | None
    frechet_apart: float | None
    flops: int
    vae_flops: int
    parameters: int
    vae_parameters: int
    seconds: float
    vae_seconds: float
    device: str

    @property
    def flops_ratio(self) -> float:
        """Operations as a share of the VAE decoder's."""
        return self.flops / self.vae_flops


@torch.no_grad()
def measure_decoder(
    tiny: Any, source: OneStepSource, recipe: DecoderRecipe, judged: Judged | None = None
) -> DecoderMeasures:
    """Decode `recipe.measured` fresh latents of the generator with both, in float32; both on one device."""
    vae_pictures, tiny_pictures = _both(tiny, source, recipe)
    errors = ((vae_pictures - tiny_pictures).double() / 2).square().mean((1, 2, 3))
    pairs = zip(vae_pictures.split(BATCH), tiny_pictures.split(BATCH), strict=True)
    each = [(psnr(_unit(a), _unit(b)), ssim(_unit(a), _unit(b))) for a, b in pairs]
    decibels_each, similarity = torch.cat([p for p, _ in each]), torch.cat([s for _, s in each])
    seconds, vae_seconds = _timed(tiny, source)
    half = len(vae_pictures) // 2
    return DecoderMeasures(
        pictures=len(vae_pictures),
        psnr_db=decibels(errors.mean()).item(),
        psnr_mean_db=decibels_each.mean().item(),
        psnr_low_db=torch.quantile(decibels_each, 0.05).item(),
        ssim=similarity.mean().item(),
        frechet=judged(vae_pictures, tiny_pictures) if judged else None,
        frechet_apart=judged(vae_pictures[:half], vae_pictures[half:]) if judged else None,
        flops=decoder_flops(tiny, source.latent_shape),
        vae_flops=decoder_flops(source.vae, source.latent_shape),
        parameters=decoder_parameters(tiny),
        vae_parameters=decoder_parameters(source.vae),
        seconds=seconds,
        vae_seconds=vae_seconds,
        device=_device(tiny),
    )


def judged_by(judge: Any, frechet: Callable[[Any, Any], float]) -> Judged:
    """Return a distance in the features of `judge`, called as judge(pictures) -> (features [B, D], logits)."""
    device = next(judge.parameters()).device

    def features(pictures: torch.Tensor) -> Any:
        return torch.cat([judge(part.to(device))[0].cpu() for part in pictures.split(BATCH)]).double().numpy()

    return torch.no_grad()(lambda first, second: float(frechet(features(first), features(second))))


def _both(tiny: Any, source: OneStepSource, recipe: DecoderRecipe) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the VAE's and the tiny decoder's pictures [N, 3, H, W], cut to [-1, 1], on the CPU."""
    device = next(tiny.parameters()).device
    drawn: tuple[list[torch.Tensor], list[torch.Tensor]] = ([], [])
    for start in range(0, recipe.measured, BATCH):
        count = min(BATCH, recipe.measured - start)
        generator = generator_of_step(recipe.seed + SEED, start)
        ids = source.input_ids[torch.randint(len(source.input_ids), (count,), generator=generator)]
        noise = torch.randn((count, *source.latent_shape), generator=generator)
        x0 = source.draw(noise.to(device), ids.to(device))
        drawn[0].append(source.pictures(x0).clamp(-1, 1).cpu())
        drawn[1].append(source.decoded(tiny, x0).clamp(-1, 1).cpu())
    return torch.cat(drawn[0]), torch.cat(drawn[1])


def _unit(pictures: torch.Tensor) -> torch.Tensor:
    return pictures / 2 + 0.5


def _timed(tiny: Any, source: OneStepSource) -> tuple[float, float]:
    """Return the median seconds of one picture by each, taken in turns after two to warm up."""
    latents = torch.zeros((1, *source.latent_shape), device=next(tiny.parameters()).device)
    wait = torch.cuda.synchronize if latents.is_cuda else lambda: None
    taken: dict[int, list[float]] = {0: [], 1: []}
    for turn in range(TURNS + 2):
        for place, decoder in enumerate((tiny, source.vae)):
            wait()
            start = time.perf_counter()
            decoder.decode(latents)
            wait()
            if turn >= 2:
                taken[place].append(time.perf_counter() - start)
    return statistics.median(taken[0]), statistics.median(taken[1])


def _device(tiny: Any) -> str:
    device = next(tiny.parameters()).device
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, threads: {torch.get_num_threads()}"
