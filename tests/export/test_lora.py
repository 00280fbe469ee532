"""LoRAs of every published spelling, fused as they are read, against diffusers' own loading and fusing."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline
from safetensors.torch import load_file, save_file

from edgestep.artifact import BadInput
from edgestep.export.source.checkpoint import open_source
from edgestep.export.source.lora_names import name_of_key, path_in
from edgestep.export.source.source import Source
from tests.family_models import EULER_LEADING, new_sd_unet, new_sdxl_unet, write_kohya_lora, write_sd15, write_sdxl

SCALE = 0.7


@pytest.fixture(scope="module")
def sd15(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("sd15") / "base"
    write_sd15(folder)
    return folder


@pytest.fixture(scope="module")
def sdxl(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("sdxl") / "base"
    write_sdxl(folder, scheduler="EulerDiscreteScheduler", config=EULER_LEADING)
    return folder


def _fused_by_diffusers(pipeline: type, folder: Path, lora: Path):
    pipe = pipeline.from_pretrained(folder, local_files_only=True)
    pipe.load_lora_weights(lora.parent, weight_name=lora.name)
    pipe.fuse_lora(lora_scale=SCALE)
    pipe.unload_lora_weights()
    return pipe


def _assert_same(folder: Path, lora: Path, pipe, components: tuple[str, ...]) -> None:
    """Every tensor of every component is diffusers'; those named are changed by the LoRA."""
    ours = open_source(Source(folder, lora=lora, lora_scale=SCALE)).tensors
    plain = open_source(Source(folder)).tensors
    for component, weights in ours.items():
        state = getattr(pipe, component).state_dict()
        assert set(weights) == set(state)
        changed = 0
        for name, weight in weights.items():
            expected, array = state[name].numpy(), weight.read()
            assert array.dtype == np.float32 and array.shape == weight.shape
            assert np.allclose(array, expected, rtol=1e-6, atol=1e-6), name
            changed += not np.array_equal(array, plain[component][name].read())
        assert (changed > 0) == (component in components), component


def test_kohya_names_over_stable_diffusion(sd15, tmp_path):
    lora = write_kohya_lora(tmp_path / "lora.safetensors", new_sd_unet(0), seed=1)
    _assert_same(sd15, lora, _fused_by_diffusers(StableDiffusionPipeline, sd15, lora), ("unet",))


def test_kohya_names_over_sdxl_and_both_text_encoders(sdxl, tmp_path):
    lora = write_kohya_lora(tmp_path / "lora.safetensors", new_sdxl_unet(0), seed=1)
    state, random = load_file(lora), torch.Generator().manual_seed(2)
    for number, width in ((1, 32), (2, 48)):
        attention = [(f"self_attn_{name}_proj", width) for name in ("q", "k", "v", "out")]
        for layer, out in (*attention, ("mlp_fc1", 4 * width)):
            key = f"lora_te{number}_text_model_encoder_layers_0_{layer}"
            state[f"{key}.lora_down.weight"] = torch.randn((3, width), generator=random)
            state[f"{key}.lora_up.weight"] = torch.randn((out, 3), generator=random)
            state[f"{key}.alpha"] = torch.tensor(1.5)
    save_file(state, lora)
    pipe = _fused_by_diffusers(StableDiffusionXLPipeline, sdxl, lora)
    _assert_same(sdxl, lora, pipe, ("unet", "text_encoder", "text_encoder_2"))


def _layers(prefix: str, down: str, up: str, paths: dict[str, tuple[int, int]], seed: int = 3) -> dict:
    random = torch.Generator().manual_seed(seed)
    made = {}
    for path, (rows, columns) in paths.items():
        made[f"{prefix}{path}{down}.weight"] = torch.randn((4, columns), generator=random)
        made[f"{prefix}{path}{up}.weight"] = torch.randn((rows, 4), generator=random)
    return made


ATTENTION = "down_blocks.0.attentions.0.transformer_blocks.0.attn1."
SPELLINGS = {
    "peft": ("unet.", ".lora_A", ".lora_B", {f"{ATTENTION}to_q": (16, 16), f"{ATTENTION}to_out.0": (16, 16)}),
    "diffusers": ("unet.", ".lora.down", ".lora.up", {f"{ATTENTION}to_q": (16, 16), f"{ATTENTION}to_out.0": (16, 16)}),
    "processors": (
        "unet.",
        "_lora.down",
        "_lora.up",
        {f"{ATTENTION}processor.to_k": (16, 16), f"{ATTENTION}processor.to_out": (16, 16)},
    ),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_dotted_names(sd15, tmp_path, spelling):
    prefix, down, up, paths = SPELLINGS[spelling]
    lora = tmp_path / "lora.safetensors"
    save_file(_layers(prefix, down, up, paths), lora)
    _assert_same(sd15, lora, _fused_by_diffusers(StableDiffusionPipeline, sd15, lora), ("unet",))


def test_text_encoder_layers_and_convolutions_of_peft(sd15, tmp_path):
    text = _layers("text_encoder.text_model.encoder.layers.0.", ".lora_A", ".lora_B", {"self_attn.v_proj": (32, 32)})
    random = torch.Generator().manual_seed(5)
    conv = {
        "unet.down_blocks.0.resnets.0.conv1.lora_A.weight": torch.randn((4, 16, 3, 3), generator=random),
        "unet.down_blocks.0.resnets.0.conv1.lora_B.weight": torch.randn((16, 4, 1, 1), generator=random),
    }
    lora = tmp_path / "lora.safetensors"
    save_file({**text, **conv}, lora)
    pipe = _fused_by_diffusers(StableDiffusionPipeline, sd15, lora)
    _assert_same(sd15, lora, pipe, ("unet", "text_encoder"))


def test_alpha_of_the_header(sd15, tmp_path):
    """diffusers keeps peft's lora_alpha in the file's metadata."""
    layers = _layers("unet.", ".lora_A", ".lora_B", {f"{ATTENTION}to_q": (16, 16)})
    config = {"r": 4, "lora_alpha": 12, "target_modules": ["to_q"], "rank_pattern": {}, "alpha_pattern": {}}
    config = {f"unet.{key}": value for key, value in config.items()}
    lora = tmp_path / "lora.safetensors"
    save_file(layers, lora, metadata={"format": "pt", "lora_adapter_metadata": json.dumps(config)})
    _assert_same(sd15, lora, _fused_by_diffusers(StableDiffusionPipeline, sd15, lora), ("unet",))


@pytest.mark.parametrize(
    ("key", "path"),
    [
        (
            "input_blocks_4_1_transformer_blocks_0_attn1_to_q",
            "down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_q",
        ),
        ("input_blocks_8_0_in_layers_2", "down_blocks_2_resnets_1_conv1"),
        ("input_blocks_3_0_op", "down_blocks_0_downsamplers_0_conv"),
        ("middle_block_1_proj_in", "mid_block_attentions_0_proj_in"),
        ("middle_block_2_out_layers_3", "mid_block_resnets_1_conv2"),
        ("output_blocks_5_1_proj_out", "up_blocks_1_attentions_2_proj_out"),
        ("output_blocks_2_2_conv", "up_blocks_0_upsamplers_0_conv"),
        ("output_blocks_6_0_skip_connection", "up_blocks_2_resnets_0_conv_shortcut"),
    ],
)
def test_names_of_the_original_sdxl_code(key, path):
    """Against diffusers' names of the same layers of SDXL, two resnets a block."""
    named = name_of_key(f"lora_unet_{key}.lora_down.weight", "unet")
    assert named is not None
    assert path_in({path: "found"}, named[0]) == "found"
    assert named[1] == "down"


def test_scale_zero_changes_nothing_and_scale_is_in_the_key(sd15, tmp_path):
    lora = write_kohya_lora(tmp_path / "lora.safetensors", new_sd_unet(0), seed=1)
    plain = open_source(Source(sd15)).tensors["unet"]
    zero, half = (open_source(Source(sd15, lora=lora, lora_scale=scale)).tensors["unet"] for scale in (0.0, 0.5))
    name = f"{ATTENTION}to_q.weight"
    assert np.array_equal(plain[name].read(), zero[name].read())
    assert len({plain[name].key, zero[name].key, half[name].key}) == 3
    assert plain["conv_in.weight"].key == half["conv_in.weight"].key


def _wide(folder: Path) -> Path:
    return write_kohya_lora(folder / "wide.safetensors", new_sd_unet(0, cross_attention_dim=48), seed=1)


def _of_sdxl(folder: Path) -> Path:
    return write_kohya_lora(folder / "sdxl.safetensors", new_sdxl_unet(0), seed=1)


def _of_two_encoders(folder: Path) -> Path:
    path = folder / "two.safetensors"
    save_file(_layers("lora_te2_text_model_", ".lora_down", ".lora_up", {"encoder_layers_0_mlp_fc1": (128, 32)}), path)
    return path


def _half_a_pair(folder: Path) -> Path:
    path = folder / "half.safetensors"
    save_file({f"unet.{ATTENTION}to_q.lora_A.weight": torch.zeros(4, 16)}, path)
    return path


def _lokr(folder: Path) -> Path:
    path = folder / "lokr.safetensors"
    save_file({"lora_unet_conv_in.lokr_w1": torch.zeros(4, 16)}, path)
    return path


def _pickle(folder: Path) -> Path:
    torch.save({"unet.conv_in.lora_A.weight": torch.zeros(4, 16)}, folder / "lora.bin")
    return folder / "lora.bin"


WRONG = {
    "shapes": (_wide, r"of other shapes \(.*attn2_to_k \[.*\] x \[4, 48\] for \[16, 32\]"),
    "sdxl over sd": (_of_sdxl, "layers that this checkpoint lacks"),
    "a second text encoder": (_of_two_encoders, r"1 of 1 layers that this checkpoint lacks \(lora_te2_text_model_"),
    "half a pair": (_half_a_pair, "expected up and down"),
    "LoKr": (_lokr, "lokr_w1"),
    "a pickle": (_pickle, "allow-pickle"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_refuses(sd15, tmp_path, wrong):
    make, says = WRONG[wrong]
    with pytest.raises(BadInput, match=says) as caught:
        open_source(Source(sd15, lora=make(tmp_path)))
    assert "\n" not in str(caught.value)
