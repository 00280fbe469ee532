"""Shared fixtures: a tiny Stable-Diffusion-shaped checkpoint at random weights, and the bundled generator."""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")

from pathlib import Path

import pytest

from tests.tiny import save_tiny_checkpoint

pytest_plugins = "pytester"


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random epsilon-predicting checkpoint of the SD1.5 classes: 8 x 8 x 4 latents, 16 x 16 pictures."""
    folder = tmp_path_factory.mktemp("checkpoints") / "tiny"
    save_tiny_checkpoint(folder)
    return folder


@pytest.fixture(scope="session")
def emoji() -> Path:
    """The bundled generator's folder."""
    import edgestep

    return Path(edgestep.__file__).parent / "checkpoints" / "emoji"
