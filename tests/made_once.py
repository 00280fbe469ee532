"""What several test processes ask for and one of them makes: folders that all of them see, each behind a lock."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock


def session_folder(factory: pytest.TempPathFactory) -> Path:
    """Return a folder that every process of this session sees: beside pytest-xdist's own folder a process."""
    base = factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "made-once"
    folder.mkdir(exist_ok=True)
    return folder


def made_once(folder: Path, make: Callable[[Path], object]) -> Path:
    """Return `folder`, made by whichever process comes first; `make` is given another of that name, which is moved."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.parent / f"{folder.name}.lock"):
        if not folder.exists():
            aside = folder.parent / "unfinished" / folder.name
            aside.parent.mkdir(exist_ok=True)
            make(aside)
            aside.rename(folder)
    return folder
