"""Calibration feeds are hashed by content, and refused where they would spoil every range."""

from dataclasses import replace

import numpy as np
import pytest

from edgestep.artifact import Artifact, BadInput
from edgestep.quantize.calibration import calibration_sha256, check_feeds
from tests.runtimes.handmade import CHANNELS, SIDE, TOKENS, save_handmade


@pytest.fixture
def artifact(tmp_path) -> Artifact:
    return save_handmade(tmp_path, "onnx", "fused")


def samples(count: int = 3) -> dict[str, list[dict[str, np.ndarray]]]:
    random = np.random.default_rng(1)
    return {
        "generator": [
            {
                "input_ids": random.integers(0, 40, (1, TOKENS)),
                "noise": random.standard_normal((1, CHANNELS, SIDE, SIDE)).astype(np.float32),
            }
            for _ in range(count)
        ]
    }


def test_good_feeds_pass(artifact):
    check_feeds(samples(), artifact)


def test_equal_feeds_have_equal_hashes_and_others_not():
    assert calibration_sha256(samples()) == calibration_sha256(samples())
    changed = samples()
    changed["generator"][1]["noise"][0, 0, 0, 0] += 1e-6
    cast = samples()
    cast["generator"][0]["input_ids"] = cast["generator"][0]["input_ids"].astype(np.int32)
    shaped = samples()
    shaped["generator"][0]["noise"] = shaped["generator"][0]["noise"].reshape(1, CHANNELS, -1)
    swapped = {"generator": samples()["generator"][::-1]}
    renamed = {"unet": samples()["generator"]}
    hashes = {calibration_sha256(f) for f in (samples(), changed, cast, shaped, swapped, renamed, samples(2))}
    assert len(hashes) == 7


@pytest.mark.parametrize("feeds", [{}, {"generator": []}, samples(1), {"unet": samples()["generator"]}])
def test_refuses_too_few(artifact, feeds):
    with pytest.raises(BadInput, match="calibration samples for generator; expected 2 or more"):
        check_feeds(feeds, artifact)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_refuses_what_is_not_finite(artifact, value):
    feeds = samples()
    feeds["generator"][2]["noise"][0, 0, 0, 0] = value
    with pytest.raises(BadInput, match="noise of calibration sample 2 of generator"):
        check_feeds(feeds, artifact)


@pytest.mark.parametrize("name", ["input_ids", "noise"])
def test_refuses_other_shapes_types_and_names(artifact, name):
    for change in (lambda v: v[..., :-1], lambda v: v.astype(np.float64)):
        feeds = samples()
        feeds["generator"][1][name] = change(feeds["generator"][1][name])
        with pytest.raises(BadInput, match="calibration sample 1 of generator"):
            check_feeds(feeds, artifact)
    feeds = samples()
    feeds["generator"][0]["other"] = feeds["generator"][0].pop(name)
    with pytest.raises(BadInput, match="other"):
        check_feeds(feeds, artifact)


def test_a_component_of_its_own_each(artifact):
    twice = replace(artifact, components=(*artifact.components, replace(artifact.components[0], name="unet")))
    with pytest.raises(BadInput, match="0 calibration samples for unet"):
        check_feeds(samples(), twice)
