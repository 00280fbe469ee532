"""Taps: what PyTorch's modules really gave, equal bytes each time, and nothing else in a bundle changes."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from edgestep.artifact import BadInput
from edgestep.harness.reference.bundle import Reference, read_reference
from edgestep.harness.reference.taps import INDEX, TENSORS, Taps, read_taps, write_taps
from edgestep.harness.reference.torch_one_step import TorchOneStep
from edgestep.harness.reference.torch_taps import record_taps


def bundle_with_taps(folder: Path, bundle: Path, model: TorchOneStep, cases: int = 2) -> Path:
    """Return `folder` with a bundle's files and the taps of its first cases."""
    folder.mkdir(exist_ok=True)
    for name in ("reference.json", "cases.safetensors"):
        (folder / name).write_bytes((bundle / name).read_bytes())
    write_taps(folder, record_taps(model, read_reference(folder).cases[:cases]))
    return folder


@pytest.fixture(scope="module")
def tapped(bundle_folder: Path, torch_tiny: TorchOneStep, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bundle_with_taps(tmp_path_factory.mktemp("taps") / "bundle", bundle_folder, torch_tiny)


def tensor(taps: Taps, case: str, module: str, port: str) -> np.ndarray:
    (sha,) = {t.sha256[case] for t in taps.index.taps if (t.module, t.port, t.call) == (module, port, 0)}
    return taps.read([sha])[sha]


def test_taps_hold_what_a_module_computes_from_what_it_reads(tapped: Path, torch_tiny: TorchOneStep):
    reference = read_reference(tapped)
    taps = read_taps(tapped, reference)
    modules = dict(torch_tiny.pipe.unet.named_modules())
    for name in ("conv_in", "mid_block.resnets.0.norm1", "conv_out"):
        for case in taps.index.cases:
            read = torch.from_numpy(tensor(taps, case, f"unet.{name}", "in"))
            with torch.no_grad():
                expected = modules[name](read).numpy()
            np.testing.assert_allclose(tensor(taps, case, f"unet.{name}", "out"), expected, rtol=1e-5, atol=1e-6)


def test_ends_of_the_parts_are_the_bundles_own_tensors(tapped: Path, torch_tiny: TorchOneStep):
    reference = read_reference(tapped)
    taps = read_taps(tapped, reference)
    for case in reference.cases[:2]:
        states = tensor(taps, case.name, "text_encoder.text_model.final_layer_norm", "out")
        assert np.array_equal(states, case.prompt_embeds)
        decoded = tensor(taps, case.name, "vae.decoder", "out")
        assert np.allclose((decoded / 2 + 0.5).clip(0, 1).transpose(0, 2, 3, 1), case.image, atol=1e-6)
        assert np.array_equal(tensor(taps, case.name, "vae.decoder.conv_out", "out"), decoded)


def test_recording_again_gives_the_same_bytes_and_leaves_no_hook(
    tapped: Path, torch_tiny: TorchOneStep, tmp_path: Path
):
    again = bundle_with_taps(tmp_path / "again", tapped, torch_tiny)
    for name in (INDEX, TENSORS):
        assert (again / name).read_bytes() == (tapped / name).read_bytes()
    unet = torch_tiny.pipe.unet
    assert all(not m._forward_hooks and not m._forward_pre_hooks for m in unet.modules())


def test_a_bundle_is_the_same_with_taps(tapped: Path, reference: Reference):
    with_taps = read_reference(tapped)
    assert with_taps.index == reference.index
    assert not any("taps" in key for key in json.loads((tapped / "reference.json").read_text()))


def _change(folder: Path, **changed: object) -> None:
    index = json.loads((folder / INDEX).read_text())
    (folder / INDEX).write_text(json.dumps({**index, **changed}))


DAMAGES = {
    "none": (lambda f: (f / INDEX).unlink(), "--taps"),
    "another bundle's": (lambda f: _change(f, reference_sha256="0" * 64), "for another bundle"),
    "cut tensors": (lambda f: (f / TENSORS).write_bytes((f / TENSORS).read_bytes()[:-9]), "other tensors"),
    "another schema": (lambda f: _change(f, schema="edgestep.taps/9"), "edgestep.taps/9"),
    "another case": (lambda f: _change(f, cases=["case-77"]), "case-77"),
    "no JSON": (lambda f: (f / INDEX).write_text("{"), "does not fit"),
}


@pytest.mark.parametrize("what", DAMAGES)
def test_damaged_taps_are_bad_input(tapped: Path, tmp_path: Path, what: str):
    folder, (damage, said) = tmp_path / "bundle", DAMAGES[what]
    folder.mkdir()
    for file in tapped.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    damage(folder)
    with pytest.raises(BadInput, match=said):
        read_taps(folder, read_reference(folder))
