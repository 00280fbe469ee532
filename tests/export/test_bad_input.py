"""What cannot be exported: one line each that says what was got, what was expected and what to do."""

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from edgestep.artifact import BadInput
from edgestep.export.recipe.contract import contract_from_checkpoint
from edgestep.export.source.checkpoint import checkpoint_folder, open_source
from edgestep.export.source.source import Source
from tests.family_models import (
    EULER_LEADING,
    new_sd_unet,
    new_sdxl_unet,
    write_kohya_lora,
    write_lcm,
    write_sd15,
    write_sdxl,
    write_tiny_decoder,
    write_weights,
)

UNET, STEM = "unet/diffusion_pytorch_model.safetensors", "diffusion_pytorch_model"


@pytest.fixture(scope="module")
def bases(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("bases")
    write_sd15(folder / "sd")
    write_sdxl(folder / "sdxl", scheduler="EulerDiscreteScheduler", config=EULER_LEADING)
    write_lcm(folder / "lcm")
    return folder


@pytest.fixture
def copies(bases: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bases, tmp_path / "bases"))


def _refused(source: Source, says: str, doing: Callable[[Source], object]) -> None:
    with pytest.raises(BadInput, match=says) as caught:
        doing(source)
    said = str(caught.value)
    assert "\n" not in said
    assert said.startswith("got ")
    assert "; " in said


def _edit(path: Path, **changes) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def _shard(folder: Path) -> dict[str, str]:
    """Cut the UNet into two shards; return the index's table."""
    state = load_file(folder / UNET)
    names, table = sorted(state), {}
    for i, part in enumerate((names[::2], names[1::2]), 1):
        name = f"{STEM}-{i:05}-of-00002.safetensors"
        save_file({n: state[n] for n in part}, folder / "unet" / name)
        table |= dict.fromkeys(part, name)
    (folder / UNET).unlink()
    _index(folder, table)
    return table


def _index(folder: Path, table: dict[str, str]) -> None:
    (folder / f"{UNET}.index.json").write_text(json.dumps({"weight_map": table}))


def _truncated_shard(folder: Path) -> None:
    _shard(folder)
    path = folder / "unet" / f"{STEM}-00002-of-00002.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def _missing_shard(folder: Path) -> None:
    _shard(folder)
    (folder / "unet" / f"{STEM}-00001-of-00002.safetensors").unlink()


def _no_shards(folder: Path) -> None:
    _shard(folder)
    for path in (folder / "unet").glob("*.safetensors"):
        path.unlink()


def _shard_outside(folder: Path) -> None:
    table = _shard(folder)
    shutil.copy(folder / "unet" / f"{STEM}-00002-of-00002.safetensors", folder / "outside.safetensors")
    _index(
        folder, {n: "../outside.safetensors" if f.endswith("2-of-00002.safetensors") else f for n, f in table.items()}
    )


def _shard_elsewhere(folder: Path) -> None:
    _index(folder, dict.fromkeys(_shard(folder), "/etc/hostname"))


def _empty_index(folder: Path) -> None:
    _shard(folder)
    (folder / f"{UNET}.index.json").write_text('{"metadata": {}}')


def _whole_and_shards(folder: Path) -> None:
    whole = (folder / UNET).read_bytes()
    _shard(folder)
    (folder / UNET).write_bytes(whole)


def _two_networks(folder: Path) -> None:
    shutil.copy(folder / UNET, folder / "unet/dmd2_1step.safetensors")


FOLDERS = {
    "truncated shard": (_truncated_shard, "00002-of-00002.*whole .safetensors"),
    "missing shard": (_missing_shard, r"1 of 2 shards missing"),
    "no shards": (_no_shards, "2 of 2 shards missing"),
    "shard outside": (_shard_outside, "stays inside the folder"),
    "shard elsewhere": (_shard_elsewhere, "stays inside the folder"),
    "empty index": (_empty_index, "weight_map"),
    "whole and shards": (_whole_and_shards, "one network"),
    "two networks": (_two_networks, "dmd2_1step.safetensors.*--unet"),
    "no tokenizer": (lambda f: shutil.rmtree(f / "tokenizer"), "tokenizer/tokenizer_config.json"),
    "wrong class": (lambda f: _edit(f / "model_index.json", unet=["diffusers", "UNet3DModel"]), "UNet3DModel"),
    "wrong pipeline": (lambda f: _edit(f / "model_index.json", _class_name="StableDiffusion3Pipeline"), "Diffusion3"),
    "wrong tokenizer": (lambda f: _edit(f / "model_index.json", tokenizer=["transformers", "BertTokenizer"]), "Bert"),
    "no scheduler": (lambda f: _edit(f / "model_index.json", scheduler=None), "scheduler"),
    "class labels": (lambda f: _edit(f / "unet/config.json", class_embed_type="timestep"), "class_embed_type"),
}


@pytest.mark.parametrize("damage", FOLDERS)
def test_folders(copies, damage):
    hurt, says = FOLDERS[damage]
    hurt(copies / "sd")
    _refused(Source(copies / "sd", family="dmd2-sd15"), says, open_source)


def test_two_networks_are_fine_where_one_is_said(copies):
    _two_networks(copies / "sd")
    said = Source(copies / "sd", unet=copies / "sd/unet/dmd2_1step.safetensors")
    assert open_source(said).weights["unet"] == (said.unet,)


def test_tokenizers_without_their_files(copies):
    for name in ("vocab.json", "merges.txt"):
        (copies / "sd/tokenizer" / name).unlink()
    _refused(
        Source(copies / "sd", family="dmd2-sd15"),
        "no tokenizer.json, no vocab.json",
        lambda source: contract_from_checkpoint(open_source(source)),
    )


def _pkl(folder: Path) -> Path:
    (folder / "sid.pkl").write_bytes(pickle.dumps({}))
    return folder / "sid.pkl"


def _bin(folder: Path) -> Path:
    torch.save({}, folder / "unet.bin")
    return folder / "unet.bin"


def _other_suffix(folder: Path) -> Path:
    (folder / "unet.onnx").write_bytes(b"")
    return folder / "unet.onnx"


def _truncated(folder: Path) -> Path:
    path = write_weights(folder / "unet.safetensors", new_sd_unet(0))
    path.write_bytes(path.read_bytes()[:-8])
    return path


def _not_a_pickle(folder: Path) -> Path:
    (folder / "unet.bin").write_bytes(b"\x00" * 100)
    return folder / "unet.bin"


FILES = {
    "pkl": (_pkl, True, "save_file"),
    "bin": (_bin, False, "--allow-pickle"),
    "other": (_other_suffix, True, "in .safetensors"),
    "missing": (lambda folder: folder / "none.safetensors", True, "no file"),
    "truncated": (_truncated, True, "whole .safetensors"),
    "garbage": (_not_a_pickle, True, "does not load as tensors alone"),
}


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("role", ["unet", "lora"])
def test_files_that_go_over_the_folder(bases, tmp_path, file, role):
    make, allow, says = FILES[file]
    _refused(Source(bases / "sd", **{role: make(tmp_path)}, allow_pickle=allow), says, open_source)


def test_a_lora_for_another_base(bases, tmp_path):
    lora = write_kohya_lora(tmp_path / "lora.safetensors", new_sdxl_unet(0), seed=1)
    _refused(Source(bases / "sd", lora=lora), "made for this base", open_source)


@pytest.mark.parametrize(
    ("name", "steps", "says"),
    [
        ("sdxl_lightning_4step_unet.safetensors", 1, "1 steps with sdxl_lightning_4step_unet.* --steps 4"),
        ("dmd2_sdxl_1step_unet.safetensors", 4, "whose name says 1"),
        ("sdxl_lightning_8step_unet.safetensors", 8, "expected 1 or 2 or 4"),
    ],
)
def test_a_file_for_another_number_of_steps(bases, tmp_path, name, steps, says):
    said = Source(bases / "sdxl", unet=write_weights(tmp_path / name, new_sdxl_unet(0)), steps=steps)
    _refused(said, says, lambda s: contract_from_checkpoint(open_source(s)))


def test_two_files_of_two_families(bases, tmp_path):
    unet = write_weights(tmp_path / "Hyper-SDXL-1step-Unet.safetensors", new_sdxl_unet(0))
    lora = write_kohya_lora(tmp_path / "dmd2_sdxl_1step_lora.safetensors", new_sdxl_unet(0), seed=1)
    said = Source(bases / "sdxl", unet=unet, lora=lora)
    _refused(
        said, "of hyper-sdxl and dmd2_sdxl_1step.* of dmd2-sdxl", lambda s: contract_from_checkpoint(open_source(s))
    )


def test_decoders(bases, tmp_path):
    tiny = write_tiny_decoder(tmp_path / "tiny")
    _edit(tiny / "config.json", latent_channels=16)
    said = Source(bases / "sd", decoder=tiny, family="dmd2-sd15")
    _refused(said, "16 latent channels for a network of 4", lambda s: contract_from_checkpoint(open_source(s)))
    said = Source(bases / "sd", decoder=bases / "sd/vae")
    _refused(said, "AutoencoderKL.*AutoencoderTiny", open_source)


def test_a_vae_that_shifts(copies):
    _edit(copies / "sd/vae/config.json", shift_factor=0.1)
    said = Source(copies / "sd", family="dmd2-sd15")
    _refused(said, "shift_factor", lambda s: contract_from_checkpoint(open_source(s)))


OPTIONS = {
    "unknown family": ("sd", {"family": "dmd3"}, "'dmd3'; expected one of dmd2-sd15, "),
    "family of another base": ("sd", {"family": "dmd2-sdxl"}, "of base sdxl, for a checkpoint of base sd"),
    "nothing tells": ("sd", {}, r"PNDMScheduler.*looked at pipeline StableDiffusionPipeline.*--family.*--timestep"),
    "steps not offered": (
        "sdxl",
        {"family": "dmd2-sdxl", "steps": 2},
        "2 steps for family dmd2-sdxl .*expected 1 or 4",
    ),
    "three steps": ("lcm", {"steps": 3}, "expected 1 or 2 or 4"),
    "no steps": ("lcm", {"steps": 0}, "0 steps"),
    "timestep and steps": ("lcm", {"timestep": 999.0, "steps": 4}, "beside 4 steps"),
    "timestep and timesteps": ("lcm", {"timestep": 999.0, "timesteps": (999.0, 499.0)}, "beside 2 steps"),
    "timesteps and steps": ("lcm", {"timesteps": (999.0, 499.0), "steps": 4}, "2 timesteps for 4 steps"),
    "rising timesteps": ("lcm", {"timesteps": (499.0, 999.0)}, "that fall"),
    "timestep out of range": ("lcm", {"timestep": 1000.0}, "whole number from 0 to 999"),
    "prediction type": ("lcm", {"prediction_type": "noise"}, "'noise'"),
    "alpha_bar of a flow": ("sd", {"family": "instaflow", "alpha_bar": 0.5}, "alpha_bar 0.5 for instaflow"),
    "alpha_bar of a loop": ("lcm", {"steps": 2, "alpha_bar": 0.5}, "alpha_bar beside 2 steps"),
    "alpha_bar above 1": ("lcm", {"alpha_bar": 1.5}, "alpha_bar 1.5"),
    "guidance without an input": ("sd", {"family": "dmd2-sd15", "guidance_embedding": 7.5}, "time_cond_proj_dim"),
    "size": ("lcm", {"size": (510, 513)}, "510 x 513; expected multiples of 4; take 512 x 512"),
    "scale of a LoRA": ("lcm", {"lora_scale": float("nan")}, "LoRA scale of nan"),
}


@pytest.mark.parametrize("option", OPTIONS)
def test_options(bases, tmp_path, option):
    folder, said, says = OPTIONS[option]
    if "lora_scale" in said:
        unet = new_sd_unet(0, time_cond_proj_dim=256)
        said = {**said, "lora": write_kohya_lora(tmp_path / "lora.safetensors", unet, seed=1)}
    source = Source(bases / folder, **said)
    _refused(source, says, lambda s: contract_from_checkpoint(open_source(s)))


def test_a_hub_id_without_a_network(monkeypatch):
    import huggingface_hub

    def unreachable(*_, **__):
        raise OSError("could not reach the hub\nmore lines")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", unreachable)
    with pytest.raises(BadInput, match="could not reach the hub") as caught:
        checkpoint_folder("org/model")
    assert "\n" not in str(caught.value)
    assert "give the folder" in str(caught.value)
