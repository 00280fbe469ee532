"""Pictures -> AutoencoderKL: 64 x 64 x 3 <-> 8 x 8 x 16.

Loss: L1 + MSE in a luma/chroma space whose chroma is weighted up, because colours come last otherwise, at full and
half resolution, plus a small KL term that keeps the latents smooth.
"""

from pathlib import Path

import torch
from diffusers import AutoencoderKL
from safetensors.torch import load_file
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from edgestep.distill.augment import augment
from edgestep.distill.loop import Training, cosine_lr, run
from edgestep.distill.recipe import EmojiRecipe

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


def train_autoencoder(work: Path, recipe: EmojiRecipe) -> AutoencoderKL:
    """Train, or finish training, on `work`/pictures.safetensors; return the averaged model."""
    torch.manual_seed(recipe.seed)
    pictures = load_file(work / "pictures.safetensors")["pictures"]
    model = new_autoencoder(recipe)
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.995))
    optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.autoencoder_lr, weight_decay=0.01)
    parts = {"model": model, "average": average, "optimizer": optimizer}
    training = Training(work, "autoencoder", recipe.autoencoder_steps, parts, seed=recipe.seed + 1)

    def step(i: int, generator: torch.Generator) -> dict[str, float]:
        cosine_lr(optimizer, i, recipe.autoencoder_steps, recipe.autoencoder_lr)
        chosen = torch.randint(len(pictures), (recipe.autoencoder_batch,), generator=generator)
        target = augment(pictures[chosen], recipe.picture_size, generator)
        posterior = model.encode(target).latent_dist
        noise = torch.randn(posterior.mean.shape, generator=generator)
        out = model.decode(posterior.mean + posterior.std * noise).sample
        kl = posterior.kl().mean() / posterior.mean[0].numel()
        loss = picture_loss(out, target) + KL_WEIGHT * kl
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        average.update_parameters(model)
        psnr = -10 * torch.log10((out.detach() - target).square().mean() / 4)
        return {"loss": loss.item(), "kl": kl.item(), "psnr": psnr.item()}

    run(training, step)
    return average.module.eval()
