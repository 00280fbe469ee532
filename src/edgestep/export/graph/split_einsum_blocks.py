"""The parts of a transformer in the layout (B, C, 1, S): channels second, one row, positions last.

Linear layers are 1x1 convolutions, layer norms go over axis 1, attention is done head by head: what Apple's Neural
Engine computes without moving memory. Each part takes diffusers' part and keeps the names of its parameters; arrays on
the meta device, as the skeleton's.
"""

from typing import Any

import torch
from torch import nn
from torch.nn import functional


class ScaledConv(nn.Conv2d):
    """A 1x1 convolution in place of a linear layer; its weights are to be the linear's times `weight_scale`."""

    weight_scale: float = 1.0


def conv_from_linear(linear: nn.Linear, scale: float = 1.0) -> ScaledConv:
    """Return a 1x1 convolution with the linear layer's shape."""
    conv = ScaledConv(linear.in_features, linear.out_features, 1, bias=linear.bias is not None, device="meta")
    conv.weight_scale = scale
    return conv.requires_grad_(False).eval()


class ChannelNorm(nn.Module):
    """Layer norm over axis 1 of [B, C, 1, S]."""

    def __init__(self, norm: nn.LayerNorm) -> None:
        super().__init__()
        self.eps = norm.eps
        self.weight, self.bias = norm.weight, norm.bias

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (x - mean) / sqrt(var + eps) * weight + bias."""
        centred = x - x.mean(dim=1, keepdim=True)
        normed = centred * torch.rsqrt((centred * centred).mean(dim=1, keepdim=True) + self.eps)
        if self.weight is None:
            return normed
        scaled = normed * self.weight.reshape(1, -1, 1, 1)
        return scaled if self.bias is None else scaled + self.bias.reshape(1, -1, 1, 1)


class SplitAttention(nn.Module):
    """softmax(Q K^T / sqrt(d)) V of each head by einsum; 1 / sqrt(d) is in the queries' weights."""

    def __init__(self, attention: Any) -> None:
        super().__init__()
        self.heads = attention.heads
        self.to_q = conv_from_linear(attention.to_q, attention.scale)
        self.to_k, self.to_v = conv_from_linear(attention.to_k), conv_from_linear(attention.to_v)
        self.to_out = nn.ModuleList([conv_from_linear(attention.to_out[0])])

    def forward(self, x: torch.Tensor, states: torch.Tensor | None = None) -> torch.Tensor:
        """[B, C, 1, S], and [B, D, 1, L] to look at in place of itself -> [B, C, 1, S]."""
        states = x if states is None else states
        q, v = (part.chunk(self.heads, dim=1) for part in (self.to_q(x), self.to_v(states)))
        k = self.to_k(states).transpose(1, 3).chunk(self.heads, dim=3)
        out = [_attend(*head) for head in zip(q, k, v, strict=True)]
        return self.to_out[0](torch.cat(out, dim=1))


def _attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """One head: q [B, d, 1, S], k [B, L, 1, d], v [B, d, 1, L] -> [B, d, 1, S]."""
    weights = torch.softmax(torch.einsum("nchw,nwhu->nchu", k, q), dim=1)
    return torch.einsum("nchw,nwhu->nchu", v, weights)


class GatedProjection(nn.Module):
    """GEGLU: a * gelu(b), where a and b are the halves of one projection."""

    def __init__(self, gated: Any) -> None:
        super().__init__()
        self.proj = conv_from_linear(gated.proj)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, C, 1, S] -> [B, 4 C, 1, S]."""
        a, b = self.proj(x).chunk(2, dim=1)
        return a * functional.gelu(b)


class GatedFeedForward(nn.Module):
    """A GEGLU, and the layer after it."""

    def __init__(self, feed_forward: Any) -> None:
        super().__init__()
        self.net = nn.ModuleList(
            [GatedProjection(feed_forward.net[0]), nn.Identity(), conv_from_linear(feed_forward.net[2])]
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, C, 1, S] -> the same."""
        return self.net[2](self.net[0](x))


class SplitBlock(nn.Module):
    """A BasicTransformerBlock: attention to itself, to the prompt, and the feed-forward part, each over its norm."""

    def __init__(self, block: Any) -> None:
        super().__init__()
        self.norm1, self.attn1 = ChannelNorm(block.norm1), SplitAttention(block.attn1)
        self.norm2, self.attn2 = ChannelNorm(block.norm2), SplitAttention(block.attn2)
        self.norm3, self.ff = ChannelNorm(block.norm3), GatedFeedForward(block.ff)

    def forward(self, x: torch.Tensor, states: torch.Tensor) -> torch.Tensor:
        """[B, C, 1, S] and the prompt's [B, D, 1, L] -> [B, C, 1, S]."""
        x = x + self.attn1(self.norm1(x))
        x = x + self.attn2(self.norm2(x), states)
        return x + self.ff(self.norm3(x))


class SplitTransformer(nn.Module):
    """A Transformer2DModel, called as the UNet's blocks call it."""

    def __init__(self, transformer: Any) -> None:
        super().__init__()
        self.norm = transformer.norm
        self.proj_in, self.proj_out = (
            conv_from_linear(part) if isinstance(part, nn.Linear) else part
            for part in (transformer.proj_in, transformer.proj_out)
        )
        self.transformer_blocks = nn.ModuleList(SplitBlock(block) for block in transformer.transformer_blocks)

    def forward(self, hidden_states: torch.Tensor, encoder_hidden_states: torch.Tensor, **_: Any) -> tuple[Any]:
        """[B, C, H, W] and the prompt's [B, D, 1, L] -> [B, C, H, W]."""
        x = self.proj_in(self.norm(hidden_states))
        shape = x.shape
        x = x.reshape(shape[0], shape[1], 1, -1)
        for block in self.transformer_blocks:
            x = block(x, encoder_hidden_states)
        return (self.proj_out(x.reshape(shape)) + hidden_states,)


class VectorConv(nn.Module):
    """A linear layer on [B, C] as a 1x1 convolution; its parameters keep their names."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        conv = conv_from_linear(linear)
        self.weight, self.bias = conv.weight, conv.bias

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, C] -> [B, D]."""
        return functional.conv2d(x[:, :, None, None], self.weight, self.bias)[:, :, 0, 0]


def channels_first(states: torch.Tensor) -> torch.Tensor:
    """[B, L, D], or [B, D, 1, L] as it is -> [B, D, 1, L]."""
    return states if states.ndim == 4 else states.transpose(1, 2).unsqueeze(2)
