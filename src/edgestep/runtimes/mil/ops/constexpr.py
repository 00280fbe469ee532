"""MIL's compressed constants -> dense tensors.

Those of iOS 16 pack what is under 8 bits into bytes and have a `shape`; those of iOS 18 share the names, have types of
fewer bits, and one table or scale for each block.
"""

import torch

from edgestep.runtimes.mil.arguments import integer, ints
from edgestep.runtimes.mil.ops.families import Op
from edgestep.runtimes.mil.ops.quantization import dequantize
from edgestep.runtimes.mil.types import NAMES, unpacked

Sparse = tuple[torch.Tensor, torch.Tensor]


def affine_dequantize(
    quantized_data: torch.Tensor, zero_point: torch.Tensor, scale: torch.Tensor, axis: torch.Tensor | int
) -> torch.Tensor:
    """scale * (data - zero_point), scalars or vectors along `axis`."""
    return dequantize(quantized_data, scale, zero_point, axis)


def blockwise_shift_scale(data: torch.Tensor, scale: torch.Tensor, offset: torch.Tensor | None = None) -> torch.Tensor:
    """scale * (data - offset), one of each for a block of data.shape / scale.shape."""
    blocks = data.float().reshape(_split(data.shape, scale.shape))
    shape = [size for count in scale.shape for size in (count, 1)]
    if offset is not None:
        blocks = blocks - offset.float().reshape(shape)
    return (blocks * scale.reshape(shape)).reshape(data.shape)


def cast(source_val: torch.Tensor, output_dtype: str) -> torch.Tensor:
    """To another type: only float16 to float32, which a tensor here is already."""
    return source_val.to(NAMES[output_dtype].held)


def lut_to_dense(
    indices: torch.Tensor,
    lut: torch.Tensor,
    shape: torch.Tensor | None = None,
    vector_axis: torch.Tensor | int | None = None,
) -> torch.Tensor:
    """Values by their index in a table.

    iOS 16: packed bytes, lut [2 ** bits] -> `shape`. iOS 18: indices K, lut [*G, 2 ** bits, V], a table for each block
    of K / G -> K, each index V values along `vector_axis`.
    """
    if shape is not None:
        sizes = ints(shape)
        return lut.index_select(0, _whole(indices, lut.numel(), sizes).reshape(-1).int()).reshape(sizes)
    palette, width = lut.shape[-2:]
    rows = indices.int() + palette * _table(indices.shape, lut.shape[:-2], indices.device)
    values = lut.reshape(-1, width).index_select(0, rows.reshape(-1)).reshape(*indices.shape, width)
    if width == 1 or vector_axis is None:
        return values.squeeze(-1)
    axis = integer(vector_axis) % indices.dim()
    return values.movedim(-1, axis + 1).flatten(axis, axis + 1)


def lut_to_sparse(
    indices_mask: torch.Tensor,
    indices_nonzero_data: torch.Tensor,
    lut: torch.Tensor,
    vector_axis: torch.Tensor | int | None = None,
) -> Sparse:
    """The mask, and the values of the indices that it keeps; a vector widens both along `vector_axis`."""
    dense = lut_to_dense(sparse_to_dense(indices_nonzero_data, indices_mask), lut, None, vector_axis)
    mask = indices_mask
    if vector_axis is not None:
        mask = mask.repeat_interleave(lut.shape[-1], integer(vector_axis))
    return mask, dense[mask.bool()]


def sparse_blockwise_shift_scale(
    data_mask: torch.Tensor, nonzero_data: torch.Tensor, scale: torch.Tensor, offset: torch.Tensor | None = None
) -> Sparse:
    """The mask, and what it keeps of the dequantized data."""
    dense = blockwise_shift_scale(sparse_to_dense(nonzero_data, data_mask), scale, offset)
    return data_mask, dense[data_mask.bool()]


def sparse_to_dense(nonzero_data: torch.Tensor, mask: torch.Tensor, shape: torch.Tensor | None = None) -> torch.Tensor:
    """0 but where the mask is 1. iOS 16: mask of packed bits, and `shape`. iOS 18: mask of that shape."""
    kept = (mask if shape is None else _whole(mask, 2, ints(shape))).bool()
    dense = torch.zeros(kept.shape, dtype=nonzero_data.dtype, device=nonzero_data.device)
    dense[kept] = nonzero_data
    return dense


def _whole(packed: torch.Tensor, values: int, shape: list[int]) -> torch.Tensor:
    """Return the indices into `values` that bytes hold."""
    bits = (values - 1).bit_length()
    count = int(torch.Size(shape).numel())
    if bits == 8:
        return packed[:count].reshape(shape)
    whole = unpacked(packed.cpu().numpy(), NAMES[f"uint{bits}"], count)
    return torch.from_numpy(whole).to(packed.device).reshape(shape)


def _split(shape: torch.Size, counts: torch.Size) -> list[int]:
    """Return [count, block, count, block, ...]: the shape that parts each dimension into its blocks."""
    return [size for n, count in zip(shape, counts, strict=True) for size in (count, n // count)]


def _table(shape: torch.Size, groups: torch.Size, device: torch.device) -> torch.Tensor:
    """Return the number of the table that each index reads, of a shape that broadcasts to it, int32."""
    number = torch.zeros([1] * len(shape), dtype=torch.int32, device=device)
    for axis, (n, count) in enumerate(zip(shape, groups, strict=True)):
        block = torch.arange(n, dtype=torch.int32, device=device) // (n // count) if count > 1 else number.new_zeros(1)
        number = number * count + block.reshape([-1 if i == axis else 1 for i in range(len(shape))])
    return number


OPS: dict[str, Op] = {
    "constexpr_affine_dequantize": affine_dequantize,
    "constexpr_blockwise_shift_scale": blockwise_shift_scale,
    "constexpr_cast": cast,
    "constexpr_lut_to_dense": lut_to_dense,
    "constexpr_lut_to_sparse": lut_to_sparse,
    "constexpr_sparse_blockwise_shift_scale": sparse_blockwise_shift_scale,
    "constexpr_sparse_to_dense": sparse_to_dense,
}
