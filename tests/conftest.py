"""Shared fixtures: a tiny Stable-Diffusion-shaped checkpoint at random weights, the bundled generator, and exports."""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")
if "PYTEST_XDIST_WORKER" in os.environ:  # a process per core
    os.environ.setdefault("OMP_NUM_THREADS", "1")
# Threads that spin while they wait keep the cores from those that they wait for: 300 small convolutions by two threads
# on two busy cores took 18 s, and 0.5 s so.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from pathlib import Path

import pytest

from tests.exports import Exports
from tests.made_once import made_once, session_folder
from tests.tiny import save_tiny_checkpoint

pytest_plugins = "pytester"

LONGEST = (
    "test_ship.py",
    "test_coreml.py",
    "test_killed.py",
    "test_dynamic.py",
    "test_coreml_functions.py",
    "test_bisect_mutants.py",
)
"""Files that take half a minute or more: the first to begin, so that no process is left with one at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.name not in LONGEST)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random epsilon-predicting checkpoint of the SD1.5 classes: 8 x 8 x 4 latents, 16 x 16 pictures."""
    return made_once(session_folder(tmp_path_factory) / "checkpoints" / "tiny", save_tiny_checkpoint)


@pytest.fixture(scope="session")
def tiny_exports(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Exports:
    return Exports(tiny, session_folder(tmp_path_factory) / "tiny")


@pytest.fixture(scope="session")
def emoji() -> Path:
    """The bundled generator's folder."""
    import edgestep

    return Path(edgestep.__file__).parent / "checkpoints" / "emoji"


@pytest.fixture(scope="session")
def emoji_exports(emoji: Path, tmp_path_factory: pytest.TempPathFactory) -> Exports:
    return Exports(emoji, session_folder(tmp_path_factory) / "emoji")
