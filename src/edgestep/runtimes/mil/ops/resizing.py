"""MIL's resizes of the last dimensions -> each axis sampled by itself."""

import torch

from edgestep.artifact import BadInput
from edgestep.runtimes.mil.arguments import flag, integer, ints, one_of
from edgestep.runtimes.mil.ops.families import Op
from edgestep.runtimes.mil.ops.grids import grid_points, interpolated, nearest_indices, picked, repeated_indices
from edgestep.runtimes.mil.ops.sampling import affine, crop_resize, resample

Scale = torch.Tensor | float


def upsample_nearest_neighbor(
    x: torch.Tensor, scale_factor_height: Scale = 1, scale_factor_width: Scale = 1
) -> torch.Tensor:
    """[*D, H, W] -> [*D, floor(H * scale), floor(W * scale)]."""
    (height, width), axes = x.shape[-2:], (x.dim() - 2, x.dim() - 1)
    sizes = [_scaled(height, scale_factor_height), _scaled(width, scale_factor_width)]
    if not sizes[0] % height and not sizes[1] % width:
        rows, columns = sizes[0] // height, sizes[1] // width
        wide = x[..., :, None, :, None].expand(*x.shape[:-1], rows, width, columns)
        return wide.reshape(*x.shape[:-2], *sizes)
    for axis, size in zip(axes, sizes, strict=True):
        x = picked(x, axis, repeated_indices(x.shape[axis], size))
    return x


def resize_nearest_neighbor(
    x: torch.Tensor, target_size_height: torch.Tensor | int, target_size_width: torch.Tensor | int
) -> torch.Tensor:
    """[*D, H, W] -> [*D, height, width]."""
    return _nearest(x, [integer(target_size_height), integer(target_size_width)])


def upsample_bilinear(
    x: torch.Tensor,
    scale_factor_height: Scale = 1,
    scale_factor_width: Scale = 1,
    align_corners: torch.Tensor | bool = True,
    half_pixel_centers: torch.Tensor | bool | None = None,
) -> torch.Tensor:
    """[*D, H, W] -> [*D, floor(H * scale), floor(W * scale)], the scale taken anew from the sizes."""
    align = flag(align_corners)
    half = not align if half_pixel_centers is None else flag(half_pixel_centers)
    if align and half:
        raise BadInput(
            "got upsample_bilinear with align_corners and half_pixel_centers; expected one of them; convert it again"
        )
    mode = "STRICT_ALIGN_CORNERS" if align else "UNALIGN_CORNERS" if half else "DEFAULT"
    return _linear(x, [_scaled(x.shape[-2], scale_factor_height), _scaled(x.shape[-1], scale_factor_width)], mode)


def resize_bilinear(
    x: torch.Tensor,
    target_size_height: torch.Tensor | int = 1,
    target_size_width: torch.Tensor | int = 1,
    sampling_mode: str = "DEFAULT",
) -> torch.Tensor:
    """[*D, H, W] -> [*D, height, width]."""
    return _linear(x, [integer(target_size_height), integer(target_size_width)], sampling_mode)


def resize(
    x: torch.Tensor,
    shape: torch.Tensor,
    resized_dims: torch.Tensor | int,
    interpolation_mode: str = "LINEAR",
    sampling_mode: str = "DEFAULT",
) -> torch.Tensor:
    """The last `resized_dims` dimensions to the last of `shape`; 0 keeps a size."""
    count = integer(resized_dims)
    targets = ints(shape)[len(ints(shape)) - count :]
    sizes = [target or old for target, old in zip(targets, x.shape[x.dim() - count :], strict=True)]
    kind = one_of("interpolation_mode", interpolation_mode, ("LINEAR", "NEAREST_NEIGHBOR"))
    if kind == "LINEAR":
        return _linear(x.float(), sizes, sampling_mode)
    return _nearest(x, sizes, sampling_mode)


def crop(x: torch.Tensor, crop_height: torch.Tensor, crop_width: torch.Tensor) -> torch.Tensor:
    """[*D, H, W] without so many rows above and below, and columns left and right."""
    (top, bottom), (left, right) = ints(crop_height), ints(crop_width)
    return x[..., top : x.shape[-2] - bottom, left : x.shape[-1] - right]


def _scaled(size: int, scale: Scale) -> int:
    """Return floor(size * scale), in float32 as coremltools infers the shape."""
    return int(torch.floor(torch.as_tensor(scale) * size))


def _nearest(x: torch.Tensor, sizes: list[int], mode: str = "DEFAULT") -> torch.Tensor:
    for axis, size in enumerate(sizes, x.dim() - len(sizes)):
        x = picked(x, axis, nearest_indices(x.shape[axis], size, mode))
    return x


def _linear(x: torch.Tensor, sizes: list[int], mode: str) -> torch.Tensor:
    for axis, size in enumerate(sizes, x.dim() - len(sizes)):
        if size != x.shape[axis] or mode == "OFFSET_CORNERS":
            x = interpolated(x, axis, grid_points(x.shape[axis], size, mode))
    return x


OPS: dict[str, Op] = {
    "affine": affine,
    "crop": crop,
    "crop_resize": crop_resize,
    "resample": resample,
    "resize": resize,
    "resize_bilinear": resize_bilinear,
    "resize_nearest_neighbor": resize_nearest_neighbor,
    "upsample_bilinear": upsample_bilinear,
    "upsample_nearest_neighbor": upsample_nearest_neighbor,
}
MOVES = frozenset(("crop", "resize_nearest_neighbor", "upsample_nearest_neighbor"))
