"""Resizes and samplings, against what MIL's text defines, written number by number, and PyTorch."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from edgestep.artifact import BadInput
from edgestep.runtimes.mil.ops.grids import SAMPLING_MODES
from edgestep.runtimes.mil.ops.registry import OPS
from tests.runtimes.mil.built import IOS15, IOS16, IOS17, evaluated, quick, same, shapes
from tests.runtimes.mil.tensors import tensors

SEEDS, SIDES = st.integers(0, 99), st.integers(1, 7)
MIDDLE = [0.1, 0.5, 0.9]


def point(mode: str, i: int, size: float, count: int) -> float:
    """Return MIL's grid_point[i]."""
    if mode == "ALIGN_CORNERS" and count == 1:
        return (size - 1) / 2
    spacing = {
        "STRICT_ALIGN_CORNERS": (size - 1) / max(1, count - 1),
        "ALIGN_CORNERS": (size - 1) / max(1, count - 1),
        "DEFAULT": (size - size / count) / max(1, count - 1),
        "OFFSET_CORNERS": max(1.0, size - 1) / count,
        "UNALIGN_CORNERS": size / count,
    }[mode]
    start = {"OFFSET_CORNERS": 0.5 * spacing, "UNALIGN_CORNERS": 0.5 * spacing - 0.5}.get(mode, 0.0)
    return min(size - 1, max(0.0, start + i * spacing))


def read(row: np.ndarray, place: float) -> np.ndarray:
    """Return the last axis at a fractional place."""
    low = min(int(np.floor(place)), row.shape[-1] - 1)
    high = min(low + 1, row.shape[-1] - 1)
    return row[..., low] + (place - low) * (row[..., high] - row[..., low])


def resized(x: np.ndarray, sizes: tuple[int, int], mode: str) -> np.ndarray:
    for axis, count in zip((-2, -1), sizes, strict=True):
        rows = np.moveaxis(x.astype(np.float64), axis, -1)
        read_at = [read(rows, point(mode, i, rows.shape[-1], count)) for i in range(count)]
        x = np.moveaxis(np.stack(read_at, -1), -1, axis)
    return x


@quick
@given(seed=SEEDS, shape=shapes(3, 4, 5), height=SIDES, width=SIDES)
@pytest.mark.parametrize("mode", SAMPLING_MODES)
@pytest.mark.parametrize("op", ["resize_bilinear", "resize"])
def test_linear(op: str, mode: str, seed: int, shape: tuple[int, ...], height: int, width: int):
    x = np.random.default_rng(seed).standard_normal(shape)
    if op == "resize":
        sizes = {"shape": np.array([9, height, width]), "resized_dims": 2}
    else:
        sizes = {"target_size_height": height, "target_size_width": width}
    got = OPS[op](**tensors(x=x, **sizes), sampling_mode=mode)
    same(got.numpy(), resized(x, (height, width), mode), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "mode, count, wanted",
    [
        ("UNALIGN_CORNERS", 5, [0, *MIDDLE, 1]),
        ("STRICT_ALIGN_CORNERS", 5, [0, 0.25, 0.5, 0.75, 1]),
        ("DEFAULT", 5, [0, 0.4, 0.8, 1, 1]),
        ("OFFSET_CORNERS", 5, [0.1, 0.3, 0.5, 0.7, 0.9]),
        ("UNALIGN_CORNERS", 6, [0, 0, 1 / 3, 2 / 3, 1, 1]),
        ("ALIGN_CORNERS", 1, [0.5]),
        ("STRICT_ALIGN_CORNERS", 1, [0]),
    ],
)
def test_resize_bilinear_gives_the_points_of_mils_own_examples(mode: str, count: int, wanted: list[float]):
    x = np.array([[[0, 1]]], np.float32)
    sizes = {"target_size_height": 1, "target_size_width": count}
    (got,) = evaluated("resize_bilinear", {"x": x}, sampling_mode=mode, **sizes)
    same(got, [[wanted]])


@quick
@given(seed=SEEDS, shape=shapes(4, 4, 5), scales=st.tuples(*[st.sampled_from([1, 2, 3, 0.5, 1.5, 2.6])] * 2))
@pytest.mark.parametrize("align", [False, True])
def test_upsample_bilinear(align: bool, seed: int, shape: tuple[int, ...], scales: tuple[float, float]):
    x = torch.from_numpy(np.random.default_rng(seed).standard_normal(shape, np.float32))
    sizes = [int(np.floor(np.float32(s) * n)) for s, n in zip(scales, shape[2:], strict=True)]
    if 0 in sizes:
        return
    wanted = torch.nn.functional.interpolate(x, sizes, mode="bilinear", align_corners=align)
    height, width = (torch.tensor(scale) for scale in scales)
    got = OPS["upsample_bilinear"](x, height, width, torch.tensor(align))
    same(got.numpy(), wanted.numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("half, wanted", [(False, [1, 4 / 3, 5 / 3, 2, 2, 2]), (True, [1, 1, 4 / 3, 5 / 3, 2, 2])])
def test_upsample_bilinear_of_ios_16(half: bool, wanted: list[float]):
    x = np.array([[[[1, 2]]]], np.float32)
    options = {"scale_factor_width": 3, "align_corners": False, "half_pixel_centers": half}
    (got,) = evaluated("upsample_bilinear", {"x": x}, target=IOS16, **options)
    same(got, [[[wanted]]])


def test_upsample_bilinear_with_two_ways_to_align_is_refused():
    with pytest.raises(BadInput, match="align_corners and half_pixel_centers"):
        OPS["upsample_bilinear"](torch.ones(1, 1, 2, 2), align_corners=True, half_pixel_centers=True)


def round_half_up(i: int, size: int, count: int) -> int:
    """Return the index whose centre is nearest to that of number i, TensorFlow's with half_pixel_centers."""
    return int(np.floor((i + 0.5) * size / count + 1e-9))


@quick
@given(seed=SEEDS, shape=shapes(3, 4, 5), sizes=st.tuples(SIDES, SIDES))
@pytest.mark.parametrize("op", ["resize_nearest_neighbor", "resize"])
def test_nearest(op: str, seed: int, shape: tuple[int, ...], sizes: tuple[int, int]):
    x = np.random.default_rng(seed).standard_normal(shape)
    options: dict[str, Any] = dict(zip(("target_size_height", "target_size_width"), sizes, strict=True))
    named = {}
    if op == "resize":
        options, named = {"shape": np.array(sizes), "resized_dims": 2}, {"interpolation_mode": "NEAREST_NEIGHBOR"}
    rows, columns = ([round_half_up(i, n, m) for i in range(m)] for n, m in zip(shape[-2:], sizes, strict=True))
    same(OPS[op](**tensors(x=x, **options), **named).numpy(), x[..., rows, :][..., columns])


@quick
@given(seed=SEEDS, shape=shapes(1, 2, 5), size=SIDES)
def test_nearest_with_unaligned_corners_is_pytorchs_exact_one(seed: int, shape: tuple[int, ...], size: int):
    x = torch.from_numpy(np.random.default_rng(seed).standard_normal((1, *shape)[-2:], np.float32))
    wanted = torch.nn.functional.interpolate(x[None], size, mode="nearest-exact")[0]
    options = {"interpolation_mode": "NEAREST_NEIGHBOR", "sampling_mode": "UNALIGN_CORNERS"}
    same(OPS["resize"](x, torch.tensor([size]), torch.tensor(1), **options).numpy(), wanted.numpy())


@pytest.mark.parametrize(
    "scales, wanted", [((1, 2), [0, 0, 1, 1, 2, 2]), ((1.0, 0.67), [0, 1]), ((2.0, 1.12), [0, 1, 2])]
)
def test_upsample_nearest_neighbor(scales: tuple[float, float], wanted: list[int]):
    x = np.arange(3, dtype=np.float32).reshape(1, 1, 1, 3)
    named = {"scale_factor_height": scales[0], "scale_factor_width": scales[1]}
    (got,) = evaluated("upsample_nearest_neighbor", {"x": x}, **named)
    same(got, [[[wanted] * int(scales[0])]])


def test_resize_of_a_package_keeps_a_size_of_zero():
    x = np.arange(6, dtype=np.float32).reshape(1, 2, 3)
    shape = np.array([1, 0, 6], np.int32)
    (got,) = evaluated("resize", {"x": x, "shape": shape}, target=IOS17, resized_dims=np.uint32(2))
    same(got, resized(x, (2, 6), "DEFAULT"))


def test_resize_to_the_nearest_is_what_coremltools_tests_expect_of_a_mac():
    x = np.array([-6, 9], np.float32).reshape(1, 2, 1)
    options = {"interpolation_mode": "NEAREST_NEIGHBOR", "resized_dims": np.uint32(2)}
    (got,) = evaluated("resize", {"x": x}, target=IOS17, shape=[1, 3, 2], **options)
    same(got, [[[-6, -6], [9, 9], [9, 9]]])


def test_crop():
    x = np.arange(60, dtype=np.float32).reshape(1, 3, 4, 5)
    (got,) = evaluated("crop", {"x": x}, crop_height=[0, 1], crop_width=[2, 1])
    same(got, x[:, :, :3, 2:4])


def cropped(x: np.ndarray, box: Any, sizes: tuple[int, int], mode: str, empty: float) -> np.ndarray:
    """Return one crop of [C, H, W]: box is (top, left, bottom, right)."""
    made = np.full((len(x), *sizes), float(empty))
    places = []
    for start, end, count in zip(box[:2], box[2:], sizes, strict=True):
        way = 1 if end >= start else -1
        places.append([start + way * point(mode, i, abs(end - start) + 1, count) for i in range(count)])
    for i, down in enumerate(places[0]):
        for j, right in enumerate(places[1]):
            if 0 <= down <= x.shape[1] - 1 and 0 <= right <= x.shape[2] - 1:
                made[:, i, j] = read(read(x.swapaxes(1, 2), down), right)
    return made


BOXES = np.array([[0.5, 1, 2.25, 2], [2, 2, 1, 1], [-1, 0.25, 1.5, 4.5]], np.float32)


@pytest.mark.parametrize("mode", SAMPLING_MODES)
@pytest.mark.parametrize(
    "kind", ["CORNERS_HEIGHT_FIRST", "CORNERS_WIDTH_FIRST", "CENTER_SIZE_HEIGHT_FIRST", "CENTER_SIZE_WIDTH_FIRST"]
)
@pytest.mark.parametrize("normalized", [False, True])
def test_crop_resize(mode: str, kind: str, normalized: bool):
    x, sizes, which = np.random.default_rng(0).standard_normal((2, 3, 4, 5)), (3, 2), [1, 0, 1]
    boxes = np.stack([(BOXES[:, :2] + BOXES[:, 2:]) / 2, BOXES[:, 2:] - BOXES[:, :2]], 1).reshape(3, 4)
    boxes = boxes if kind.startswith("CENTER") else BOXES
    boxes = boxes[:, [1, 0, 3, 2]] if kind.endswith("WIDTH_FIRST") else boxes
    units = np.array([3, 4] if kind.endswith("HEIGHT_FIRST") else [4, 3])
    given_ = boxes / np.tile(units, 2) * 2 if normalized else boxes * 2
    got = OPS["crop_resize"](
        **tensors(x=x, boxes=given_, box_indices=np.array(which), target_height=3, target_width=2),
        **tensors(normalized_coordinates=normalized, spatial_scale=0.5, pad_value=7.0),
        box_coordinate_mode=kind,
        sampling_mode=mode,
    )
    wanted = [cropped(x[i], box, sizes, mode, 7.0) for i, box in zip(which, BOXES, strict=True)]
    same(got.numpy(), np.stack(wanted), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("target", [IOS15, IOS16])
def test_crop_resize_of_regions(target: Any):
    x = np.random.default_rng(0).standard_normal((2, 1, 4, 5), np.float32)
    sizes = {"target_height": 2, "target_width": 2, "sampling_mode": "ALIGN_CORNERS"}
    (got,) = evaluated("crop_resize", {"x": x}, target=target, roi=BOXES.reshape(3, 1, 4, 1, 1), **sizes)
    wanted = [[cropped(picture, box, (2, 2), "ALIGN_CORNERS", 0) for picture in x] for box in BOXES]
    same(got, np.array(wanted), rtol=1e-4, atol=1e-5)


def test_crop_resize_of_regions_with_the_number_of_their_picture():
    x = np.random.default_rng(0).standard_normal((2, 1, 4, 5))
    roi = np.concatenate([[[1], [0], [1]], BOXES], 1).reshape(3, 1, 5, 1, 1)
    got = OPS["crop_resize"](**tensors(x=x, roi=roi, target_height=2, target_width=2), sampling_mode="ALIGN_CORNERS")
    wanted = [[cropped(x[i], box, (2, 2), "ALIGN_CORNERS", 0)] for i, box in zip((1, 0, 1), BOXES, strict=True)]
    same(got.numpy(), np.array(wanted), rtol=1e-4, atol=1e-5)


def test_crop_resize_of_a_package_of_ios_17():
    x = np.arange(1, 17, dtype=np.float32).reshape(1, 1, 4, 4)
    options = {"target_height": 4, "target_width": 4, "sampling_mode": "ALIGN_CORNERS"}
    (got,) = evaluated("crop_resize", {"x": x}, target=IOS17, boxes=np.array([[1, 1, 2, 2]], np.float32), **options)
    thirds = np.arange(4) / 3
    same(got, (6 + 4 * thirds[:, None] + thirds)[None, None])


PADDED = {"border": "edge", "reflection": "reflect", "symmetric": "symmetric"}
"""MIL's padding of resample -> NumPy's."""


@quick
@given(seed=SEEDS)
@pytest.mark.parametrize("align", [False, True])
@pytest.mark.parametrize("coordinates", ["unnormalized", "normalized_minus_one_to_one", "normalized_zero_to_one"])
@pytest.mark.parametrize("padding", ["constant", *PADDED])
@pytest.mark.parametrize("sampling", ["bilinear", "nearest"])
def test_resample(sampling: str, padding: str, coordinates: str, align: bool, seed: int):
    """Pixels are looked up in a picture that NumPy has padded by 20."""
    numbers = np.random.default_rng(seed)
    x, places = numbers.standard_normal((2, 3, 4, 5)), numbers.uniform(-8, 12, (2, 2, 3, 2))
    sizes = np.array([5, 4])
    part = places / (sizes - 1) if align else (places + 0.5) / sizes
    fed = {"unnormalized": places, "normalized_zero_to_one": part}.get(coordinates, part * 2 - 1)
    got = OPS["resample"](
        **tensors(x=x, coordinates=fed, padding_value=6.0, align_corners=align),
        sampling_mode=sampling,
        padding_mode=padding,
        coordinates_mode=coordinates,
    )
    far = [(0, 0), (0, 0), (20, 20), (20, 20)]
    wide = np.pad(x, far, mode=PADDED[padding]) if padding in PADDED else np.pad(x, far, constant_values=6)
    for b, h, w in np.ndindex(2, 2, 3):
        right, down = places[b, h, w] + 20
        if sampling == "nearest":
            wanted = wide[b, :, round(down), round(right)]
        else:
            wanted = read(read(wide[b].swapaxes(1, 2), down), right)
        same(got[b, :, h, w].numpy(), wanted, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("target", [IOS15, IOS17])
def test_resample_of_a_package(target: Any):
    x = np.array([[[[11, 22], [33, 44]]]], np.float32)
    places = np.array([[[[0, 0], [1, 1], [0.5, 0.25]]]], np.float32)
    options = {"sampling_mode": "bilinear", "padding_mode": "constant", "padding_value": np.float32(0)}
    options |= {"coordinates_mode": "unnormalized", "align_corners": False}
    (got,) = evaluated("resample", {"x": x, "coordinates": places}, target=target, **options)
    same(got, [[[[11, 44, 22]]]])


@pytest.mark.parametrize("matrices", [1, 2])
def test_affine(matrices: int):
    numbers = np.random.default_rng(0)
    x, matrix = numbers.standard_normal((2, 1, 3, 4), np.float32), numbers.standard_normal((matrices, 6), np.float32)
    options = {"sampling_mode": "bilinear", "padding_mode": "constant", "padding_value": np.float32(0)}
    options |= {"coordinates_mode": "normalized_minus_one_to_one", "align_corners": True}
    (got,) = evaluated("affine", {"x": x, "transform_matrix": matrix}, output_height=3, output_width=5, **options)
    wide = np.pad(x, [(0, 0), (0, 0), (20, 20), (20, 20)])
    for b, h, w in np.ndindex(2, 3, 5):
        across, down = matrix[b % matrices].reshape(2, 3) @ (w / 2 - 1, h - 1, 1)
        place = (down + 1) / 2 * 2 + 20, (across + 1) / 2 * 3 + 20
        same(got[b, :, h, w], read(read(wide[b].swapaxes(1, 2), place[0]), place[1]), rtol=1e-3, atol=1e-4)


def test_a_sampling_mode_that_is_none_is_refused():
    with pytest.raises(BadInput, match="sampling_mode 'CORNERS'"):
        OPS["resize_bilinear"](torch.ones(1, 2, 2), sampling_mode="CORNERS")
