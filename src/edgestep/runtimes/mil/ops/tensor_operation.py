"""Tensors joined, split, padded, filled, sorted and counted."""

import math

import torch

from edgestep.runtimes.mil.arguments import Value, flag, integer, ints, number, one_of, several
from edgestep.runtimes.mil.ops.families import Op, of_x
from edgestep.runtimes.mil.ops.suppression import non_maximum_suppression

PADS = ("constant", "reflect", "replicate")


def band_part(x: torch.Tensor, lower: Value | int = -1, upper: Value | int = -1) -> torch.Tensor:
    """Return x [..., M, N] with zeros outside a band; value_inference multiplies by 0, which makes NaN of inf."""
    down, up = integer(lower), integer(upper)
    rows = torch.arange(x.shape[-2], device=x.device)[:, None]
    columns = torch.arange(x.shape[-1], device=x.device)
    band = torch.ones(x.shape[-2:], dtype=torch.bool, device=x.device)
    band &= (rows - columns <= down) if down >= 0 else band
    band &= (columns - rows <= up) if up >= 0 else band
    return torch.where(band, x, torch.zeros_like(x))


def cumsum(
    x: torch.Tensor, axis: Value | int = 0, exclusive: Value | bool = False, reverse: Value | bool = False
) -> torch.Tensor:
    """Return the sums so far along `axis`, without each element itself where exclusive.

    value_inference cannot do `exclusive`: it asks numpy for zeros of the type `data`, an array.
    """
    along, backwards = integer(axis), flag(reverse)
    data = x.flip(along) if backwards else x
    sums = data.cumsum(along)
    if flag(exclusive):
        kept = sums.narrow(along, 0, sums.shape[along] - 1)
        sums = torch.cat([torch.zeros_like(sums.narrow(along, 0, 1)), kept], along)
    return sums.flip(along) if backwards else sums


def fill(shape: torch.Tensor, value: Value | float = 0.0) -> torch.Tensor:
    """Return a tensor of that shape, `value` everywhere."""
    filled = torch.as_tensor(value, device=shape.device)
    return filled.reshape(()).expand(ints(shape)).clone()


def fill_like(ref_tensor: torch.Tensor, value: Value | float = 0.0) -> torch.Tensor:
    """Return a tensor of the shape of `ref_tensor`, of the type of `value`."""
    filled = torch.as_tensor(value, device=ref_tensor.device)
    return filled.reshape(()).expand(ref_tensor.shape).clone()


def one_hot(
    indices: torch.Tensor,
    one_hot_vector_size: Value | int,
    axis: Value | int = -1,
    on_value: Value | float = 1,
    off_value: Value | float = 0,
) -> torch.Tensor:
    """Return `on_value` at each index along a new `axis`; nowhere for an index outside 0 to the size."""
    along, size = integer(axis), integer(one_hot_vector_size)
    along = along if along >= 0 else along + indices.dim() + 1
    places = torch.arange(size, device=indices.device).reshape(-1, *[1] * (indices.dim() - along))
    hot = indices.unsqueeze(along) == places
    on, off = (torch.as_tensor(value, device=indices.device) for value in (on_value, off_value))
    return torch.where(hot, on, off)


def pad(x: torch.Tensor, pad: torch.Tensor, mode: str = "constant", constant_val: Value | float = 0.0) -> torch.Tensor:
    """Return x with its last len(pad) / 2 dimensions made longer, before and after, as `mode` says."""
    kind, amounts = one_of("pad's mode", mode, PADS), ints(pad)
    if kind == "constant":
        backwards = [amount for pair in reversed(_pairs(amounts)) for amount in pair]
        return torch.nn.functional.pad(x, backwards, value=number(constant_val))
    first = x.dim() - len(amounts) // 2
    for axis, (before, after) in enumerate(_pairs(amounts), first):
        places = torch.arange(-before, x.shape[axis] + after, device=x.device)
        last = x.shape[axis] - 1
        places = places.clamp(0, last) if kind == "replicate" else last - (last - places.abs()).abs()
        x = x.index_select(axis, places)
    return x


def range_1d(start: torch.Tensor, end: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
    """Return start, start + step ... short of end, [ceil((end - start) / step)]."""
    if not start.is_floating_point():
        return torch.arange(integer(start), integer(end), integer(step), dtype=start.dtype, device=start.device)
    length = math.ceil((number(end) - number(start)) / number(step))
    return start + step * torch.arange(max(length, 0), device=start.device)


def argsort(x: torch.Tensor, axis: Value | int = -1, ascending: Value | bool = False) -> torch.Tensor:
    """Return the indices that sort x along `axis`, the first of equals first."""
    return torch.argsort(x, dim=integer(axis), descending=not flag(ascending), stable=True)


def topk(
    x: torch.Tensor,
    k: Value | int = 1,
    axis: Value | int = -1,
    ascending: Value | bool = False,
    sort: Value | bool = True,
    return_indices: Value | bool = True,
    output_indices_dtype: str = "int32",
) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
    """Return the greatest (least) k along `axis` and their indices, all of them for k -1; sorted in any case."""
    del sort, output_indices_dtype  # without `sort` any order will do; the type is declared as well
    along, count = integer(axis), integer(k)
    indices = argsort(x, along, ascending)
    indices = indices if count == -1 else indices.narrow(along, 0, count)
    values = x.gather(along, indices)
    return (values, indices) if flag(return_indices) else values


def flatten2d(x: torch.Tensor, axis: Value | int = 1) -> torch.Tensor:
    """Return x [before `axis`, from it on]."""
    return x.reshape(math.prod(x.shape[: integer(axis)]), -1)


def shape(x: torch.Tensor) -> torch.Tensor:
    """Return the shape of x, int32 [rank]."""
    return torch.tensor(x.shape, dtype=torch.int32, device=x.device)


def concat(values: Value, axis: Value, interleave: Value | bool = False) -> torch.Tensor:
    """Return them one after another along `axis`, or taking turns: value_inference has no `interleave`."""
    tensors, along = _on_one_device(values), integer(axis)
    if not tensors[0].dim():
        return torch.stack(tensors)
    if not flag(interleave):
        return torch.cat(tensors, along)
    along %= tensors[0].dim()
    return torch.stack(tensors, along + 1).flatten(along, along + 1)


def split(
    x: torch.Tensor, axis: Value, num_splits: Value | None = None, split_sizes: torch.Tensor | None = None
) -> tuple[torch.Tensor, ...]:
    """Return x in pieces along `axis`: of `split_sizes` where there are any, or `num_splits` equal ones."""
    along = integer(axis)
    if split_sizes is not None:
        return torch.split(x, ints(split_sizes), along)
    pieces = integer(num_splits) if num_splits is not None else 0
    if not pieces or x.shape[along] % pieces:
        raise ValueError(f"a size of {x.shape[along]} in {pieces} equal pieces")
    return torch.split(x, x.shape[along] // pieces, along)


def stack(values: Value, axis: Value) -> torch.Tensor:
    """Return them side by side along a new `axis`."""
    return torch.stack(_on_one_device(values), integer(axis))


def _on_one_device(values: Value) -> list[torch.Tensor]:
    """Return them as tensors; a constant of rank 0 stays on the CPU until something joins it to others."""
    tensors = [torch.as_tensor(value) for value in several(values)]
    device = next((one.device for one in tensors if one.device.type != "cpu"), None)
    return [one.to(device) for one in tensors] if device else tensors


def _pairs(amounts: list[int]) -> list[tuple[int, int]]:
    return list(zip(amounts[::2], amounts[1::2], strict=True))


OPS: dict[str, Op] = {
    "argsort": argsort,
    "band_part": band_part,
    "concat": concat,
    "cumsum": cumsum,
    "fill": fill,
    "fill_like": fill_like,
    "flatten2d": flatten2d,
    "identity": lambda x: x,
    "non_maximum_suppression": non_maximum_suppression,
    "non_zero": of_x(torch.nonzero),
    "one_hot": one_hot,
    "pad": pad,
    "range_1d": range_1d,
    "shape": shape,
    "split": split,
    "stack": stack,
    "tile": lambda x, reps: x.tile(ints(reps)),
    "topk": topk,
}

MOVES = frozenset(
    ["band_part", "concat", "flatten2d", "identity", "non_maximum_suppression", "pad", "split", "stack", "tile", "topk"]
)
