"""A teacher's folder -> pictures to latents, captions to token ids, as the teacher itself was trained on them."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from edgestep.artifact import BadInput, sha256_of_file, sha256_of_json
from edgestep.distill.data.tokenizing import open_tokenizer

WEIGHTS = "diffusion_pytorch_model.safetensors"


@dataclass(frozen=True)
class Encoder:
    """The VAE on its device, the tokenizer, and their numbers: `image_size` (H, W), `latent_shape` (C, h, w)."""

    vae: Any
    tokenizer: Any
    image_size: tuple[int, int]
    latent_shape: tuple[int, int, int]
    latent_scale: float
    latent_shift: float
    prompt_tokens: int
    vae_sha256: str

    @torch.inference_mode()
    def encode(self, pictures: list[np.ndarray]) -> torch.Tensor:
        """Return latents float32 [B, C, h, w] of uint8 [H, W, 3] each, on the CPU: (posterior mean - shift) x scale."""
        batch = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).to(self.vae.device)
        mean = self.vae.encode(batch.float() / 127.5 - 1).latent_dist.mean
        return ((mean - self.latent_shift) * self.latent_scale).cpu()


def open_encoder(teacher: Path, device: torch.device) -> Encoder:
    """Open the VAE (float32) and the tokenizer of a diffusers folder; raise BadInput where they are not SD-shaped."""
    unet, text = _config(teacher, "unet"), _config(teacher, "text_encoder")
    vae, about = _open_vae(teacher), _config(teacher, "vae")
    factor = 2 ** (len(vae.config.block_out_channels) - 1)
    height, width = _pair(unet.get("sample_size"), teacher)
    return Encoder(
        vae=vae.to(device),
        tokenizer=open_tokenizer(teacher / "tokenizer"),
        image_size=(height * factor, width * factor),
        latent_shape=(vae.config.latent_channels, height, width),
        latent_scale=float(vae.config.scaling_factor),
        latent_shift=float(getattr(vae.config, "shift_factor", None) or 0.0),
        prompt_tokens=int(text["max_position_embeddings"]),
        vae_sha256=sha256_of_json([sha256_of_file(teacher / "vae" / WEIGHTS), about]),
    )


def _config(teacher: Path, part: str) -> dict[str, Any]:
    path = teacher / part / "config.json"
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadInput(
            f"got no readable {path} ({error}); expected a diffusers folder shaped like Stable Diffusion; "
            "give --teacher such a folder"
        ) from error


def _pair(size: Any, teacher: Path) -> tuple[int, int]:
    pair = (size, size) if isinstance(size, int) else tuple(size or ())
    if len(pair) != 2 or not all(isinstance(n, int) and n > 0 for n in pair):
        raise BadInput(f"got sample_size {size!r} in the UNet of {teacher}; expected one number or [h, w]; set it")
    return pair[0], pair[1]


def _open_vae(teacher: Path) -> Any:
    from diffusers import AutoencoderKL

    kind = _config(teacher, "vae").get("_class_name")
    if kind != "AutoencoderKL" or not (teacher / "vae" / WEIGHTS).is_file():
        raise BadInput(
            f"got a VAE {kind} in {teacher}, or one without {WEIGHTS}; expected AutoencoderKL in safetensors; "
            "save the teacher so"
        )
    try:
        vae = AutoencoderKL.from_pretrained(teacher / "vae", local_files_only=True, use_safetensors=True)
    except (OSError, ValueError, RuntimeError) as error:
        line = str(error).splitlines()[0]
        raise BadInput(f"got a VAE in {teacher} that does not load ({line}); expected a whole one; copy it") from error
    return vae.float().requires_grad_(False).eval()
