"""MIL's slices -> torch's, which has no step below 0: those are indices."""

import torch

from edgestep.runtimes.mil.arguments import flags, ints


def slice_by_index(
    x: torch.Tensor,
    begin: torch.Tensor,
    end: torch.Tensor,
    stride: torch.Tensor | None = None,
    begin_mask: torch.Tensor | None = None,
    end_mask: torch.Tensor | None = None,
    squeeze_mask: torch.Tensor | None = None,
) -> torch.Tensor:
    """x[begin:end:stride, ...] as numpy has it; a squeezed dimension is x[begin]."""
    ranges = _ranges(x, begin, end, stride, begin_mask, end_mask, squeeze_mask)
    for axis, taken in enumerate(ranges):
        x = _taken(x, axis, taken)
    gone = [axis for axis, drop in enumerate(_mask(squeeze_mask, x)) if drop]
    return x.squeeze(gone) if gone else x


def slice_by_size(x: torch.Tensor, begin: torch.Tensor, size: torch.Tensor) -> torch.Tensor:
    """x[begin:begin + size, ...]; a size of -1 is what is left."""
    for axis, (first, count) in enumerate(zip(ints(begin), ints(size), strict=True)):
        start = first % x.shape[axis] if first < 0 else first
        x = x.narrow(axis, start, x.shape[axis] - start if count == -1 else count)
    return x


def slice_update(
    x: torch.Tensor,
    update: torch.Tensor,
    begin: torch.Tensor,
    end: torch.Tensor,
    stride: torch.Tensor | None = None,
    begin_mask: torch.Tensor | None = None,
    end_mask: torch.Tensor | None = None,
    squeeze_mask: torch.Tensor | None = None,
) -> torch.Tensor:
    """x with `update` where `slice_by_index` of the same arguments takes from."""
    ranges = _ranges(x, begin, end, stride, begin_mask, end_mask, squeeze_mask)
    turned = [axis for axis, taken in enumerate(ranges) if taken.step < 0]
    forwards = tuple(_slice(taken[::-1] if taken.step < 0 else taken) for taken in ranges)
    made = x.clone()
    made[forwards] = update.reshape([len(taken) for taken in ranges]).flip(turned).to(x.dtype)
    return made


def _ranges(
    x: torch.Tensor,
    begin: torch.Tensor,
    end: torch.Tensor,
    stride: torch.Tensor | None,
    begin_mask: torch.Tensor | None,
    end_mask: torch.Tensor | None,
    squeeze_mask: torch.Tensor | None,
) -> list[range]:
    """Return the indices taken of each dimension.

    A masked begin or end is where a slice begins or ends by itself, the last one with a step below 0: as coremltools'
    value inference has it, where the text of MIL says 0.
    """
    steps = [1] * x.dim() if stride is None else ints(stride)
    masks = zip(_mask(begin_mask, x), _mask(end_mask, x), _mask(squeeze_mask, x), strict=True)
    ranges = []
    for size, first, last, step, (from_start, to_end, one) in zip(
        x.shape, ints(begin), ints(end), steps, masks, strict=True
    ):
        start = None if from_start else first
        if one:
            at = range(size)[0 if start is None else start]
            ranges.append(range(at, at + 1))
        else:
            ranges.append(range(size)[start : None if to_end else last : step])
    return ranges


def _mask(given: torch.Tensor | None, x: torch.Tensor) -> list[bool]:
    return [False] * x.dim() if given is None else flags(given)


def _slice(taken: range) -> slice:
    return slice(taken.start, taken.stop, taken.step)


def _taken(x: torch.Tensor, axis: int, taken: range) -> torch.Tensor:
    if taken == range(x.shape[axis]):
        return x
    if taken.step < 0:
        return x.index_select(axis, torch.tensor(list(taken), dtype=torch.long, device=x.device))
    return x[(slice(None),) * axis + (_slice(taken),)]
