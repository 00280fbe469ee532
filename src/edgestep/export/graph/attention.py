"""softmax(Q K^T / sqrt(d) + mask) V in plain operations, for runtimes that have no fused one."""

from typing import Any


def plain_attention(
    query: Any,
    key: Any,
    value: Any,
    attn_mask: Any = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Any:
    """Return what torch's scaled_dot_product_attention does: [..., S, d], [..., L, d], [..., L, v] -> [..., S, v].

    The queries are scaled before the product, so that float16 holds it where it holds the scores.
    """
    import torch

    if is_causal or enable_gqa or dropout_p:
        return NotImplemented
    scores = torch.matmul(query * (scale or query.shape[-1] ** -0.5), key.transpose(-1, -2))
    if attn_mask is not None:
        scores = scores + attn_mask
    return torch.matmul(torch.softmax(scores, dim=-1), value)
