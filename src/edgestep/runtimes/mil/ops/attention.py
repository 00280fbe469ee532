"""MIL's fused attention (iOS 18) -> torch's."""

from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional


def scaled_dot_product_attention(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, attn_mask: torch.Tensor | None = None
) -> torch.Tensor:
    """[*B, L, E], [*B, S, E], [*B, S, EV] -> [*B, L, EV]; the mask is added, or says True for who takes part."""
    return functional.scaled_dot_product_attention(query, key, value, attn_mask)


OPS: dict[str, Callable[..., Any]] = {"scaled_dot_product_attention": scaled_dot_product_attention}
