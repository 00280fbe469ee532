"""The files beside the graphs say what the graphs are, for every base, and can be read by what they name."""

import hashlib
import importlib
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgestep.artifact import read_artifact
from edgestep.export.client_files import write_client_files, write_tokenizer
from edgestep.export.recipe.contract import contract_from_checkpoint
from edgestep.export.run import EXPORTERS, export
from edgestep.export.source.checkpoint import open_checkpoint
from edgestep.export.written import Written
from tests.export.family_artifacts import FamilyArtifacts, family_artifacts
from tests.exports import Exports
from tests.families import FAMILIES

PROMPT = "A photo of a Cat, wow!! on the moon!"
BASES = ("sd-turbo", "sdxl-turbo", "pixart-dmd", "sana-sprint")
"""A row for each base."""


@pytest.fixture(scope="session")
def families(tmp_path_factory) -> FamilyArtifacts:
    return family_artifacts(tmp_path_factory.getbasetemp() / "families")


@pytest.fixture
def written(families, tmp_path):
    """Return a function that writes the client files of a row to a new folder."""

    def write(name: str, format: str = "onnx", **said) -> Path:
        folder = tmp_path / format
        write_client_files(folder, families.checkpoint(name, **said), format)
        return folder

    return write


def _json(path: Path) -> dict:
    return json.loads(path.read_text())


@pytest.mark.parametrize("name", BASES)
def test_everything_that_the_index_names_is_there(written, name: str):
    folder = written(name)
    index = _json(folder / "model_index.json")
    entries = {key: entry for key, entry in index.items() if isinstance(entry, list) and entry[0]}
    for component, (library, kind) in entries.items():
        assert hasattr(importlib.import_module(library), kind), kind
        assert (folder / component).is_dir() or component == "vae"
    assert "vae_decoder" in entries
    assert hasattr(importlib.import_module("diffusers"), index["_class_name"])


@pytest.mark.parametrize("layout", ["split", "fused"])
@pytest.mark.parametrize("name", BASES)
def test_tokenizer_json_is_the_contract_s(families, tmp_path, name: str, layout: str):
    checkpoint = families.checkpoint(name)
    contract = contract_from_checkpoint(checkpoint)
    if layout == "split":
        write_client_files(tmp_path, checkpoint, "onnx")
    else:
        write_tokenizer(tmp_path / "tokenizer", checkpoint)
    expected = {"tokenizer": contract.tokenizer_sha256}
    expected |= {tokens.folder: tokens.tokenizer_sha256 for tokens in contract.more_tokenizers}
    assert len(expected) == (2 if FAMILIES[name].base == "sdxl" else 1)
    for folder, sha256 in expected.items():
        assert hashlib.sha256((tmp_path / folder / "tokenizer.json").read_bytes()).hexdigest() == sha256


@pytest.mark.parametrize("name", BASES)
def test_the_named_tokenizers_give_the_ids_of_tokenizer_json(written, name: str):
    import transformers
    from tokenizers import Tokenizer

    folder = written(name)
    index = _json(folder / "model_index.json")
    for key in ("tokenizer", "tokenizer_2"):
        if key in index:
            named = getattr(transformers, index[key][1]).from_pretrained(folder / key)
            assert (
                named(PROMPT).input_ids == Tokenizer.from_file(str(folder / key / "tokenizer.json")).encode(PROMPT).ids
            )


@pytest.mark.parametrize("name", ["sd-turbo", "sdxl-turbo"])
def test_the_openvino_tokenizers_give_the_same_ids(written, name: str):
    """OpenCLIP pads with "!", which so is a special token wherever it stands."""
    pytest.importorskip("openvino_tokenizers")
    import openvino
    from tokenizers import Tokenizer

    folder = written(name, "openvino")
    for path in sorted(folder.glob("tokenizer*")):
        converted = openvino.compile_model(openvino.Core().read_model(path / "openvino_tokenizer.xml"), "CPU")
        ids = np.asarray(converted([PROMPT])["input_ids"])[0].tolist()
        assert ids == Tokenizer.from_file(str(path / "tokenizer.json")).encode(PROMPT).ids
        pads_with_a_sign = path.name == "tokenizer_2" or name == "sd-turbo"
        assert ids.count(0) == (3 if pads_with_a_sign else 1)  # CLIP's own has "!" inside a word only


def test_a_folded_guidance_embedding_is_not_asked_for(families, written):
    """With time_cond_proj_dim a client would feed timestep_cond; without, this is a plain Stable Diffusion."""
    assert families.checkpoint("lcm").configs["unet"]["time_cond_proj_dim"] == 256
    folder = written("lcm")
    assert _json(folder / "unet" / "config.json")["time_cond_proj_dim"] is None
    assert _json(folder / "model_index.json")["_class_name"] == "StableDiffusionPipeline"


def test_a_tiny_decoder_has_a_scale_of_its_own(families, written):
    decoder = _json(written("sd-turbo-taesd") / "vae_decoder" / "config.json")
    assert decoder["_class_name"] == "AutoencoderTiny"
    assert decoder["scaling_factor"] == families.contract("sd-turbo-taesd").latent_scale == 1
    assert 2 ** (len(decoder["block_out_channels"]) - 1) == 2


@pytest.mark.parametrize(("size", "cells"), [(None, 8), ((32, 32), 16), ((16, 32), [8, 16])])
def test_the_denoiser_s_size_is_the_artifact_s(written, size, cells):
    folder = written("sdxl-turbo", size=size)
    assert _json(folder / "unet" / "config.json")["sample_size"] == cells
    assert _json(folder / "vae_decoder" / "config.json")["scaling_factor"] == 0.13025


def test_a_transformer_returns_x0_alone_and_takes_no_guidance(written, families):
    config = _json(written("pixart-dmd") / "transformer" / "config.json")
    assert families.checkpoint("pixart-dmd").configs["transformer"]["out_channels"] == 8
    assert config["out_channels"] == config["in_channels"] == 4
    config = _json(written("sana-sprint", "openvino") / "transformer" / "config.json")
    assert config["guidance_embeds"] is False


def test_a_loop_is_no_pipeline(families, tmp_path):
    """A client would run the first graph four times; the later graphs' configs are there."""
    for name in ("unet", "unet_2"):
        (tmp_path / name).mkdir()
    write_client_files(tmp_path, families.checkpoint("lcm", steps=2), "onnx")
    assert not (tmp_path / "model_index.json").exists()
    configs = [_json(tmp_path / name / "config.json") for name in ("unet", "unet_2")]
    assert configs[0] == configs[1]
    assert {"text_encoder", "vae_decoder", "scheduler", "tokenizer"} <= {path.name for path in tmp_path.iterdir()}


def test_where_the_publisher_s_files_lay_is_not_passed_on(families, tmp_path):
    checkpoint = families.checkpoint("sd-turbo")
    checkpoint.configs["unet"]["_name_or_path"] = "somewhere/else"
    write_client_files(tmp_path, checkpoint, "onnx")
    assert "somewhere" not in (tmp_path / "unet" / "config.json").read_text()


@pytest.mark.parametrize("name", ["sd-turbo", "sdxl-turbo", "sana-sprint"])
@pytest.mark.parametrize("format", ["onnx", "openvino", "coreml"])
def test_every_scheduler_hands_x0_on(written, format: str, name: str):
    import diffusers
    import torch

    folder = written(name, format) / "scheduler"
    config = _json(folder / "scheduler_config.json")
    assert config["prediction_type"] == "sample"
    scheduler = getattr(diffusers, config["_class_name"]).from_pretrained(folder)
    scheduler.set_timesteps(1)
    x0, z = torch.randn(2, 1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    assert float(scheduler.init_noise_sigma) == 1
    after = scheduler.step(x0, scheduler.timesteps[0], z).prev_sample
    np.testing.assert_allclose(after, x0, rtol=1e-6, atol=1e-7)


def test_the_checkpoint_s_prompts_go_along_and_are_what_quantize_calibrates_on(
    tiny: Path, tiny_exports: Exports, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from edgestep.cli import _calibration_feeds
    from edgestep.quantize.calibration import calibration_sha256

    checkpoint, lines = tmp_path / "own", "heart\nsun\ncat\n"
    shutil.copytree(tiny, checkpoint)
    (checkpoint / "prompts.txt").write_text(lines)
    artifact = tmp_path / "artifact"
    monkeypatch.setitem(EXPORTERS, "onnx", replace(EXPORTERS["onnx"], write=_copier(tiny_exports("onnx", "split"))))
    export(open_checkpoint(checkpoint), format="onnx", precision="fp32", layout="split", target="x86", out=artifact)
    assert (artifact / "prompts.txt").read_text() == lines
    assert "prompts.txt" in [file.path for file in read_artifact(artifact).files]
    by_hand, others = tmp_path / "same.txt", tmp_path / "others.txt"
    by_hand.write_text(lines)
    others.write_text("dog\nmoon\nstar\n")
    own, same, other = (
        calibration_sha256(_calibration_feeds(artifact, path, 3, lambda _: None)) for path in (None, by_hand, others)
    )
    assert own == same != other


def _copier(made: Path) -> Callable[..., Written]:
    """Return a writer of graphs that copies those of an artifact of the same weights."""

    def write(folder: Path, *_: object) -> Written:
        components = read_artifact(made).components
        for component in components:
            (folder / component.file).parent.mkdir()
            shutil.copy(made / component.file, folder / component.file)
        return Written(components)

    return write
