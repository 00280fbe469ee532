"""The emulated 16-bit sums against vectors worked out by hand, and the warning that a user gets."""

import numpy as np
import pytest

from edgestep.quantize.onnx.activation_ranges import ranges_from_feeds
from edgestep.quantize.onnx.editing import Graph
from edgestep.quantize.onnx.integer_types import TYPES
from edgestep.quantize.onnx.qdq import quantized_tensors
from edgestep.quantize.onnx.saturation import saturated_product, saturation_of
from tests.quantize.onnx.rewrites import skip_feed, skip_model, token_feeds, token_model


def test_pairs_saturate_before_they_are_added():
    rows = np.array([[255, 255, 1, 2], [255, 255, 255, 255]], np.uint8)
    weight = np.array([[127], [127], [-3], [4]], np.int8)
    # 255 x 127 + 255 x 127 = 64,770 becomes 32,767; 1 x -3 + 2 x 4 = 5; 255 x -3 + 255 x 4 = 255
    np.testing.assert_array_equal(saturated_product(rows, weight), [[32767 + 5], [32767 + 255]])
    np.testing.assert_array_equal(saturated_product(rows, -weight), [[-32768 - 5], [-32768 - 255]])


@pytest.mark.parametrize("inputs", [8, 9])
def test_seven_bits_are_exact(inputs):
    random = np.random.default_rng(0)
    rows = random.integers(0, 256, (20, inputs)).astype(np.uint8)
    weight = random.integers(-64, 65, (inputs, 5)).astype(np.int8)
    np.testing.assert_array_equal(saturated_product(rows, weight), rows.astype(int) @ weight.astype(int))


@pytest.mark.parametrize("kind", ["Conv", "MatMul"])
@pytest.mark.parametrize("types", ["u8s7", "u8u8", "u8s8", "s8s8"])
def test_only_eight_bit_weights_are_warned_of(kind, types):
    random = np.random.default_rng(1)
    graph = Graph(skip_model(random) if kind == "Conv" else token_model(random))
    feeds = [skip_feed(random) for _ in range(2)] if kind == "Conv" else token_feeds(random, 2)
    feeds = [{name: np.full_like(value, 0.9) for name, value in feed.items()} for feed in feeds]
    layers = [node.name for node in graph.graph.node if node.op_type == kind]
    for name in {node.input[1] for node in graph.graph.node if node.op_type == kind}:
        graph.put(name, np.ones_like(graph.value(name)))  # 230 x 127 + 230 x 127: every sum saturates
    ranges = ranges_from_feeds(graph, quantized_tensors(graph, layers), feeds, "minmax", TYPES[types])
    found = saturation_of(graph, layers, ranges, feeds, TYPES[types])
    if not TYPES[types].saturates:
        assert (found.losses, found.warning) == ({}, "")
        return
    assert set(found.losses) == set(layers)
    assert min(found.losses.values()) > 3
    assert found.warning.startswith(f"on x86 without VNNI {len(layers)} layers saturate, ")
