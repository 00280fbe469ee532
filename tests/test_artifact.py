"""The contract: a manifest round-trips, and a reader trusts nothing that it has not checked."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from edgestep.artifact import (
    Artifact,
    BadInput,
    Component,
    OneStep,
    TensorSpec,
    check_writable,
    files_in,
    inside,
    read_artifact,
    sha256_of_json,
    write_manifest,
    written_aside,
)

CONTRACT = OneStep(
    family="emoji",
    timestep=999.0,
    prediction_type="v_prediction",
    k_in=1.0,
    k_z=0.0683,
    k_e=0.9977,
    latent_scale=0.5,
    latent_shift=0.0,
    latent_shape=(16, 8, 8),
    image_size=(64, 64),
    prompt_tokens=32,
    bos_token_id=1,
    eos_token_id=2,
    pad_token_id=2,
    tokenizer_sha256="ab",
)
ARTIFACT = Artifact(
    name="one",
    target="x86",
    format="onnx",
    scheme="fp32",
    layout="fused",
    contract=CONTRACT,
    components=(Component("generator", "generator.onnx", (TensorSpec("noise", "float32", (1, 16, 8, 8)),), ()),),
    files=(),
    checkpoint_sha256="cd",
    key="ef",
    tools={"edgestep": "0"},
    notes=("a note",),
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "generator.onnx").write_bytes(b"graph")
    write_manifest(tmp_path / "one", replace(ARTIFACT, files=files_in(tmp_path / "one")))
    return tmp_path / "one"


def edit(folder: Path, **changes: object) -> None:
    path = folder / "edgestep.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_a_manifest_round_trips(folder: Path):
    read = read_artifact(folder)
    assert read == replace(ARTIFACT, files=files_in(folder))
    assert read.bytes == len(b"graph")
    assert read.component("generator").inputs[0].shape == (1, 16, 8, 8)
    with pytest.raises(BadInput, match="expected one of generator"):
        read.component("unet")


def test_keys_of_a_newer_writer_are_ignored(folder: Path):
    edit(folder, mood="sunny")
    assert read_artifact(folder).name == "one"


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"schema": "edgestep.artifact/9"}, "schema"),
        ({"components": [{"name": "generator"}]}, "does not fit"),
        ({"contract": {}}, "does not fit"),
        ({"contract": {**CONTRACT.__dict__, "k_e": float("nan")}}, "not finite"),
        ({"files": []}, "not among the files"),
        ({"files": [{"path": "generator.onnx", "sha256": "00", "bytes": 5}]}, "other bytes"),
        ({"files": [{"path": "generator.onnx", "sha256": "00", "bytes": 6}]}, "got 5 bytes"),
        ({"files": [{"path": "../one/generator.onnx", "sha256": "00", "bytes": 5}]}, "inside"),
        ({"files": [{"path": "/etc/passwd", "sha256": "00", "bytes": 5}]}, "inside"),
    ],
)
def test_a_manifest_that_does_not_hold_is_refused(folder: Path, changes: dict, word: str):
    edit(folder, **changes)
    with pytest.raises(BadInput, match=word):
        read_artifact(folder)


def test_a_missing_file_and_a_broken_manifest_are_refused(folder: Path, tmp_path: Path):
    (folder / "generator.onnx").unlink()
    with pytest.raises(BadInput, match="got nothing"):
        read_artifact(folder)
    (folder / "edgestep.json").write_text("{")
    with pytest.raises(BadInput, match="broken"):
        read_artifact(folder)
    with pytest.raises(BadInput, match="expected an artifact folder"):
        read_artifact(tmp_path)


@pytest.mark.parametrize("path", ["../x", "/x", "a/../../x", "C:\\x", "a\\..\\x"])
def test_paths_stay_inside(tmp_path: Path, path: str):
    with pytest.raises(BadInput, match="inside"):
        inside(tmp_path, path)


def test_a_link_that_leaves_the_folder_is_refused(tmp_path: Path):
    (tmp_path / "outside").write_text("secret")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "link").symlink_to(tmp_path / "outside")
    with pytest.raises(BadInput, match="leaves the folder"):
        inside(tmp_path / "folder", "link")
    assert inside(tmp_path / "folder", "a/b") == tmp_path / "folder" / "a" / "b"


def test_written_aside_leaves_all_or_nothing(tmp_path: Path):
    final = tmp_path / "deep" / "final"
    with pytest.raises(ZeroDivisionError), written_aside(final) as aside:
        (aside / "half").write_text("x")
        raise ZeroDivisionError
    assert list(final.parent.iterdir()) == []
    with written_aside(final) as aside:
        (aside / "whole").write_text("x")
        assert not final.exists()
    assert [p.name for p in final.iterdir()] == ["whole"]
    with pytest.raises(BadInput, match="not empty"):
        check_writable(final)
    assert [p.name for p in final.parent.iterdir()] == ["final"]


def test_a_key_depends_on_content_and_not_on_order():
    assert sha256_of_json({"a": 1, "b": 2}) == sha256_of_json({"b": 2, "a": 1})
    assert sha256_of_json({"a": 1, "b": 2}) != sha256_of_json({"a": 2, "b": 1})
