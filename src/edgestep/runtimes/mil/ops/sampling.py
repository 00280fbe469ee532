"""MIL's samplings of pictures at free places -> torch's."""

import torch
from torch.nn import functional

from edgestep.runtimes.mil.arguments import flag, integer, ints, number, one_of
from edgestep.runtimes.mil.ops.grids import grid_points, interpolated

BOX_MODES = ("CORNERS_HEIGHT_FIRST", "CORNERS_WIDTH_FIRST", "CENTER_SIZE_HEIGHT_FIRST", "CENTER_SIZE_WIDTH_FIRST")
COORDINATES = ("unnormalized", "normalized_minus_one_to_one", "normalized_zero_to_one")
PADDING_MODES = ("constant", "border", "reflection", "symmetric")
Box = tuple[tuple[float, float], tuple[float, float]]


def crop_resize(
    x: torch.Tensor,
    roi: torch.Tensor | None = None,
    boxes: torch.Tensor | None = None,
    box_indices: torch.Tensor | None = None,
    target_height: torch.Tensor | int = 1,
    target_width: torch.Tensor | int = 1,
    normalized_coordinates: torch.Tensor | bool = False,
    spatial_scale: torch.Tensor | float = 1.0,
    box_coordinate_mode: str = "CORNERS_HEIGHT_FIRST",
    sampling_mode: str = "DEFAULT",
    pad_value: torch.Tensor | float = 0.0,
) -> torch.Tensor:
    """[B, C, H, W] -> a crop for each box, resized; what lies outside of the picture is `pad_value`.

    iOS 17: boxes [N, 4] of the pictures box_indices, 0 to N - 1 by default -> [N, C, h, w]. Before: roi
    [N, 1, 4, 1, 1] -> [N, B, C, h, w], each box of each picture; roi [N, 1, 5, 1, 1], its first number the picture,
    -> [N, 1, C, h, w]. The points of a box are those of `grid_points` for its size plus 1, from its first corner on.
    """
    scale = number(spatial_scale)
    units = [scale * (side - 1 if flag(normalized_coordinates) else 1) for side in x.shape[-2:]]
    targets = integer(target_height), integer(target_width)

    def cropped(pictures: torch.Tensor, box: torch.Tensor) -> torch.Tensor:
        return _crop(pictures, _box(box, box_coordinate_mode, units), targets, sampling_mode, number(pad_value))

    if boxes is not None:
        which = ints(box_indices) if box_indices is not None else list(range(boxes.shape[0]))
        return torch.stack([cropped(x[i], box) for i, box in zip(which, boxes, strict=True)])
    if roi is None:
        raise ValueError("neither boxes nor roi")
    rows = roi.reshape(roi.shape[0], -1)
    if rows.shape[1] == 4:
        return torch.stack([cropped(x, box) for box in rows])
    return torch.stack([cropped(x[int(box[0])].unsqueeze(0), box[1:]) for box in rows])


def _box(box: torch.Tensor, mode: str, units: list[float]) -> Box:
    """Return ((top, bottom), (left, right)) in pixels; the second may be the lesser: a box turned over."""
    kind = one_of("box_coordinate_mode", mode, BOX_MODES)
    first, second = box[:2].double(), box[2:].double()
    if kind.startswith("CENTER"):
        first, second = first - second / 2, first + second / 2
    if kind.endswith("WIDTH_FIRST"):
        first, second = first.flip(0), second.flip(0)
    (top, left), (bottom, right) = first.tolist(), second.tolist()
    return (top * units[0], bottom * units[0]), (left * units[1], right * units[1])


def _crop(x: torch.Tensor, box: Box, targets: tuple[int, int], mode: str, pad_value: float) -> torch.Tensor:
    inside = torch.ones(targets, dtype=torch.bool, device=x.device)
    for axis, (start, end), count in zip((-2, -1), box, targets, strict=True):
        way = 1.0 if end >= start else -1.0
        points = start + way * grid_points(abs(end - start) + 1, count, mode)
        seen = ((points >= 0) & (points <= x.shape[axis] - 1)).to(x.device)
        inside &= seen[:, None] if axis == -2 else seen[None, :]
        x = interpolated(x, x.dim() + axis, points)
    return torch.where(inside, x, pad_value)


def affine(
    x: torch.Tensor,
    transform_matrix: torch.Tensor,
    output_height: torch.Tensor | int,
    output_width: torch.Tensor | int,
    sampling_mode: str,
    padding_mode: str,
    padding_value: torch.Tensor | float,
    coordinates_mode: str,
    align_corners: torch.Tensor | bool,
) -> torch.Tensor:
    """[B, C, H, W] at (a0 x + a1 y + a2, b0 x + b1 y + b2), x and y from -1 to 1; bilinear and constant alone."""
    one_of("sampling_mode", sampling_mode.lower(), ("bilinear",))
    one_of("padding_mode", padding_mode.lower(), ("constant",))
    one_of("coordinates_mode", coordinates_mode.lower(), ("normalized_minus_one_to_one",))
    matrices = transform_matrix.reshape(-1, 2, 3).expand(x.shape[0], 2, 3)
    size, align = [x.shape[0], x.shape[1], integer(output_height), integer(output_width)], flag(align_corners)
    grid = functional.affine_grid(matrices, size, align_corners=align)
    empty = number(padding_value)
    return functional.grid_sample(x - empty, grid, "bilinear", "zeros", align_corners=align) + empty


def resample(
    x: torch.Tensor,
    coordinates: torch.Tensor,
    sampling_mode: str,
    padding_mode: str,
    padding_value: torch.Tensor | float,
    coordinates_mode: str,
    align_corners: torch.Tensor | bool,
) -> torch.Tensor:
    """[B, C, H, W] at the places (x, y) of [B, H2, W2, 2] -> [B, C, H2, W2]."""
    kind = one_of("padding_mode", padding_mode, PADDING_MODES)
    method = one_of("sampling_mode", sampling_mode, ("bilinear", "nearest"))
    sizes = torch.tensor([x.shape[3], x.shape[2]], dtype=torch.float32, device=x.device)
    pixels = _pixels(coordinates.float(), sizes, coordinates_mode, flag(align_corners))
    # torch mirrors at the centres of the outer pixels or at their edges by the way its grid is normalized
    centres = kind == "reflection"
    grid = 2 * pixels / (sizes - 1).clamp(min=1) - 1 if centres else (2 * pixels + 1) / sizes - 1
    fill = {"constant": "zeros", "border": "border"}.get(kind, "reflection")
    empty = number(padding_value) if kind == "constant" else 0.0
    return functional.grid_sample(x - empty, grid, method, fill, align_corners=centres) + empty


def _pixels(places: torch.Tensor, sizes: torch.Tensor, mode: str, align: bool) -> torch.Tensor:
    """Return coordinates in pixels, 0 the centre of the first."""
    kind = one_of("coordinates_mode", mode, COORDINATES)
    if kind == "unnormalized":
        return places
    part = (places + 1) / 2 if kind == "normalized_minus_one_to_one" else places
    return part * (sizes - 1) if align else part * sizes - 0.5
