"""Drawer on Apple's layout of Core ML against a closed form, and on a component in pieces."""

from pathlib import Path

import numpy as np
import pytest

from edgestep.artifact import BadInput
from edgestep.runtimes.chain import Chain
from edgestep.runtimes.drawing import Drawer
from edgestep.runtimes.registry import open_session
from tests.runtimes.handmade import CHANNELS, SIDE, TABLE, TOKENS

pytest.importorskip("coremltools")

from coremltools.converters.mil.mil import Builder as mb

from tests.runtimes.handmade_coreml import EMBEDS, LATENTS, expected, save_apple, save_overflowing, save_program


def case(seed: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    return random.integers(0, 40, (1, TOKENS)), random.standard_normal((1, CHANNELS, SIDE, SIDE), np.float32)


@pytest.fixture(scope="module")
def apple(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("apple")
    save_apple(folder)
    return folder


@pytest.mark.parametrize("seed", [1, 2])
def test_apples_layout_draws_the_closed_form(apple: Path, seed: int):
    ids, noise = case(seed)
    with Drawer(apple, threads=1) as drawer:
        drawing = drawer.draw(ids, noise)
        x0, sample, image = expected(ids, noise)
        np.testing.assert_allclose(drawing.x0, x0, atol=2e-5)
        np.testing.assert_allclose(drawing.sample, sample, atol=2e-5)
        assert np.abs(drawing.image.astype(int) - image).max() <= 1
        assert drawing.prompt_embeds is not None and drawing.notes == ()
        np.testing.assert_array_equal(drawing.prompt_embeds, TABLE[ids])


def test_calibration_feeds_are_what_apples_packages_take(apple: Path):
    ids, noise = case(3)
    with Drawer(apple, threads=1) as drawer:
        fed = drawer.feeds(ids, noise)
        for component in drawer.artifact.components:
            got = {name: (str(value.dtype), value.shape) for name, value in fed[component.name].items()}
            assert got == {spec.name: (spec.dtype, spec.shape) for spec in component.inputs}
    np.testing.assert_array_equal(fed["unet"]["encoder_hidden_states"][0, :, 0].T, TABLE[ids[0]])
    assert fed["unet"]["timestep"] == 999


def test_pieces_run_as_a_chain(tmp_path: Path):
    random = np.random.default_rng(0)
    x, states = random.standard_normal(LATENTS, np.float32), random.standard_normal(EMBEDS, np.float32)
    first, second = tmp_path / "first.mlpackage", tmp_path / "second.mlpackage"
    save_program(first, {"sample": LATENTS}, lambda sample: mb.mul(x=sample, y=np.float32(3)), ["hidden"])

    def add(hidden, encoder_hidden_states):
        return mb.add(x=hidden, y=mb.reduce_mean(x=encoder_hidden_states, axes=[0, 1, 2, 3]))

    save_program(second, {"hidden": LATENTS, "encoder_hidden_states": EMBEDS}, add, ["noise_pred"])
    with Chain([open_session("mil-evaluator", file) for file in (first, second)]) as chain:
        assert [spec.name for spec in chain.inputs] == ["sample", "encoder_hidden_states"]
        assert [spec.name for spec in chain.outputs] == ["noise_pred"]
        out = chain.run({"sample": x, "encoder_hidden_states": states})
        np.testing.assert_allclose(out["noise_pred"], 3 * x + states.mean(), atol=1e-5)
        assert chain.overflow is None


def test_the_first_overflow_is_told_with_its_place(tmp_path: Path):
    save_overflowing(tmp_path / "over.mlpackage")
    with Chain([open_session("mil-evaluator", tmp_path / "over.mlpackage")]) as chain:
        out = chain.run({"x": np.array([[0.5, 1.0, -2.0]], np.float32)})
        np.testing.assert_array_equal(out["y"], [[np.float32(np.float16(45000)), np.inf, -np.inf]])
        assert str(chain.overflow) == "float16 overflow first at mul twice (2 values)"
        chain.run({"x": np.zeros((1, 3), np.float32)})
        assert chain.overflow is None
    with open_session("mil-evaluator", tmp_path / "over.mlpackage", numerics="fp32") as session:
        assert session.run({"x": np.ones((1, 3), np.float32)})["y"].max() == 90000


def test_an_unknown_numerics_is_refused(tmp_path: Path):
    save_overflowing(tmp_path / "over.mlpackage")
    with pytest.raises(BadInput, match="fp32 or fp16"):
        open_session("mil-evaluator", tmp_path / "over.mlpackage", numerics="bf16")
