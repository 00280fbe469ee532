"""GroupNorm -> one normalising operation over each group's numbers, then weight and bias.

A runtime that takes the norm apart squares what it centred, in float16 inf from 256 on; its own instance norm does not.
"""

from typing import Any


def group_norm_by_instances(
    x: Any, groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5, cudnn_enabled: bool = True
) -> Any:
    """Return what torch's group_norm does, of [B, C, ...]: the groups as channels of [B, G, C / G, S]."""
    import torch

    grouped = x.reshape(x.shape[0], groups, x.shape[1] // groups, -1)
    normed = torch.instance_norm(grouped, None, None, None, None, True, 0.0, eps, False).reshape(x.shape)
    channels = (1, -1, *(1 for _ in x.shape[2:]))
    scaled = normed if weight is None else normed * weight.reshape(channels)
    return scaled if bias is None else scaled + bias.reshape(channels)
