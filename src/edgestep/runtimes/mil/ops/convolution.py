"""MIL's convolutions -> torch's, with 1, 2 or 3 spatial dimensions."""

from typing import Any

import torch

from edgestep.artifact import BadInput
from edgestep.runtimes.mil.arguments import integer, ints
from edgestep.runtimes.mil.ops.families import Op
from edgestep.runtimes.mil.ops.padding import Pads, padded, pads_of, per_dimension


def conv(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    strides: torch.Tensor | None = None,
    pad_type: str = "valid",
    pad: torch.Tensor | None = None,
    dilations: torch.Tensor | None = None,
    groups: torch.Tensor | int = 1,
) -> torch.Tensor:
    """[n, C_in, *D], [C_out, C_in / groups, *K] -> [n, C_out, *D_out]."""
    rank = x.dim() - 2
    steps, gaps = per_dimension(strides, rank), per_dimension(dilations, rank)
    pads = pads_of(pad_type, pad, x.shape[2:], _extent(weight, gaps), steps)
    even = all(before == after for before, after in pads)
    amounts = [before for before, _ in pads] if even else [0] * rank
    source = x if even else padded(x, pads)
    return torch.convolution(source, weight, bias, steps, amounts, gaps, False, [0] * rank, integer(groups))


def conv_quantized(
    x: torch.Tensor,
    weight: torch.Tensor,
    quantization_type: str,
    quant_scale: torch.Tensor,
    quant_bias: torch.Tensor,
    bias: torch.Tensor | None = None,
    nbits: torch.Tensor | int = 8,
    **options: Any,
) -> torch.Tensor:
    """A convolution whose weights are integers: W = W_q * scale + bias, scalars or one for each output channel.

    MIL names a second form, `lut`, and defines no table for it: BadInput.
    """
    if quantization_type != "linear" or not 1 <= integer(nbits) <= 8:
        raise BadInput(
            f"got conv_quantized with {quantization_type} weights of {integer(nbits)} bits; expected linear ones of 1 "
            "to 8 bits; convert the model again with constexpr weights"
        )
    shape = (-1, *[1] * (weight.dim() - 1))
    weights = weight.to(x.dtype) * quant_scale.reshape(shape) + quant_bias.reshape(shape)
    return conv(x, weights, None if bias is None else bias.to(x.dtype), **options)


def conv_transpose(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    pad: torch.Tensor | None = None,
    output_shape: torch.Tensor | None = None,
    pad_type: str = "valid",
    strides: torch.Tensor | None = None,
    dilations: torch.Tensor | None = None,
    groups: torch.Tensor | int = 1,
) -> torch.Tensor:
    """[n, C_in, *D], [C_in, C_out / groups, *K] -> [n, C_out, *D_out]."""
    rank = x.dim() - 2
    steps, gaps = per_dimension(strides, rank), per_dimension(dilations, rank)
    extent, zeros = _extent(weight, gaps), [0] * rank
    full = torch.convolution(x, weight, None, steps, zeros, gaps, True, zeros, integer(groups))
    wanted = None if output_shape is None else ints(output_shape)[2:]
    if pad_type == "same" and wanted is None:
        wanted = [n * s for n, s in zip(x.shape[2:], steps, strict=True)]
    if pad_type in ("same", "same_lower") and wanted is not None:
        crops = pads_of(pad_type, None, wanted, extent, steps)
    else:
        crops = pads_of(pad_type, pad, x.shape[2:], extent, steps)
    cut = padded(full, _cuts(full, crops, wanted))
    return cut if bias is None else cut + bias.reshape(-1, *[1] * rank)


def _cuts(full: torch.Tensor, crops: Pads, wanted: list[int] | None) -> Pads:
    """Return what to add, less than 0 to cut, at each end; with a wanted size its end follows from that."""
    if wanted is None:
        return [(-before, -after) for before, after in crops]
    return [(-before, size - n + before) for (before, _), size, n in zip(crops, wanted, full.shape[2:], strict=True)]


def _extent(weight: torch.Tensor, dilations: list[int]) -> list[int]:
    return [(k - 1) * d + 1 for k, d in zip(weight.shape[2:], dilations, strict=True)]


OPS: dict[str, Op] = {
    "conv": conv,
    "conv_quantized": conv_quantized,
    "conv_transpose": conv_transpose,
}
