"""Opening a checkpoint: what is refused, and how it is said."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edgestep.artifact import BadInput
from edgestep.export.inspect import inspect_checkpoint, text_from_inspection
from edgestep.export.recipe.contract import contract_from_checkpoint
from edgestep.export.source.checkpoint import checkpoint_folder, open_checkpoint

UNET = "unet/diffusion_pytorch_model.safetensors"


@pytest.fixture
def copy(tiny: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny, tmp_path / "copy"))


def _edit(path: Path, **changes) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def _truncate(folder: Path) -> None:
    whole = (folder / UNET).read_bytes()
    (folder / UNET).write_bytes(whole[:-1000])


def _pickle_only(folder: Path) -> None:
    (folder / UNET).rename(folder / "unet/diffusion_pytorch_model.bin")


DAMAGE = {
    "no index": (lambda f: (f / "model_index.json").unlink(), "model_index.json"),
    "broken index": (lambda f: (f / "model_index.json").write_text("{"), "expected JSON"),
    "other pipeline": (lambda f: _edit(f / "model_index.json", _class_name="FluxPipeline"), "FluxPipeline"),
    "other component": (lambda f: _edit(f / "model_index.json", vae=["diffusers", "VQModel"]), "VQModel"),
    "no component": (lambda f: shutil.rmtree(f / "vae"), "vae/config.json"),
    "no weights": (lambda f: (f / UNET).unlink(), "no diffusion_pytorch_model.safetensors"),
    "truncated": (_truncate, "bytes of weights where its header lists"),
    "garbage": (lambda f: (f / UNET).write_bytes(b"\xff" * 4096), "header of"),
    "empty": (lambda f: (f / UNET).write_bytes(b""), "header of"),
    "not json": (lambda f: (f / UNET).write_bytes((9).to_bytes(8, "little") + b"not json!"), "header that is not"),
    "pickle": (_pickle_only, "allow-pickle"),
    "SDXL": (lambda f: _edit(f / "unet/config.json", addition_embed_type="text_time"), "addition_embed_type"),
    "scale and shift": (lambda f: _edit(f / "unet/config.json", resnet_time_scale_shift="scale_shift"), "time_scale"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_refuses(copy: Path, damage: str):
    hurt, says = DAMAGE[damage]
    hurt(copy)
    with pytest.raises(BadInput, match=says) as caught:
        open_checkpoint(copy)
    assert "\n" not in str(caught.value)
    assert "expected" in str(caught.value)


def test_refuses_what_is_no_folder(tmp_path: Path):
    with pytest.raises(BadInput, match="does not exist"):
        open_checkpoint(tmp_path / "nothing")
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(BadInput, match="diffusers folder"):
        open_checkpoint(tmp_path / "model.safetensors")
    with pytest.raises(BadInput, match="no folder"):
        checkpoint_folder(str(tmp_path / "nothing"))


def test_offline_hub_id_is_one_clear_line():
    with pytest.raises(BadInput, match="could not be fetched") as caught:
        checkpoint_folder("nobody/nothing")
    assert "\n" not in str(caught.value)


def test_pickles_load_when_allowed(copy: Path):
    import torch
    from safetensors.torch import load_file

    torch.save(load_file(copy / UNET), copy / "unet/diffusion_pytorch_model.bin")
    for component in ("text_encoder", "vae"):
        path = next((copy / component).glob("*.safetensors"))
        stem = {"model": "pytorch_model"}.get(path.stem, path.stem)
        torch.save(load_file(path), path.with_name(f"{stem}.bin"))
        path.unlink()
    (copy / UNET).unlink()
    checkpoint = open_checkpoint(copy, allow_pickle=True)
    assert checkpoint.pickled
    _captured_unet(copy, allow_pickle=True)


def _captured_unet(folder: Path, **options: bool) -> None:
    """Capture the UNet, which checks that the weights fit, and read them all."""
    from edgestep.export.graph.graphs import Graphs

    checkpoint = open_checkpoint(folder, **options)
    captured = Graphs(checkpoint, contract_from_checkpoint(checkpoint)).captured("unet")
    assert len(captured.weights) > 10
    for weight in captured.weights.values():
        assert weight.read().shape == weight.shape


def test_missing_and_nonfinite_weights_are_refused(copy: Path):
    from safetensors.torch import load_file, save_file

    weights = load_file(copy / UNET)
    save_file({k: v for k, v in weights.items() if k != "conv_out.weight"}, copy / UNET)
    with pytest.raises(BadInput, match=r"conv_out\.weight"):
        _captured_unet(copy)
    weights["conv_out.weight"][0] = float("nan")
    save_file(weights, copy / UNET)
    with pytest.raises(BadInput, match=r"not finite in conv_out\.weight"):
        _captured_unet(copy)


def test_hash_follows_weights_and_configs(tiny: Path, copy: Path):
    assert open_checkpoint(tiny).sha256 == open_checkpoint(copy).sha256
    _edit(copy / "scheduler/scheduler_config.json", prediction_type="v_prediction")
    assert open_checkpoint(tiny).sha256 != open_checkpoint(copy).sha256


def test_card_gives_licence_and_family(copy: Path):
    (copy / "README.md").write_text("---\nlicense: apache-2.0\nfamily: emoji\ntags:\n- a\n---\ntext\n")
    checkpoint = open_checkpoint(copy)
    assert checkpoint.licence == "apache-2.0"
    assert contract_from_checkpoint(checkpoint).family == "emoji"


def test_special_tokens_are_the_tokenizers(tiny: Path):
    from transformers import CLIPTokenizer

    tokenizer = CLIPTokenizer.from_pretrained(tiny / "tokenizer")
    contract = contract_from_checkpoint(open_checkpoint(tiny))
    expected = (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id)
    assert (contract.bos_token_id, contract.eos_token_id, contract.pad_token_id) == expected


def test_tokenizer_json_is_made_where_there_is_none(copy: Path):
    from tokenizers import Tokenizer
    from transformers import CLIPTokenizer

    from edgestep.export.source.tokenizer import tokenizer_json

    (copy / "tokenizer/tokenizer.json").unlink()
    made = Tokenizer.from_str(tokenizer_json(copy / "tokenizer").decode())
    expected = CLIPTokenizer.from_pretrained(copy / "tokenizer")("a red heart").input_ids
    assert made.encode("a red heart").ids == expected


def test_inspection_counts_what_torch_counts(tiny: Path):
    from diffusers import UNet2DConditionModel

    unet = UNet2DConditionModel.from_pretrained(tiny / "unet")
    inspection = inspect_checkpoint(open_checkpoint(tiny))
    sizes = {component.name: component.parameters for component in inspection.components}
    assert sizes["unet"] == sum(p.numel() for p in unet.parameters())
    folded = sum(p.numel() for n, p in unet.named_parameters() if "time_emb" in n)
    assert inspection.folded_parameters == folded
    assert f"{folded:,} parameters" in text_from_inspection(inspection)


def test_inspecting_needs_no_torch(emoji: Path):
    script = (
        "import sys\nfrom pathlib import Path\nfrom edgestep.export.source.checkpoint import open_checkpoint\n"
        "from edgestep.export.inspect import inspect_checkpoint\n"
        f"inspect_checkpoint(open_checkpoint(Path({str(emoji)!r})))\n"
        "assert not {'torch', 'diffusers', 'onnx'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
