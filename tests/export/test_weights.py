"""Weights read one at a time: files, shards, variants, pickles, old names; and whether they fit."""

import json
import shutil
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from edgestep.artifact import BadInput
from edgestep.export.source.checkpoint import open_checkpoint, open_source
from edgestep.export.source.fit import check_fit
from edgestep.export.source.names import named_as_module, without_wrappers
from edgestep.export.source.pickles import weights_from_pickle
from edgestep.export.source.source import Source
from edgestep.export.source.weights import LazyWeight, weights_from_safetensors
from tests.family_models import new_sd_unet, new_vae, write_sd15, write_tiny_decoder, write_weights

UNET = "unet/diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def sd15(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("sd15") / "base"
    write_sd15(folder)
    return folder


@pytest.fixture
def copy(sd15: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sd15, tmp_path / "copy"))


def _random(dtype: torch.dtype = torch.float32) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        "a.weight": torch.randn((3, 4), generator=generator).to(dtype),
        "b": torch.randn((5,), generator=generator).to(dtype),
    }


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("kind", ["safetensors", "bin"])
def test_numbers_are_those_of_torch(tmp_path, dtype, kind):
    state, path = _random(dtype), tmp_path / f"weights.{kind}"
    if kind == "bin":
        torch.save(state, path)
        weights = weights_from_pickle(path)
    else:
        save_file(state, path)
        weights = weights_from_safetensors((path,))
    for name, tensor in state.items():
        assert np.array_equal(weights[name].read(), tensor.float().numpy())
        assert weights[name].read().dtype == np.float32


def test_pickled_views_and_other_layouts(tmp_path):
    """Tensors that share a storage, begin inside it or are stored channels last."""
    whole = torch.arange(24.0)
    image = torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last)
    state = {"first": whole[:8], "later": whole[8:].reshape(4, 4).T, "image": image, "number": torch.tensor(2.0)}
    torch.save(state, tmp_path / "w.bin")
    weights = weights_from_pickle(tmp_path / "w.bin")
    for name, tensor in state.items():
        assert np.array_equal(weights[name].read(), tensor.numpy())


def test_pickles_of_old_torch(tmp_path):
    torch.save(_random(), tmp_path / "w.bin", _use_new_zipfile_serialization=False)
    weights = weights_from_pickle(tmp_path / "w.bin")
    assert np.array_equal(weights["b"].read(), _random()["b"].numpy())


class _Harmful:
    def __reduce__(self):
        return (print, ("this ran",))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({"a": _Harmful()}, "does not load as tensors alone"),
        ({"epoch": 3, "a": torch.zeros(1)}, "'epoch'"),
        ([torch.zeros(1)], "a list"),
    ],
)
def test_pickles_of_more_than_tensors_are_refused(tmp_path, capfd, content, says):
    torch.save(content, tmp_path / "w.bin")
    with pytest.raises(BadInput, match=says) as caught:
        weights_from_pickle(tmp_path / "w.bin")
    assert "\n" not in str(caught.value)
    assert "this ran" not in capfd.readouterr().out


def test_opening_and_reading_hold_one_tensor(tmp_path):
    state = {f"w{i}": torch.zeros(256, 1024) for i in range(32)}
    save_file(state, tmp_path / "w.safetensors")
    torch.save(state, tmp_path / "w.bin")
    weights_from_pickle(tmp_path / "w.bin")  # imports
    tracemalloc.start()
    for weights in (weights_from_safetensors((tmp_path / "w.safetensors",)), weights_from_pickle(tmp_path / "w.bin")):
        for weight in weights.values():
            assert weight.read().shape == (256, 1024)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * 256 * 1024 * 4


@pytest.mark.parametrize("layout", ["shards", "fp16", "fp16 shards", "old fp16 shards", "bin", "bin shards"])
def test_layouts_of_files_hold_the_same(copy, layout):
    expected = {n: w.read() for n, w in open_checkpoint(copy).tensors["unet"].items()}
    state, folder = load_file(copy / UNET), copy / "unet"
    (copy / UNET).unlink()
    stem, half = "diffusion_pytorch_model", "fp16" in layout
    state = {k: v.half() if half else v for k, v in state.items()}
    kind = "bin" if "bin" in layout else "safetensors"
    variant = ".fp16" if half else ""
    write = torch.save if kind == "bin" else save_file
    if "shards" not in layout:
        write(state, folder / f"{stem}{variant}.{kind}")
    else:
        names, table = sorted(state), {}
        for i, part in enumerate((names[::2], names[1::2]), 1):
            number = f"-{i:05}-of-00002"
            name = f"{stem}{number}{variant}.{kind}" if "old" in layout else f"{stem}{variant}{number}.{kind}"
            write({n: state[n] for n in part}, folder / name)
            table |= dict.fromkeys(part, name)
        index = f"{stem}.{kind}.index.fp16.json" if half else f"{stem}.{kind}.index.json"
        (folder / index).write_text(json.dumps({"metadata": {}, "weight_map": table}))
    found = open_checkpoint(copy, allow_pickle=kind == "bin").tensors["unet"]
    assert set(found) == set(expected)
    for name, array in expected.items():
        assert np.allclose(found[name].read(), array, atol=1e-3 if half else 0)


def test_plain_weights_come_before_their_variants(copy):
    state = load_file(copy / UNET)
    for variant in ("fp16", "non_ema"):
        save_file({k: v + 1 for k, v in state.items()}, copy / f"unet/diffusion_pytorch_model.{variant}.safetensors")
    (copy / "unet/openvino_model.bin").write_bytes(b"not weights of torch")
    checkpoint = open_checkpoint(copy)
    assert checkpoint.variant is None
    assert np.array_equal(checkpoint.tensors["unet"]["conv_in.bias"].read(), state["conv_in.bias"].numpy())


@pytest.mark.parametrize("prefix", ["", "module.", "unet.", "_orig_mod.", "module.unet."])
@pytest.mark.parametrize("kind", ["bin", "safetensors"])
def test_a_unet_file_goes_over_the_folder(copy, tmp_path, prefix, kind):
    unet = new_sd_unet(5)
    path = write_weights(tmp_path / f"unet.{kind}", unet)
    state = {prefix + k: v for k, v in unet.state_dict().items()}
    (torch.save if kind == "bin" else save_file)(state, path)
    (copy / UNET).unlink()  # not needed any more
    found = open_source(Source(copy, unet=path, family="dmd2-sd15", allow_pickle=kind == "bin"))
    assert found.weights["unet"] == (path,)
    check_fit("unet", {n: tuple(t.shape) for n, t in unet.state_dict().items()}, found.tensors["unet"])
    for name, tensor in unet.state_dict().items():
        assert np.array_equal(found.tensors["unet"][name].read(), tensor.numpy())


def test_the_original_layout_is_refused(copy, tmp_path):
    save_file({"model.diffusion_model.input_blocks.0.0.weight": torch.zeros(1)}, tmp_path / "ldm.safetensors")
    with pytest.raises(BadInput, match="original latent diffusion code"):
        open_source(Source(copy, unet=tmp_path / "ldm.safetensors"))


def test_old_names_of_the_vae(copy):
    """As Stable Diffusion 1.5's VAE is stored: query, key, value and proj_attn, as convolutions."""
    vae = new_vae(0.18215)
    new = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    old = {}
    for name, tensor in vae.state_dict().items():
        renamed = name
        for now, before in new.items():
            renamed = renamed.replace(f"attentions.0.{now}.", f"attentions.0.{before}.")
        old[renamed] = tensor[:, :, None, None].clone() if renamed != name and tensor.dim() == 2 else tensor
    assert set(old) != set(vae.state_dict())
    save_file(old, copy / "vae/diffusion_pytorch_model.safetensors")
    found = open_checkpoint(copy).tensors["vae"]
    check_fit("vae", {n: tuple(t.shape) for n, t in vae.state_dict().items()}, found)
    for name, tensor in vae.state_dict().items():
        assert found[name].name == name
        assert np.array_equal(found[name].read(), tensor.numpy())


def test_position_ids_of_old_text_encoders_are_dropped(copy):
    path = copy / "text_encoder/model.safetensors"
    state = load_file(path)
    save_file({**state, "text_model.embeddings.position_ids": torch.arange(77)[None]}, path)
    assert set(open_checkpoint(copy).tensors["text_encoder"]) == set(state)


def _weight(name: str, *shape: int) -> LazyWeight:
    return LazyWeight(name, shape, lambda: np.zeros(shape, np.float32), "file", name)


def test_tied_and_prefixed_names_of_language_models():
    t5 = named_as_module("T5EncoderModel", {"shared.weight": _weight("shared.weight", 4, 2)}, ())
    assert set(t5) == {"shared.weight", "encoder.embed_tokens.weight"}
    gemma = {n: _weight(n, 2) for n in ("model.norm.weight", "lm_head.weight")}
    assert set(named_as_module("Gemma2Model", gemma, ("lm_head.weight",))) == {"norm.weight"}
    mixed = {n: _weight(n, 2) for n in ("module.a", "b")}
    assert set(without_wrappers(mixed, "file")) == set(mixed)


def test_a_tiny_decoder_takes_the_place_of_the_vae(copy, tmp_path):
    from diffusers import AutoencoderTiny

    folder = write_tiny_decoder(tmp_path / "taesd")
    checkpoint = open_source(Source(copy, decoder=folder, family="dmd2-sd15"))
    expected = AutoencoderTiny.from_pretrained(folder).state_dict()
    assert checkpoint.classes["vae"] == "AutoencoderTiny"
    check_fit("vae", {n: tuple(t.shape) for n, t in expected.items()}, checkpoint.tensors["vae"])
    assert checkpoint.sha256 != open_checkpoint(copy).sha256


def test_a_misfit_lists_everything_in_one_line():
    weights = {f"extra.{i}": _weight(f"extra.{i}", 3) for i in range(6)}
    weights |= {"same": _weight("same", 2), "other": _weight("other", 4, 4)}
    with pytest.raises(BadInput) as caught:
        check_fit("unet", {"same": (2,), "other": (8, 4), "gone": (1,)}, weights)
    said = str(caught.value)
    assert "\n" not in said
    for part in ("1 missing (gone [1])", "6 unexpected (extra.0 [3]", "and 2 more", "1 of another shape", "unet"):
        assert part in said
    assert "other [4, 4] for [8, 4]" in said
    check_fit("unet", {n: w.shape for n, w in weights.items()}, weights)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("kind", ["safetensors", "bin"])
def test_numbers_that_are_not_finite_are_named_when_read(tmp_path, value, kind):
    state = _random()
    state["b"][2] = value
    path = tmp_path / f"w.{kind}"
    if kind == "bin":
        torch.save(state, path)
        weights = weights_from_pickle(path)
    else:
        save_file(state, path)
        weights = weights_from_safetensors((path,))
    weights["a.weight"].read()
    with pytest.raises(BadInput, match="not finite in b of"):
        weights["b"].read()


def test_a_file_that_is_cut_while_it_is_open(tmp_path):
    save_file(_random(), tmp_path / "w.safetensors")
    weights = weights_from_safetensors((tmp_path / "w.safetensors",))
    with (tmp_path / "w.safetensors").open("r+b") as file:
        file.truncate(file.seek(0, 2) - 40)
    with pytest.raises(BadInput, match="cut short"):
        for weight in weights.values():
            weight.read()
