"""Low-rank adapters for large teachers: what is trained instead of every weight (Hu et al. 2021), merged at the end."""

import copy
from typing import Any

import torch

from edgestep.artifact import BadInput

LAYERS = ("to_q", "to_k", "to_v", "to_out.0", "proj_in", "proj_out", "conv1", "conv2")
"""Attention, the transformers' doors, the ResNets' convolutions: attention alone cannot move what one step draws."""


def trained_copy(unet: Any, rank: int) -> Any:
    """Return a copy of `unet` in training: every weight where `rank` is 0, else LoRAs of that rank alone."""
    trained = copy.deepcopy(unet).train()
    if not rank:
        return trained.requires_grad_(True)
    try:
        from peft import LoraConfig
    except ImportError as error:
        raise BadInput(f"got lora_rank {rank} without peft ({error}); expected it; pip install peft") from error
    trained.requires_grad_(False)
    trained.add_adapter(LoraConfig(r=rank, lora_alpha=rank, target_modules=list(LAYERS)))
    return trained


def trainable(module: torch.nn.Module) -> list[torch.nn.Parameter]:
    """Return the parameters that are trained."""
    return [parameter for parameter in module.parameters() if parameter.requires_grad]


def merged(unet: Any) -> Any:
    """Return a copy with its LoRAs added to the weights, and no trace of them; as it is where there are none."""
    if not getattr(unet, "_hf_peft_config_loaded", False):
        return unet
    plain = copy.deepcopy(unet)
    plain.fuse_lora()
    plain.unload_lora()
    return plain
