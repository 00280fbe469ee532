"""A random one-step checkpoint with prompts, what is read of it, and a recipe of a few steps."""

import shutil
from pathlib import Path

import pytest

from edgestep.distill.decoder.recipe import DecoderRecipe
from edgestep.distill.decoder.source import OneStepSource, read_source
from edgestep.distill.workers import Workers

MINI = DecoderRecipe(blocks=(1, 0), channels=8, steps=6, batch=4, ahead=3, measured=6)


@pytest.fixture(scope="session")
def checkpoint(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("one-step") / "mini"
    shutil.copytree(tiny, folder)
    (folder / "prompts.txt").write_text("a red heart\ncat face\n\ngreen apple\n")
    (folder / "README.md").write_text("---\nlicense: cc-by-4.0\n---\n")
    return folder


@pytest.fixture
def source(checkpoint: Path, workers: Workers) -> OneStepSource:
    return read_source(checkpoint).to(workers.device)


@pytest.fixture(scope="session")
def workers() -> Workers:
    return Workers.of(cpu=True)
