"""Bundles of the other bases: the inputs they add are stored, checked, and enough to draw the case again."""

import json
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from edgestep.artifact import BadInput, sha256_of_file
from edgestep.harness.reference import record as recording
from edgestep.harness.reference.bundle import INDEX, TENSORS, read_reference
from edgestep.harness.reference.record import more_noise_numbered, record_reference
from edgestep.harness.reference.torch_one_step import TorchOneStep
from tests.families import FAMILIES

PROMPTS = ("a red heart", "a green apple")
BASES = {
    "dmd2-sd15": {"input_ids": (1, 77)},
    "dmd2-sdxl-4step": {"input_ids": (1, 77), "input_ids_2": (1, 77), "more_noise": (3, 1, 4, 8, 8)},
    "pixart-dmd": {"input_ids": (1, 120), "attention_mask": (1, 120)},
    "sana-sprint-2step": {"input_ids": (1, 504), "attention_mask": (1, 504), "more_noise": (1, 1, 4, 8, 8)},
}
EMBEDS = {"sd": (1, 77, 32), "sdxl": (1, 77, 80), "pixart": (1, 120, 32), "sana": (1, 300, 32)}


@pytest.fixture
def record(tmp_path, monkeypatch):
    """Record 3 cases of a family by its row's contract, so that only the recording is under test."""

    def recorded(name):
        case = FAMILIES[name]
        source = case.make(tmp_path / "source")

        class Opened:
            sha256 = "0" * 64

        monkeypatch.setattr("edgestep.export.source.checkpoint.open_source", lambda _: Opened())
        monkeypatch.setattr("edgestep.export.recipe.contract.contract_from_checkpoint", lambda _: case.contract())
        out = tmp_path / "bundle"
        return source, record_reference(source, device="cpu", cases=3, out=out, prompts=PROMPTS)

    return recorded


@pytest.mark.parametrize("name", BASES)
def test_a_bundle_holds_what_the_family_takes(name, record):
    case = FAMILIES[name]
    source, bundle = record(name)
    index = bundle.index
    assert (index.base, index.steps, index.family) == (case.base, len(case.timesteps), case.family)
    assert index.formula_by == "scheduler" and index.timestep == case.timesteps[0]
    drawn = bundle.cases[1]
    assert {n: a.shape for n, a in drawn.inputs.items() if n != "noise"} == BASES[name]
    assert drawn.prompt_embeds.shape == EMBEDS[case.base]
    assert drawn.pooled is None if case.base != "sdxl" else drawn.pooled.shape == (1, 48)
    again = TorchOneStep(source, contract=case.contract()).draw(**drawn.inputs)
    assert np.allclose(again.x0, drawn.x0, atol=1e-5) and np.array_equal(again.picture, drawn.picture)


@pytest.mark.parametrize(
    ("name", "change", "match"),
    [
        ("dmd2-sdxl-4step", lambda t: t.pop("case-00.more_noise"), r"has no case-00\.more_noise"),
        ("dmd2-sdxl-4step", lambda t: t.pop("case-00.pooled"), r"has no case-00\.pooled"),
        (
            "dmd2-sdxl-4step",
            lambda t: t.update({"case-01.more_noise": t["case-01.more_noise"][:2]}),
            r"more_noise float32 \[2,",
        ),
        ("pixart-dmd", lambda t: t.update({"case-00.input_ids_2": t["case-00.input_ids"]}), "one more"),
        (
            "pixart-dmd",
            lambda t: t.update({"case-00.attention_mask": t["case-00.attention_mask"].astype(bool)}),
            "mask bool",
        ),
    ],
)
def test_inputs_that_do_not_fit_are_bad_input(name, change, match, record, tmp_path):
    record(name)
    folder = tmp_path / "bundle"
    tensors = load_file(folder / TENSORS)
    change(tensors)
    save_file(tensors, folder / TENSORS)
    index = json.loads((folder / INDEX).read_text())
    index["tensors_sha256"] = sha256_of_file(folder / TENSORS)
    (folder / INDEX).write_text(json.dumps(index))
    with pytest.raises(BadInput, match=match):
        read_reference(folder)


def test_bundles_from_before_are_readable(bundle_folder, tmp_path, reference):
    """A bundle without base, steps, family and formula_by is one of one step on sd."""
    index = json.loads((bundle_folder / INDEX).read_text())
    for key in ("base", "steps", "family", "formula_by"):
        del index[key]
    (tmp_path / INDEX).write_text(json.dumps(index))
    (tmp_path / TENSORS).write_bytes((bundle_folder / TENSORS).read_bytes())
    old = read_reference(tmp_path)
    assert replace(old.index, family=reference.index.family) == reference.index
    assert np.array_equal(old.cases[0].x0, reference.cases[0].x0)


def test_noises_of_a_loop_differ_by_case_and_step():
    assert more_noise_numbered(0, 1, (4, 8, 8)) is None
    first, second = (more_noise_numbered(i, 4, (4, 8, 8)) for i in (0, 1))
    assert first is not None and first.shape == (3, 1, 4, 8, 8) and first.dtype == np.float32
    assert np.array_equal(first, more_noise_numbered(0, 4, (4, 8, 8)))
    assert np.array_equal(first[:1], more_noise_numbered(0, 2, (4, 8, 8)))
    flat = np.concatenate([first, second, [recording.noise_numbered(0, (4, 8, 8))]]).reshape(7, -1)
    assert np.abs(np.corrcoef(flat) - np.eye(7)).max() < 0.3
