"""Core ML's own session: refused where there is no Core ML; on a Mac it gives what the evaluator gives.

Without a Mac, `predict` is played by the evaluator, in the types in which coremltools hands them over.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgestep.artifact import BadInput
from edgestep.runtimes.mil_evaluator import MilEvaluator
from edgestep.runtimes.registry import ON_MAC, open_session

pytest.importorskip("coremltools")

import coremltools

from tests.runtimes.handmade_coreml import save_overflowing, save_picture


class PlayedModel:
    """coremltools' MLModel, as far as the session asks for it."""

    made: list[tuple[str, str, str | None]] = []  # noqa: RUF012

    def __init__(self, path: str, compute_units: Any, function_name: str | None) -> None:
        self.made.append((Path(path).name, compute_units.name, function_name))
        self._session = MilEvaluator(Path(path))

    def predict(self, given: dict[str, Any]) -> dict[str, Any]:
        images = {name for name, value in given.items() if isinstance(value, Image.Image)}
        assert images == {spec.name for spec in self._session.inputs if spec.dtype == "uint8"}
        feeds = {name: np.asarray(value)[None] if name in images else value for name, value in given.items()}
        outputs = self._session.run(feeds)
        # Core ML's pictures come with a fourth channel
        return {n: Image.fromarray(v[0]).convert("RGBA") if v.dtype == np.uint8 else v for n, v in outputs.items()}


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`over` and `picture`, made while coremltools is still itself."""
    folder = tmp_path_factory.mktemp("packages")
    save_overflowing(folder / "over.mlpackage")
    save_picture(folder / "picture.mlpackage")
    return folder


@pytest.fixture
def mac(monkeypatch: pytest.MonkeyPatch) -> type[PlayedModel]:
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(coremltools.models, "MLModel", PlayedModel)
    PlayedModel.made.clear()
    return PlayedModel


@pytest.mark.skipif(sys.platform == "darwin", reason="Core ML is here")
@pytest.mark.parametrize("runtime", ON_MAC)
def test_elsewhere_it_is_one_line_that_names_the_evaluator(packages: Path, runtime: str):
    with pytest.raises(BadInput, match=r"expected macOS.*mil-evaluator"):
        open_session(runtime, packages / "over.mlpackage")


@pytest.mark.parametrize(
    ("runtime", "unit"),
    [("coreml", "ALL"), ("coreml-cpu", "CPU_ONLY"), ("coreml-gpu", "CPU_AND_GPU"), ("coreml-ane", "CPU_AND_NE")],
)
def test_arrays_go_through_on_each_compute_unit(packages: Path, mac: type[PlayedModel], runtime: str, unit: str):
    x = np.array([[0.5, -0.25, 0.125]], np.float32)
    with open_session(runtime, packages / "over.mlpackage") as session:
        out = session.run({"x": x})
        assert out["y"].dtype == np.float32
        np.testing.assert_allclose(out["y"], 90000 * x, rtol=1e-3)
        with pytest.raises(BadInput, match=r"expected x float32 \[1, 3\]"):
            session.run({"x": x.astype(np.float64)})
    assert mac.made == [("over.mlpackage", unit, None)]


def test_pictures_go_through_as_pictures(packages: Path, mac: type[PlayedModel]):
    picture = np.random.default_rng(0).integers(0, 256, (1, 4, 5, 3), np.uint8)
    with open_session("coreml", packages / "picture.mlpackage") as session:
        out = session.run({"picture": picture})["red"]
    assert (out.dtype, out.shape) == (np.uint8, (1, 4, 5, 3))
    np.testing.assert_array_equal(out[..., 0], picture[..., 0])
    assert not out[..., 1:].any()
    assert mac.made


def test_what_core_ml_cannot_load_is_one_line(packages: Path, mac: type[PlayedModel], monkeypatch: pytest.MonkeyPatch):
    def fails(*_: Any, **__: Any) -> None:
        raise RuntimeError("Error compiling model:\nbad op")

    monkeypatch.setattr(coremltools.models, "MLModel", fails)
    with pytest.raises(BadInput, match=r"does not load .Error compiling model: bad op") as caught:
        open_session("coreml", packages / "over.mlpackage")
    assert "\n" not in str(caught.value) and not mac.made
