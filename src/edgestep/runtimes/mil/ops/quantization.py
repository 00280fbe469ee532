"""MIL's quantize and dequantize (iOS 17) -> arithmetic in float32."""

import torch

from edgestep.runtimes.mil.arguments import integer, one_of
from edgestep.runtimes.mil.ops.families import Op

RANGES = {"int8": (-128, 127), "uint8": (0, 255), "int4": (-8, 7), "uint4": (0, 15)}
"""MIL's name of a quantized type -> least and greatest value. iOS 17 has those of 8 bits."""


def quantize(
    input: torch.Tensor,
    scale: torch.Tensor,
    output_dtype: str,
    zero_point: torch.Tensor | None = None,
    axis: torch.Tensor | int | None = None,
) -> torch.Tensor:
    """clip(round(input / scale) + zero_point), halves to even; scale and zero point a scalar, or one along `axis`."""
    low, high = RANGES[one_of("output_dtype", output_dtype, tuple(RANGES))]
    levels = torch.round(input / along(scale, axis, input.dim()))
    if zero_point is not None:
        levels = levels + along(zero_point, axis, input.dim()).float()
    return levels.clamp(low, high)


def dequantize(
    input: torch.Tensor,
    scale: torch.Tensor,
    zero_point: torch.Tensor | None = None,
    axis: torch.Tensor | int | None = None,
) -> torch.Tensor:
    """scale * (input - zero_point)."""
    levels = input.float()
    if zero_point is not None:
        levels = levels - along(zero_point, axis, input.dim()).float()
    return levels * along(scale, axis, input.dim())


def along(values: torch.Tensor, axis: torch.Tensor | int | None, rank: int) -> torch.Tensor:
    """Return a vector as [1, n, 1, 1] with n at `axis`, a scalar as it is."""
    if not values.dim() or axis is None:
        return values
    shape = [1] * rank
    shape[integer(axis) % rank] = -1
    return values.reshape(shape)


OPS: dict[str, Op] = {"dequantize": dequantize, "quantize": quantize}
