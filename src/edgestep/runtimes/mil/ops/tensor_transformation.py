"""MIL's reshapes, permutations and slices -> views of torch tensors where it can be."""

import torch
from torch.nn import functional

from edgestep.runtimes.mil.arguments import flag, integer, ints
from edgestep.runtimes.mil.ops.families import Op
from edgestep.runtimes.mil.ops.slicing import slice_by_index, slice_by_size, slice_update

Tensors = torch.Tensor | tuple[torch.Tensor, ...]
"""A variadic input: several values, or the one that is bound to it alone."""


def reshape(x: torch.Tensor, shape: torch.Tensor) -> torch.Tensor:
    """-1 is what is left; 0 the size of x at the same place counted from the right, 1 where x has none (iOS 17)."""
    wanted = ints(shape)
    own = [1] * (len(wanted) - x.dim()) + list(x.shape)[max(0, x.dim() - len(wanted)) :]
    return x.reshape([old if new == 0 else new for new, old in zip(wanted, own, strict=True)])


def reshape_like(
    x: torch.Tensor,
    ref_tensors: Tensors,
    begins: Tensors,
    ends: Tensors,
    end_masks: Tensors,
) -> torch.Tensor:
    """The new shape is that of reference after reference from its begin to its end, to its last with an end mask."""
    shape: list[int] = []
    for ref, begin, end, mask in zip(*map(_several, (ref_tensors, begins, ends, end_masks)), strict=True):
        shape += ref.shape[integer(begin) : None if flag(mask) else integer(end)]
    return x.reshape(shape)


def expand_dims(x: torch.Tensor, axes: torch.Tensor) -> torch.Tensor:
    """A dimension of 1 at each of `axes` of the result."""
    rank = x.dim() + axes.numel()
    for axis in sorted(a % rank for a in ints(axes)):
        x = x.unsqueeze(axis)
    return x


def squeeze(x: torch.Tensor, axes: torch.Tensor | None = None) -> torch.Tensor:
    """Without the dimensions of 1 among `axes`, among all by default; others stay, as in PyTorch."""
    return x.squeeze() if axes is None else x.squeeze(tuple(ints(axes)))


def transpose(x: torch.Tensor, perm: torch.Tensor) -> torch.Tensor:
    """Dimension i of the result is perm[i] of x."""
    return x.permute(ints(perm))


def reverse(x: torch.Tensor, axes: torch.Tensor | None = None) -> torch.Tensor:
    """Backwards along `axes`, along all by default."""
    return x.flip(list(range(x.dim())) if axes is None else ints(axes))


def reverse_sequence(
    x: torch.Tensor, lengths: torch.Tensor, seq_axis: torch.Tensor | int = 0, batch_axis: torch.Tensor | int = 0
) -> torch.Tensor:
    """Row i of the batch backwards along `seq_axis` in its first lengths[i] elements."""
    along, batch = integer(seq_axis) % x.dim(), integer(batch_axis) % x.dim()
    steps = torch.arange(x.shape[along], device=x.device)
    spans = lengths.long().reshape(-1, 1)
    places = torch.where(steps < spans, spans - 1 - steps, steps)
    shape = [1] * x.dim()
    shape[batch], shape[along] = places.shape
    places = places if batch < along else places.T
    return x.gather(along, places.reshape(shape).expand(x.shape))


def sliding_windows(
    x: torch.Tensor, axis: torch.Tensor | int, size: torch.Tensor | int, stride: torch.Tensor | int = 1
) -> torch.Tensor:
    """Windows of `size` along `axis`, a new dimension after it."""
    at = integer(axis) % x.dim()
    return x.unfold(at, integer(size), integer(stride)).movedim(-1, at + 1)


def depth_to_space(x: torch.Tensor, block_size: torch.Tensor | int) -> torch.Tensor:
    """[n, b * b * C, H, W] -> [n, C, H * b, W * b], the block's row and column before the channel."""
    b = integer(block_size)
    n, c, h, w = x.shape
    blocks = x.reshape(n, b, b, c // (b * b), h, w)
    return blocks.permute(0, 3, 4, 1, 5, 2).reshape(n, c // (b * b), h * b, w * b)


def space_to_depth(x: torch.Tensor, block_size: torch.Tensor | int) -> torch.Tensor:
    """The inverse of `depth_to_space`."""
    b = integer(block_size)
    n, c, h, w = x.shape
    return x.reshape(n, c, h // b, b, w // b, b).permute(0, 3, 5, 1, 2, 4).reshape(n, c * b * b, h // b, w // b)


def pixel_shuffle(x: torch.Tensor, upscale_factor: torch.Tensor | int) -> torch.Tensor:
    """[n, C * f * f, H, W] -> [n, C, H * f, W * f], the channel before the block's row and column."""
    return functional.pixel_shuffle(x, integer(upscale_factor))


def pixel_unshuffle(x: torch.Tensor, downscale_factor: torch.Tensor | int) -> torch.Tensor:
    """The inverse of `pixel_shuffle`."""
    return functional.pixel_unshuffle(x, integer(downscale_factor))


def space_to_batch(x: torch.Tensor, block_shape: torch.Tensor, paddings: torch.Tensor) -> torch.Tensor:
    """[n, C, H, W] -> [b0 * b1 * n, C, (H + pads) / b0, (W + pads) / b1]."""
    (b0, b1), (top, bottom, left, right) = ints(block_shape), ints(paddings)
    wide = functional.pad(x, (left, right, top, bottom))
    n, c, h, w = wide.shape
    blocks = wide.reshape(n, c, h // b0, b0, w // b1, b1)
    return blocks.permute(3, 5, 0, 1, 2, 4).reshape(b0 * b1 * n, c, h // b0, w // b1)


def batch_to_space(x: torch.Tensor, block_shape: torch.Tensor, crops: torch.Tensor) -> torch.Tensor:
    """The inverse of `space_to_batch`."""
    (b0, b1), (top, bottom, left, right) = ints(block_shape), ints(crops)
    n, c, h, w = x.shape
    blocks = x.reshape(b0, b1, n // (b0 * b1), c, h, w)
    whole = blocks.permute(2, 3, 4, 0, 5, 1).reshape(n // (b0 * b1), c, h * b0, w * b1)
    return whole[:, :, top : h * b0 - bottom, left : w * b1 - right]


def _several(values: Tensors) -> tuple[torch.Tensor, ...]:
    return values if isinstance(values, tuple) else (values,)


OPS: dict[str, Op] = {
    "batch_to_space": batch_to_space,
    "depth_to_space": depth_to_space,
    "expand_dims": expand_dims,
    "pixel_shuffle": pixel_shuffle,
    "pixel_unshuffle": pixel_unshuffle,
    "reshape": reshape,
    "reshape_like": reshape_like,
    "reverse": reverse,
    "reverse_sequence": reverse_sequence,
    "slice_by_index": slice_by_index,
    "slice_by_size": slice_by_size,
    "slice_update": slice_update,
    "sliding_windows": sliding_windows,
    "space_to_batch": space_to_batch,
    "space_to_depth": space_to_depth,
    "squeeze": squeeze,
    "transpose": transpose,
}
MOVES = frozenset(OPS)
