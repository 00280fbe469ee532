"""Where a resized axis samples its input: MIL's sampling modes -> points, and what is read there."""

import torch

from edgestep.runtimes.mil.arguments import one_of

SAMPLING_MODES = ("STRICT_ALIGN_CORNERS", "ALIGN_CORNERS", "DEFAULT", "OFFSET_CORNERS", "UNALIGN_CORNERS")


def grid_points(size: float, count: int, mode: str) -> torch.Tensor:
    """Return `count` points in [0, size - 1], float64; `size` of a crop may be fractional."""
    i = torch.arange(count, dtype=torch.float64)
    kind = one_of("sampling_mode", mode, SAMPLING_MODES)
    if kind == "ALIGN_CORNERS" and count == 1:
        points = i + (size - 1) / 2
    elif kind in ("ALIGN_CORNERS", "STRICT_ALIGN_CORNERS"):
        points = i * (size - 1) / max(1, count - 1)
    elif kind == "DEFAULT":
        points = i * size / count
    elif kind == "OFFSET_CORNERS":
        points = (i + 0.5) * max(1.0, size - 1) / count
    else:
        points = (i + 0.5) * size / count - 0.5
    return points.clamp(0, max(0.0, size - 1))


def repeated_indices(size: int, count: int) -> torch.Tensor:
    """Return the index that each of `count` numbers copies as an upsampling does it: floor(i * size / count)."""
    return torch.arange(count) * size // count


def nearest_indices(size: int, count: int, mode: str) -> torch.Tensor:
    """Return the index that each of `count` numbers copies as a resize does it: that of the nearest centre.

    MIL's text does not say so; coremltools converts TensorFlow's `half_pixel_centers` to it, and what its tests expect
    of a Mac agrees, also in the default mode. With aligned or offset corners it is the index nearest to the point.
    """
    if one_of("sampling_mode", mode, SAMPLING_MODES) in ("DEFAULT", "UNALIGN_CORNERS"):
        return (2 * torch.arange(count) + 1) * size // (2 * count)
    return (grid_points(size, count, mode) + 0.5).floor().long().clamp(max=size - 1)


def interpolated(x: torch.Tensor, axis: int, points: torch.Tensor) -> torch.Tensor:
    """Return x read at fractional points of an axis, linear between neighbours, held at the ends."""
    last = x.shape[axis] - 1
    held = points.to(x.device).clamp(0, last)
    low = held.floor().long()
    shape = [1] * x.dim()
    shape[axis] = -1
    weight = (held - low).to(x.dtype).reshape(shape)
    return torch.lerp(x.index_select(axis, low), x.index_select(axis, (low + 1).clamp(max=last)), weight)


def picked(x: torch.Tensor, axis: int, indices: torch.Tensor) -> torch.Tensor:
    """Return x at whole indices of an axis."""
    return x.index_select(axis, indices.to(x.device))
