"""What flows through tensors of an ONNX graph in some drawings -> a range for each, by a rule such as minmax or mse."""

from collections.abc import Mapping, Sequence

import numpy as np

from edgestep.quantize.onnx.editing import Graph
from edgestep.quantize.onnx.integer_types import IntegerTypes
from edgestep.quantize.onnx.observed import Feed, observe
from edgestep.quantize.ranges import Histogram, empty_histogram, minmax, range_named

CHANNEL_HEADROOM = 1.5
"""How many times wider than what was seen a channel's range is: a channel is seen less than a tensor."""
LEAST_CHANNEL = 1 / 32
"""Of the widest channel's range: nothing is gained from finer steps where others are added to it."""


def ranges_from_feeds(
    graph: Graph, layers: Mapping[str, str], feeds: Sequence[Feed], rule: str, types: IntegerTypes
) -> dict[str, tuple[float, float]]:
    """Return tensor -> (low, high); `layers` maps each tensor to the layer that an error names.

    All feeds are looked at, twice where the rule needs a histogram: first for its ends. What is held does not grow with
    the feeds.
    """
    choose = range_named(rule)
    ends: dict[str, tuple[float, float]] = dict.fromkeys(layers, (0.0, 0.0))

    def widen(name: str, value: np.ndarray) -> None:
        low, high = ends[name]
        ends[name] = min(low, float(value.min())), max(high, float(value.max()))

    observe(graph.model, layers, feeds, widen)
    ends = {name: (low * types.headroom, high * types.headroom) for name, (low, high) in ends.items()}
    if choose is minmax:
        return ends
    histograms: dict[str, Histogram] = {name: empty_histogram(*found) for name, found in ends.items()}

    def count(name: str, value: np.ndarray) -> None:
        histograms[name] = histograms[name].with_values(value)

    observe(graph.model, layers, feeds, count)
    return {name: choose(histogram, types.levels) for name, histogram in histograms.items()}


def channel_ranges(
    graph: Graph, layers: Mapping[str, str], feeds: Sequence[Feed]
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return tensor [B, C, ...] -> (low, high) of each channel, [C] each, widened by CHANNEL_HEADROOM."""
    ends: dict[str, tuple[np.ndarray, np.ndarray]] = {}

    def widen(name: str, value: np.ndarray) -> None:
        rest = tuple(i for i in range(value.ndim) if i != 1)
        low, high = value.min(rest), value.max(rest)
        if name in ends:
            low, high = np.minimum(low, ends[name][0]), np.maximum(high, ends[name][1])
        ends[name] = low, high

    observe(graph.model, layers, feeds, widen)
    return {name: _widened(*found) for name, found in ends.items()}


def _widened(low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the ends with headroom on each side, no channel narrower than LEAST_CHANNEL of the widest."""
    low, high = np.minimum(low, 0), np.maximum(high, 0)
    more = (CHANNEL_HEADROOM - 1) * (high - low) / 2
    more = np.maximum(more, (LEAST_CHANNEL * (high - low).max() - (high - low)) / 2)
    return low - more, high + more
