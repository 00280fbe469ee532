"""Drawer against a closed form, on both runtimes and both layouts."""

import json
from pathlib import Path

import numpy as np
import pytest

from edgestep.artifact import MANIFEST, BadInput
from edgestep.runtimes.drawing import Drawer, picture_from_sample
from tests.runtimes.handmade import CHANNELS, SIDE, TOKENS, expected_drawing, save_handmade

FORMS = [(form, layout) for form in ("onnx", "openvino") for layout in ("split", "fused")]


def case(seed: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    ids = random.integers(0, 40, (1, TOKENS))
    return ids, random.standard_normal((1, CHANNELS, SIDE, SIDE)).astype(np.float32)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Path]:
    root = tmp_path_factory.mktemp("handmade")
    for form, layout in FORMS:
        (root / form / layout).mkdir(parents=True)
        save_handmade(root / form / layout, form, layout)
    return {(form, layout): root / form / layout for form, layout in FORMS}


@pytest.mark.parametrize("form", FORMS, ids="-".join)
def test_draws_the_closed_form(folders, form):
    with Drawer(folders[form], threads=1) as drawer:
        for seed in (1, 2):
            embeds, x0, sample, image = expected_drawing(*case(seed))
            drawing = drawer.draw(*case(seed))
            assert drawing.image.dtype == np.uint8
            # A float32 sample on the edge between two bytes may fall to either side: one grey level at the most.
            assert np.abs(drawing.image.astype(int) - image).max() <= 1
            assert (drawing.image != image).mean() < 0.02
            if form[1] == "fused":
                assert drawing.prompt_embeds is drawing.x0 is drawing.sample is None
            else:
                for got, want in ((drawing.prompt_embeds, embeds), (drawing.x0, x0), (drawing.sample, sample)):
                    assert got.dtype == np.float32
                    np.testing.assert_allclose(got, want, atol=2e-5)


def test_the_two_runtimes_agree_on_the_same_onnx(folders):
    with Drawer(folders["onnx", "split"]) as one, Drawer(folders["onnx", "split"], runtime="openvino") as other:
        np.testing.assert_allclose(one.draw(*case(5)).sample, other.draw(*case(5)).sample, atol=2e-5)


def test_a_drawing_survives_the_next_one(folders):
    with Drawer(folders["openvino", "split"]) as drawer:
        first = drawer.draw(*case(1))
        kept = first.sample.copy()
        drawer.draw(*case(2))
        np.testing.assert_array_equal(first.sample, kept)


@pytest.mark.parametrize("form", FORMS, ids="-".join)
def test_times_every_component_and_the_rest(folders, form):
    with Drawer(folders[form]) as drawer:
        drawing, seconds = drawer.draw_timed(*case(1))
        components = {component.name for component in drawer.artifact.components}
        np.testing.assert_array_equal(drawing.image, drawer.draw(*case(1)).image)
    assert set(seconds) == components | {"rest"}
    assert all(value > 0 for value in seconds.values())


@pytest.mark.parametrize("form", FORMS, ids="-".join)
def test_feeds_are_what_each_component_takes(folders, form):
    ids, noise = case(4)
    with Drawer(folders[form]) as drawer:
        feeds = drawer.feeds(ids, noise)
        for component in drawer.artifact.components:
            fed = feeds[component.name]
            got = {(name, str(value.dtype), value.shape) for name, value in fed.items()}
            assert got == {(spec.name, spec.dtype, spec.shape) for spec in component.inputs}
    if form[1] == "split":
        _, x0, _, _ = expected_drawing(ids, noise)
        np.testing.assert_allclose(feeds["vae_decoder"]["latent_sample"], x0 / 0.25 - 0.125, atol=2e-5)


@pytest.mark.parametrize(
    ("ids", "noise", "said"),
    [
        (np.zeros((1, TOKENS), np.int32), np.zeros((1, CHANNELS, SIDE, SIDE), np.float32), "int32"),
        (np.zeros((1, TOKENS + 1), np.int64), np.zeros((1, CHANNELS, SIDE, SIDE), np.float32), r"\[1, 7\]"),
        (np.zeros((0, TOKENS), np.int64), np.zeros((0, CHANNELS, SIDE, SIDE), np.float32), r"\[0, 6\]"),
        (np.zeros((1, TOKENS), np.int64), np.zeros((1, CHANNELS, SIDE, SIDE)), "float64"),
        (np.zeros((1, TOKENS), np.int64), np.zeros((2, CHANNELS, SIDE, SIDE), np.float32), r"\[2, 2, 5, 5\]"),
        (np.zeros((1, TOKENS), np.int64), np.zeros((1, SIDE, SIDE, CHANNELS), np.float32), r"\[1, 5, 5, 2\]"),
        (np.zeros((1, TOKENS), np.int64), np.full((1, CHANNELS, SIDE, SIDE), np.nan, np.float32), "NaN"),
    ],
)
def test_refuses_what_the_contract_does_not_say(folders, ids, noise, said):
    with Drawer(folders["onnx", "split"]) as drawer, pytest.raises(BadInput, match=said):
        drawer.draw(ids, noise)


@pytest.mark.parametrize("form", FORMS, ids="-".join)
def test_refuses_a_batch_that_the_graph_does_not_take(folders, form):
    ids, noise = case(1)
    with Drawer(folders[form]) as drawer, pytest.raises(BadInput, match="expected"):
        drawer.draw(np.repeat(ids, 2, 0), np.repeat(noise, 2, 0))


def test_refuses_a_changed_file_unless_told_not_to_look(folders, tmp_path):
    folder = tmp_path / "changed"
    folder.mkdir()
    save_handmade(folder, "onnx", "fused")
    path = folder / "generator.onnx"
    path.write_bytes(path.read_bytes()[:-1] + b"\0")
    with pytest.raises(BadInput, match="SHA-256"):
        Drawer(folder)


def test_refuses_a_format_that_does_not_run_here(folders, tmp_path):
    save_handmade(tmp_path, "onnx", "fused")
    manifest = json.loads((tmp_path / MANIFEST).read_text())
    (tmp_path / MANIFEST).write_text(json.dumps(manifest | {"format": "tflite"}))
    with pytest.raises(BadInput, match="tflite"):
        Drawer(tmp_path)


def test_rounds_like_numpy_and_clips():
    levels = np.arange(256, dtype=np.float32) / 255 * 2 - 1
    sample = np.stack([levels, levels * 1.5, np.full(256, -3, np.float32)])[None, :, None, :]
    picture = picture_from_sample(sample)
    assert picture.shape == (1, 1, 256, 3)
    np.testing.assert_array_equal(picture[0, 0, :, 0], np.arange(256))
    assert picture[0, 0, 0, 1] == 0
    assert picture[0, 0, 255, 1] == 255
    assert not picture[..., 2].any()
