"""Pictures -> AutoencoderKL: 64 x 64 x 3 <-> 8 x 8 x 16.

Loss: L1 + MSE in a luma/chroma space whose chroma is weighted up, because colours come last otherwise, at full and
half resolution, plus a small KL term that keeps the latents smooth.
"""

import math
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from torch.nn import functional as F

from edgestep.distill.average import Average
from edgestep.distill.emoji.augment import augment, draw_poses
from edgestep.distill.emoji.pictures import read_training_pictures
from edgestep.distill.emoji.recipe import EmojiRecipe
from edgestep.distill.loop import Losses, Training, cosine_lr, run
from edgestep.distill.workers import Workers, adamw

KL_WEIGHT = 2e-4
CHROMA = 2.0


def new_autoencoder(recipe: EmojiRecipe) -> AutoencoderKL:
    """Return the untrained autoencoder."""
    levels = len(recipe.autoencoder_channels)
    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        latent_channels=recipe.latent_channels,
        block_out_channels=recipe.autoencoder_channels,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        layers_per_block=1,
        norm_num_groups=8,
        sample_size=recipe.picture_size,
    )


def luma_chroma(pictures: torch.Tensor) -> torch.Tensor:
    """RGB [B, 3, H, W] -> (luma, CHROMA * (B - luma), CHROMA * (R - luma)), BT.601 luma."""
    red, green, blue = pictures.unbind(1)
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    return torch.stack([luma, CHROMA * 0.564 * (blue - luma), CHROMA * 0.713 * (red - luma)], 1)


def picture_loss(out: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """L1 + 2 MSE on luma and chroma, at full and half resolution. Both [B, 3, H, W] in [-1, 1]."""
    error = luma_chroma(out - target)
    half = F.avg_pool2d(error, 2)
    return error.abs().mean() + 2 * error.square().mean() + half.abs().mean() + 2 * half.square().mean()


def train_autoencoder(work: Path, recipe: EmojiRecipe, workers: Workers) -> AutoencoderKL:
    """Train, or finish training, on `work`/pictures.safetensors and its "more"; return the averaged model."""
    torch.manual_seed(recipe.seed)
    pictures = read_training_pictures(work).to(workers.device)
    model = new_autoencoder(recipe)
    wrapped = workers.module(Reconstruction(model))
    average, optimizer = Average(model, 0.995), adamw(model, recipe.autoencoder_lr)
    parts = {"model": model, "average": average, "optimizer": optimizer}
    training = Training(work, "autoencoder", recipe.autoencoder_steps, parts, recipe.seed + 1, workers)
    batch, size = recipe.autoencoder_batch, recipe.latent_size

    def step(i: int, generator: torch.Generator) -> Losses:
        cosine_lr(optimizer, i, recipe.autoencoder_steps, recipe.autoencoder_lr)
        chosen = torch.randint(len(pictures), (batch,), generator=generator)
        poses = draw_poses(batch, generator)
        chosen, poses = workers.share(chosen, poses)
        target = augment(pictures[chosen], poses, recipe.picture_size)
        noise = workers.noise((batch, recipe.latent_channels, size, size), generator)
        with workers.autocast():
            out, kl = wrapped(target, noise)
        loss = picture_loss(out.float(), target) + KL_WEIGHT * kl
        workers.update(loss, model, optimizer)
        average.update()
        psnr = -10 * torch.log10((out.detach().float() - target).square().mean() / 4)
        return {"loss": loss, "kl": kl.detach().clone(), "psnr": psnr}

    run(training, step)
    return average.module


class Reconstruction(torch.nn.Module):
    """Encode, draw a latent, decode: one module, so that processes exchange one gradient."""

    def __init__(self, vae: AutoencoderKL):
        super().__init__()
        self.vae = vae

    def forward(self, pictures: torch.Tensor, noise: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (pictures again [B, 3, H, W], the KL term per latent number)."""
        posterior = self.vae.encode(pictures).latent_dist
        kl = posterior.kl().mean() / posterior.mean[0].numel()
        return self.vae.decode(posterior.mean + posterior.std * noise).sample, kl


@torch.no_grad()
def psnr_of(vae: AutoencoderKL, pictures: torch.Tensor, size: int) -> float:
    """Return the PSNR in dB over all of `pictures` uint8 [N, 3, S, S], unmoved, encoded and decoded."""
    device = next(vae.parameters()).device
    squares, count = 0.0, 0
    for part in pictures.split(128):
        target = augment(part.to(device), torch.zeros(len(part), 4, device=device), size)
        error = vae.decode(vae.encode(target).latent_dist.mean).sample.clamp(-1, 1) - target
        squares, count = squares + error.square().sum().item(), count + error.numel()
    return -10 * math.log10(squares / count / 4)
