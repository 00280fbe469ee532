"""A key of a LoRA file -> the component and layer that it means, and whether it is up, down or alpha.

kohya        lora_unet_down_blocks_0_attentions_0_proj_in.lora_down.weight, .lora_up.weight, .alpha; lora_te1_ ...
kohya, SGM   lora_unet_input_blocks_4_1_proj_in...        as the original SDXL code calls its blocks
peft         unet.down_blocks.0.attentions.0.proj_in.lora_A.weight, .lora_B.weight
diffusers    unet.....to_q.lora.down.weight, ....processor.to_q_lora.down.weight, ....lora_linear_layer.down.weight
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

KOHYA = {"lora_unet_": "", "lora_te_": "text_encoder", "lora_te1_": "text_encoder", "lora_te2_": "text_encoder_2"}
"""Prefix -> component; "" is the denoiser."""
DOTTED = {"unet.": "", "transformer.": "", "text_encoder.": "text_encoder", "text_encoder_2.": "text_encoder_2"}
KEY = re.compile(
    r"(?P<path>.+?)(?:\.lora_(?P<a>A|B|down|up)(?:\.\w+)?\.weight|[._]lora(?:_linear_layer)?\.(?P<b>down|up)\.weight|"
    r"\.(?P<c>alpha))"
)
PARTS = {"A": "down", "B": "up", "down": "down", "up": "up", "alpha": "alpha"}
SGM = re.compile(r"(?P<where>input_blocks|middle_block|output_blocks)_(?P<numbers>\d+(?:_\d+)?)_(?P<rest>.+)")
SGM_RESNET = {
    "in_layers_2": "conv1",
    "emb_layers_1": "time_emb_proj",
    "out_layers_3": "conv2",
    "skip_connection": "conv_shortcut",
}
SGM_SAMPLERS = {"op": "downsamplers", "conv": "upsamplers"}


@dataclass(frozen=True)
class LoraName:
    """`key` is what the file calls the layer, for messages; `path` may have dots or kohya's underscores."""

    component: str
    path: str
    key: str


def name_of_key(key: str, denoiser: str) -> tuple[LoraName, str] | None:
    """Return the layer and "up", "down" or "alpha"; None for a key of no LoRA."""
    match = KEY.fullmatch(key)
    if match is None:
        return None
    part = PARTS[match["a"] or match["b"] or match["c"]]
    path = match["path"].removeprefix("base_model.model.")
    for prefix, component in {**KOHYA, **DOTTED}.items():
        if path.startswith(prefix):
            return LoraName(component or denoiser, _plain(path.removeprefix(prefix)), match["path"]), part
    return LoraName(denoiser, _plain(path), match["path"]), part


def path_in(paths: Mapping[str, str], name: LoraName) -> str | None:
    """Return the layer's path in the module; `paths` has it under both spellings."""
    return paths.get(name.path) or paths.get(_diffusers_from_sgm(name.path))


def _plain(path: str) -> str:
    """Attention processors once held the LoRA: attn1.processor.to_out -> attn1.to_out.0."""
    if ".processor." not in path:
        return path
    path = path.replace(".processor.", ".")
    return path + ".0" if path.endswith(".to_out") else path


def _diffusers_from_sgm(path: str) -> str:
    """Return kohya's path with diffusers' names of the blocks; two resnets (and attentions) a block, as in SDXL."""
    match = SGM.fullmatch(path)
    if match is None:
        return path
    where, rest = match["where"], match["rest"]
    i, _, inner = match["numbers"].partition("_")
    if where == "middle_block":
        kind = ("resnets_0", "attentions_0", "resnets_1")[min(int(i), 2)]
        return f"mid_block_{kind}_{_resnet(rest)}"
    number = int(i) - 1 if where == "input_blocks" else int(i)
    block = f"{'down' if where == 'input_blocks' else 'up'}_blocks_{number // 3}"
    if rest in SGM_SAMPLERS:
        return f"{block}_{SGM_SAMPLERS[rest]}_0_conv"
    return _in_block(block, number % 3, inner != "0", rest)


def _in_block(block: str, layer: int, attention: bool, rest: str) -> str:
    return f"{block}_attentions_{layer}_{rest}" if attention else f"{block}_resnets_{layer}_{_resnet(rest)}"


def _resnet(rest: str) -> str:
    return SGM_RESNET.get(rest, rest)
