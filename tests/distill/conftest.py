"""The toy teacher's rows, and the processes that train: this one alone."""

from pathlib import Path

import pytest

from edgestep.distill.folders import Parts, read_parts
from edgestep.distill.workers import Workers
from tests.distill.toys import CPU, write_rows


@pytest.fixture(scope="session")
def workers() -> Workers:
    return Workers.of(cpu=True)


@pytest.fixture(scope="session")
def parts(tiny: Path) -> Parts:
    """The tiny checkpoint as a teacher; nobody changes it."""
    return read_parts(tiny, CPU)


@pytest.fixture(scope="session")
def rows(parts: Parts, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_rows(tmp_path_factory.mktemp("rows") / "data", parts)
