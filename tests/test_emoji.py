"""The bundled generator: shaped like Stable Diffusion, small, licensed, and it draws what it is asked for."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from edgestep.source_options import OPTIONS, source_from_options

UNSAID = {name: default for name, (_, default) in OPTIONS.items()}
"""Every option of a source as it is where a command line does not name it."""
PIXELS = {
    "noto red heart": (1.0, 0.1, 0.2),
    "twemoji blue heart": (0.2, 0.5, 0.9),
    "noto grinning face": (1.0, 0.8, 0.2),
    "fluent frog": (0.5, 0.8, 0.3),
    "twemoji red apple": (0.85, 0.2, 0.25),
    "noto pig face": (1.0, 0.65, 0.7),
}
"""Prompt -> the colour that most of its ink has, in [0, 1]."""


@pytest.fixture(scope="module")
def pictures(emoji: Path) -> dict[str, np.ndarray]:
    from diffusers import StableDiffusionPipeline

    pipeline = StableDiffusionPipeline.from_pretrained(emoji, safety_checker=None, torch_dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    noise = torch.randn(len(PIXELS), 16, 8, 8, generator=torch.Generator().manual_seed(0))
    drawn = pipeline(list(PIXELS), latents=noise, num_inference_steps=1, guidance_scale=1.0, output_type="np").images
    return dict(zip(PIXELS, drawn, strict=True))


@pytest.mark.parametrize("prompt", PIXELS)
def test_the_ink_has_the_colour_of_the_prompt(pictures: dict[str, np.ndarray], prompt: str):
    picture = pictures[prompt]
    ink = picture[picture.min(-1) < 0.8]
    assert 0.15 < len(ink) / (64 * 64) < 0.95
    assert np.linalg.norm(np.median(ink, 0) - np.array(PIXELS[prompt])) < 0.3, np.median(ink, 0)
    assert picture[:3, :3].min() > 0.85  # the corner is background


def test_it_is_shaped_like_stable_diffusion_and_holds_no_pickle(emoji: Path):
    index = json.loads((emoji / "model_index.json").read_text())
    assert index["_class_name"] == "StableDiffusionPipeline"
    assert index["tokenizer"] == ["transformers", "CLIPTokenizer"]
    files = [p for p in emoji.rglob("*") if p.is_file()]
    assert {p.suffix for p in files} <= {".json", ".safetensors", ".txt", ".md"}
    assert sum(p.stat().st_size for p in files) <= 24e6
    for weights in emoji.rglob("*.safetensors"):
        with safe_open(weights, "np") as tensors:
            assert {tensors.get_slice(name).get_dtype() for name in tensors.keys()} <= {"F16", "I64"}  # noqa: SIM118


def test_the_card_names_every_source_and_its_licence(emoji: Path):
    card = (emoji / "README.md").read_text()
    for word in ("Noto Emoji", "Apache-2.0", "Fluent Emoji", "MIT", "Twemoji", "CC-BY-4.0", "student, 1 step"):
        assert word in card


def test_the_tiny_decoder_beside_it_draws_nearly_the_same_for_a_quarter_of_the_work(emoji: Path):
    """Its bars: 28 dB against the VAE's pictures, a quarter of the operations. Counted by torch, drawn by diffusers."""
    from diffusers import AutoencoderKL, AutoencoderTiny
    from torch.utils.flop_counter import FlopCounterMode

    folder = source_from_options("emoji", **UNSAID | {"decoder": "emoji-tiny"}).decoder
    vae = AutoencoderKL.from_pretrained(emoji, subfolder="vae", torch_dtype=torch.float32)
    tiny = AutoencoderTiny.from_pretrained(folder, torch_dtype=torch.float32)
    x0 = one_step_latents(emoji, 32)
    work = []
    with torch.no_grad():
        for decode, latents in ((vae.decode, x0 / vae.config.scaling_factor), (tiny.decode, x0)):
            with FlopCounterMode(display=False) as counter:
                decode(latents[:1])
            work.append(counter.get_total_flops())
        drawn = [vae.decode(x0 / vae.config.scaling_factor).sample, tiny.decode(x0).sample]
    right, near = (picture.clamp(-1, 1).double() / 2 for picture in drawn)
    assert work[1] <= 0.25 * work[0]
    assert -10 * torch.log10((right - near).square().mean()) >= 28
    assert sum(path.stat().st_size for path in folder.iterdir()) < 1e6


def one_step_latents(emoji: Path, count: int) -> torch.Tensor:
    """Return x0 [count, 16, 8, 8] of prompts spread over prompts.txt, as diffusers' own pipeline makes them."""
    from diffusers import StableDiffusionPipeline

    prompts = (emoji / "prompts.txt").read_text().splitlines()
    pipeline = StableDiffusionPipeline.from_pretrained(emoji, safety_checker=None, torch_dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    noise = torch.randn(count, 16, 8, 8, generator=torch.Generator().manual_seed(1))
    return pipeline(
        prompts[:: len(prompts) // count][:count],
        latents=noise,
        num_inference_steps=1,
        guidance_scale=1.0,
        output_type="latent",
    ).images
