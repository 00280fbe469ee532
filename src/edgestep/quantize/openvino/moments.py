"""What layers are fed in calibration, by float and by the graph rounded so far -> the sums that GPTQ needs."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from edgestep.artifact import BadInput
from edgestep.quantize.gptq import Moments
from edgestep.quantize.one_thread import one_thread
from edgestep.quantize.openvino.weights import Weight

MOST_COLUMNS = 8192
"""A Hessian of more columns takes half a gigabyte and minutes: such a layer is rounded to nearest."""
MOST_ROWS = 8192
"""Rows of all samples together; of larger pictures some are taken."""
BATCH = 1024
"""Rows that are multiplied at a time."""
STAGES = 8
"""Parts that a graph's layers are corrected in: each takes a pass over the samples, and sees the errors of the last."""
HELD_NUMBERS = 1 << 27
"""Of sums at once: 1 GiB of float64."""
Feed = Mapping[str, np.ndarray]
CONFIG = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1}
"""One thread: the same sums on every machine with the same instructions."""


def has_moments(weight: Weight) -> bool:
    """Tell whether a layer can be corrected: an embedding has no sums, groups and transposes have no one matrix."""
    plain = weight.operation == "MatMul" or (weight.operation == "Convolution" and len(weight.lies) == 4)
    return plain and _columns(weight) <= MOST_COLUMNS


def parted(weights: Sequence[Weight]) -> Iterator[list[Weight]]:
    """Yield the weights in parts, in order: those of a part are corrected by what the parts before it really give."""
    most = -(-len(weights) // STAGES)
    part: list[Weight] = []
    held = 0
    for weight in weights:
        needed = 2 * _columns(weight) ** 2
        if part and (held + needed > HELD_NUMBERS or len(part) == most):
            yield part
            part, held = [], 0
        part.append(weight)
        held += needed
    if part:
        yield part


@one_thread()
def moments_of(model: Any, rounded: Any, weights: Sequence[Weight], feeds: Sequence[Feed]) -> dict[str, Moments]:
    """Return layer -> the means over all rows of what it is fed: by `model` (t) and by what is rounded so far (x).

    Raises BadInput, with the name of the layer, where one is fed NaN or infinity.
    """
    attributes = {op.get_friendly_name(): op.get_attributes() for op in model.get_ordered_ops()}
    most = max(1, MOST_ROWS // len(feeds))
    sums = {w.layer: _Sums(_columns(w)) for w in weights}
    float_run, rounded_run = _tapped(model, weights), _tapped(rounded, weights)
    for i, feed in enumerate(feeds):
        for weight, t, x in zip(weights, float_run(feed), rounded_run(feed), strict=True):
            rows = partial(rows_of, weight, attributes[weight.layer], most=most)
            sums[weight.layer].add(rows(_finite(t, weight.layer, i)), rows(_finite(x, weight.layer, i)))
    return {layer: total.mean() for layer, total in sums.items()}


def check_fed(model: Any, weights: Sequence[Weight], feeds: Sequence[Feed]) -> None:
    """Raise BadInput, with the name of the layer, where one is fed NaN or infinity: NNCF would pass over it."""
    run = _tapped(model, weights)
    for i, feed in enumerate(feeds):
        for weight, value in zip(weights, run(feed), strict=True):
            _finite(value, weight.layer, i)


class _Sums:
    """Rows are multiplied BATCH or a few more at a time: one product of many is faster than many of few."""

    def __init__(self, columns: int) -> None:
        self._hessian, self._crossed = np.zeros((columns, columns)), np.zeros((columns, columns))
        self._held: list[tuple[np.ndarray, np.ndarray]] = []
        self._waiting = self._count = 0

    def add(self, target: np.ndarray, given: np.ndarray) -> None:
        self._held.append((target, given))
        self._waiting += len(given)
        if self._waiting >= BATCH:
            self._multiply()

    def mean(self) -> Moments:
        if self._held:
            self._multiply()
        return Moments(self._hessian / self._count, self._crossed / self._count)

    def _multiply(self) -> None:
        t, x = (np.concatenate(rows) for rows in zip(*self._held, strict=True))
        self._hessian += x.T @ x
        self._crossed += (t - x).T @ x
        self._count += len(x)
        self._held, self._waiting = [], 0


def _tapped(model: Any, weights: Sequence[Weight]) -> Callable[[Feed], list[np.ndarray]]:
    """Return what runs a model as far as its layers need, and returns what each is fed."""
    import openvino
    from openvino import opset13

    ops = {op.get_friendly_name(): op for op in model.get_ordered_ops()}
    results = [opset13.result(ops[weight.layer].input_value(0)) for weight in weights]
    made_of: Any = openvino.Model  # its stub takes no arguments
    part = made_of(results, model.get_parameters())
    request = openvino.Core().compile_model(part, "CPU", CONFIG).create_infer_request()

    def run(feed: Feed) -> list[np.ndarray]:
        outputs = request.infer(dict(feed))
        return [outputs[i] for i in range(len(weights))]

    return run


def _columns(weight: Weight) -> int:
    return math.prod(weight.shape) // weight.shape[1 - weight.axis]


def _finite(value: np.ndarray, layer: str, sample: int) -> np.ndarray:
    if not np.isfinite(value).all():
        raise BadInput(
            f"got NaN or infinity in front of {layer} in calibration sample {sample}; expected finite numbers; check "
            "the float artifact with 'edgestep parity' first"
        )
    return value


def rows_of(weight: Weight, attributes: Mapping[str, Any], value: np.ndarray, most: int) -> np.ndarray:
    """Return float32 [rows, columns], at most `most` rows of them: what an output number is the sum over."""
    if weight.operation == "MatMul":
        if attributes["transpose_a"]:
            value = value.swapaxes(-1, -2)
        rows = value.reshape(-1, value.shape[-1])
        return rows[_some(len(rows), most)]
    patches = _patches(weight.lies[2:], attributes, value)
    places = np.unravel_index(_some(math.prod(patches.shape[:3]), most), patches.shape[:3])
    return patches[places].reshape(len(places[0]), -1)


def _patches(taps: tuple[int, ...], attributes: Mapping[str, Any], value: np.ndarray) -> np.ndarray:
    """[B, I, H, W] -> a view [B, OH, OW, I, kh, kw] of what a convolution multiplies with its kernel."""
    before, after = attributes["pads_begin"], attributes["pads_end"]
    (down, across), (tall, wide) = attributes["strides"], attributes["dilations"]
    padded = np.pad(value, ((0, 0), (0, 0), *zip(before, after, strict=True)))
    reach = ((taps[0] - 1) * tall + 1, (taps[1] - 1) * wide + 1)
    windows = np.lib.stride_tricks.sliding_window_view(padded, reach, axis=(2, 3))
    return windows[:, :, ::down, ::across, ::tall, ::wide].transpose(0, 2, 3, 1, 4, 5)


def _some(count: int, most: int) -> np.ndarray:
    """Return `most` places, in no regular order: each n-th pixel would be of the same columns, or the border alone."""
    return np.arange(count) if count <= most else np.sort(np.random.default_rng(count).permutation(count)[:most])
