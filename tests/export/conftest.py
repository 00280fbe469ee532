"""The tiny checkpoint, captured once for the whole room, and its exports."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from edgestep.artifact import Artifact, OneStep, read_artifact
from edgestep.export.coreml.options import CoreMLOptions
from edgestep.export.graph.graphs import Graphs
from edgestep.export.source.checkpoint import Checkpoint
from tests.exports import Exports


@dataclass(frozen=True)
class Feeds:
    """One prompt's ids and one noise."""

    ids: np.ndarray
    noise: np.ndarray


@dataclass(frozen=True)
class Made:
    """An artifact and where it lies."""

    folder: Path
    artifact: Artifact


@pytest.fixture(scope="session")
def checkpoint(tiny_exports: Exports) -> Checkpoint:
    return tiny_exports.checkpoint


@pytest.fixture(scope="session")
def graphs(tiny_exports: Exports) -> Graphs:
    return tiny_exports.graphs


@pytest.fixture(scope="session")
def contract(tiny_exports: Exports) -> OneStep:
    return tiny_exports.graphs.contract


@pytest.fixture(scope="session")
def feeds(contract: OneStep) -> Feeds:
    random = np.random.default_rng(0)
    ids = np.full((1, contract.prompt_tokens), contract.pad_token_id)
    ids[0, 0], ids[0, 1:6] = contract.bos_token_id, random.integers(0, 500, 5)
    return Feeds(ids, random.standard_normal((1, *contract.latent_shape), dtype=np.float32))


@pytest.fixture(scope="session")
def make(tiny_exports: Exports):
    """Return a function of format, precision, layout and Core ML's options: the tiny checkpoint, exported once each."""

    def exported(format: str, precision: str, layout: str, options: CoreMLOptions | None = None) -> Made:
        folder = tiny_exports(format, layout, precision, options)
        return Made(folder, read_artifact(folder, verify=False))

    return exported


@pytest.fixture(scope="session")
def drawn(tiny: Path, feeds: Feeds) -> tuple[np.ndarray, np.ndarray]:
    """x0 and the uint8 picture that diffusers' own pipeline makes of the feeds in one step."""
    import torch
    from diffusers import StableDiffusionPipeline

    pipeline = StableDiffusionPipeline.from_pretrained(tiny, torch_dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    with torch.no_grad():
        embeds = pipeline.text_encoder(torch.from_numpy(feeds.ids))[0]
    options = {"prompt_embeds": embeds, "num_inference_steps": 1, "guidance_scale": 1.0}
    options["latents"] = torch.from_numpy(feeds.noise)
    x0 = pipeline(**options, output_type="latent").images.numpy()
    image = pipeline(**options, output_type="np").images
    return x0, np.round(image * 255).astype(np.uint8)


def sqnr_db(reference: np.ndarray, out: np.ndarray) -> float:
    """10 log10(sum ref^2 / sum (ref - out)^2), written here apart from the harness."""
    error = float(((reference.astype(np.float64) - out) ** 2).sum())
    return 10 * np.log10(float((reference.astype(np.float64) ** 2).sum()) / max(error, 1e-30))


def worst_level(a: np.ndarray, b: np.ndarray) -> int:
    """Largest difference of two uint8 pictures."""
    return int(np.abs(a.astype(int) - b.astype(int)).max())
