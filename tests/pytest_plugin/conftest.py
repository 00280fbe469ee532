"""Artifacts and bundles of the tiny checkpoint, and a suite that compares them."""

from pathlib import Path

import pytest

import edgestep.pytest_plugin.comparison
import edgestep.pytest_plugin.session_results  # pytester forgets what is first imported inside a session: not these  # noqa: F401
from edgestep.harness.reference.record import record_reference
from tests.harness.conftest import PROMPTS, bundle_folder, fused_folder, split_folder  # noqa: F401
from tests.harness.edited import edited

SUITE = """
from edgestep.pytest_plugin import assert_parity

def test_parity(edgestep_artifact, edgestep_reference):
    assert_parity(edgestep_artifact, edgestep_reference, threads=1)
"""


@pytest.fixture
def suite(pytester: pytest.Pytester) -> pytest.Pytester:
    """A folder with one test that asserts parity of what the options name."""
    pytester.makepyfile(test_suite=SUITE)
    return pytester


@pytest.fixture(scope="session")
def damaged_folder(split_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:  # noqa: F811
    """The split artifact with its latent scale dropped."""
    return edited(split_folder, tmp_path_factory.mktemp("damaged") / "damaged", contract__latent_scale=1.0)


@pytest.fixture(scope="session")
def two_cases_folder(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of one prompt, which cannot tell how an artifact answers to another."""
    folder = tmp_path_factory.mktemp("reference") / "two"
    record_reference(tiny, device="cpu", cases=2, out=folder, prompts=PROMPTS)
    return folder
