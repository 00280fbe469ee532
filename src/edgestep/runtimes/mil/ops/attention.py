"""MIL's fused attention (iOS 18) -> torch's."""

import torch
from torch.nn import functional

from edgestep.runtimes.mil.ops.families import Op


def scaled_dot_product_attention(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, attn_mask: torch.Tensor | None = None
) -> torch.Tensor:
    """[*B, L, E], [*B, S, E], [*B, S, EV] -> [*B, L, EV]; the mask is added, or says True for who takes part."""
    return functional.scaled_dot_product_attention(query, key, value, attn_mask)


OPS: dict[str, Op] = {"scaled_dot_product_attention": scaled_dot_product_attention}
