"""Each rewrite leaves the float function as it was, and makes what is rounded afterwards better."""

import copy

import numpy as np
import onnx
import pytest

from edgestep.artifact import BadInput
from edgestep.quantize.onnx.activation_ranges import channel_ranges, ranges_from_feeds
from edgestep.quantize.onnx.bos import split_start_tokens
from edgestep.quantize.onnx.concat_scales import split_concatenations
from edgestep.quantize.onnx.correction import Corrected, correct, float_graph
from edgestep.quantize.onnx.editing import Graph
from edgestep.quantize.onnx.integer_types import TYPES, IntegerTypes, types_named
from edgestep.quantize.onnx.observed import observe
from edgestep.quantize.onnx.qdq import Pairs, quantized_tensors, steps_of_channels, whole_outputs
from edgestep.quantize.onnx.smooth import smooth
from edgestep.quantize.ranges import RANGES
from tests.quantize.conftest import sqnr
from tests.quantize.onnx.rewrites import (
    norm_feeds,
    norm_model,
    optimised,
    run,
    skip_feed,
    skip_model,
    token_feeds,
    token_model,
)

KEYS = {"unet.a.attn2.to_k/MatMul", "unet.a.attn2.to_v/MatMul"}
QUERIES = ["unet.attn1.to_q/MatMul", "unet.attn1.to_k/MatMul"]


def in_integers(
    graph, layers, feeds, types=TYPES["u8u8"], rule="minmax", corrected=False, by_channel=False
) -> onnx.ModelProto:
    """Return a copy of the model whose layers compute in integers."""
    graph = Graph(copy.deepcopy(graph.model))
    ranges = ranges_from_feeds(graph, quantized_tensors(graph, layers), feeds, rule, types)
    found = channel_ranges(graph, whole_outputs(graph, layers), feeds) if by_channel else {}
    channels = {name: steps_of_channels(*ends, types) for name, ends in found.items()}
    pairs, floats = Pairs(graph, ranges, types, channels), float_graph(graph)
    pairs.add_to_activations(layers)
    made = correct(graph, floats, layers, (), feeds, types) if corrected else Corrected()
    pairs.add_to_weights(layers, (), made.integers)
    return graph.model


def test_branches_of_a_concatenation_have_their_own_scales():
    random = np.random.default_rng(0)
    feeds, layer = [skip_feed(random) for _ in range(4)], "unet.up.conv_shortcut/Conv"
    whole = Graph(skip_model(random))
    parted = Graph(copy.deepcopy(whole.model))
    assert split_concatenations(parted, {"another"}) == ()
    made = split_concatenations(parted, {layer})
    assert made == (layer, f"{layer}_2")
    before, after = run(whole.model, feeds[0]), run(parted.model, feeds[0])
    np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-4)
    assert sqnr(before, run(in_integers(parted, made, feeds), feeds[0])) > 20 + sqnr(
        before, run(in_integers(whole, [layer], feeds), feeds[0])
    )


@pytest.mark.parametrize("batch", [1, "batch"])
def test_the_start_token_is_a_constant_that_stays_float(batch):
    random = np.random.default_rng(1)
    feeds = token_feeds(random)
    whole = Graph(token_model(random, batch))
    parted = Graph(copy.deepcopy(whole.model))
    assert set(split_start_tokens(parted, KEYS, feeds)) == KEYS
    assert sum(node.op_type == "Slice" for node in parted.graph.node) == 1
    before, after = run(whole.model, feeds[0]), run(parted.model, feeds[0])
    np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-3)
    rounded = run(in_integers(parted, list(KEYS), feeds), feeds[0])
    np.testing.assert_allclose(rounded[:, 0], before[:, 0], rtol=1e-5)
    worse = run(in_integers(whole, list(KEYS), feeds), feeds[0])
    assert sqnr(before[:, 1:], rounded[:, 1:]) > 20 + sqnr(before[:, 1:], worse[:, 1:])
    if batch != 1:
        two = {"x": np.concatenate([feeds[1]["x"], feeds[2]["x"]])}
        np.testing.assert_allclose(run(parted.model, two), run(whole.model, two), rtol=1e-4, atol=1e-3)


def test_a_first_token_that_changes_is_not_split():
    random = np.random.default_rng(2)
    graph = Graph(token_model(random))
    feeds = [*token_feeds(random, 2), *token_feeds(random, 2)]
    before = graph.model.SerializeToString()
    assert split_start_tokens(graph, KEYS, feeds) == ()
    assert graph.model.SerializeToString() == before


def test_smoothing_moves_a_large_channel_into_the_weights():
    random = np.random.default_rng(3)
    feeds, test = norm_feeds(random), norm_feeds(random, 1)[0]
    plain = Graph(norm_model(random))
    smoothed = Graph(copy.deepcopy(plain.model))
    assert smooth(smoothed, ["another"], feeds) == ()
    assert smooth(smoothed, QUERIES[:1], feeds, alpha=0.5) == tuple(QUERIES)
    before = run(plain.model, test)
    np.testing.assert_allclose(run(smoothed.model, test), before, rtol=1e-3, atol=1e-3)
    seen: list[np.ndarray] = []
    observe(smoothed.model, {"n": QUERIES[0]}, feeds, lambda _, value: seen.append(np.abs(value).max((0, 1))))
    # equation 4 with alpha = 0.5: the largest of a channel is then that of its weights
    rows = np.max([np.abs(smoothed.value(name)).max(1) for name in "qk"], axis=0)
    np.testing.assert_allclose(np.max(seen, axis=0), rows, rtol=1e-4)
    assert sqnr(before, run(in_integers(smoothed, QUERIES, feeds), test)) > 10 + sqnr(
        before, run(in_integers(plain, QUERIES, feeds), test)
    )


def test_correction_takes_the_mean_error_away_and_cancels_errors_of_weights():
    random = np.random.default_rng(4)
    feeds = norm_feeds(random, 40)
    graph, layer = Graph(norm_model(random)), QUERIES[1]
    coarse = IntegerTypes("coarse", "uint8", "int8", 3, "")
    wanted = np.stack([run(graph.model, feed) for feed in feeds[:20]])
    off = {}
    for corrected in (False, True):
        model = in_integers(graph, [layer], feeds, coarse, corrected=corrected)
        off[corrected] = np.stack([run(model, feed) for feed in feeds[:20]]) - wanted
    assert np.abs(off[True].mean((0, 1, 2))).max() < 0.2 * np.abs(off[False].mean((0, 1, 2))).max()
    assert np.std(off[True]) < np.std(off[False])


@pytest.mark.parametrize("types", ["u8s7", "u8u8"])
def test_each_channel_of_a_convolution_has_its_own_steps(types):
    """Channels whose ranges are 100 times apart: one scale loses the small one. The kernel stays an integer one."""
    random = np.random.default_rng(8)
    graph = Graph(skip_model(random))
    for name in ("w", "bias"):
        value = graph.value(name)
        times = np.array([1, 0.01, 1], np.float32)
        graph.put(name, value * times.reshape(-1, *[1] * (value.ndim - 1)))
    layers, alike = ["unet.up.conv_shortcut/Conv"], {"a": (1, 4, 8, 8), "b": (1, 6, 8, 8)}
    feeds = [{name: random.standard_normal(shape, np.float32) for name, shape in alike.items()} for _ in range(9)]
    test = feeds.pop()
    wanted = run(graph.model, test)
    by = {
        by_channel: in_integers(graph, layers, feeds, TYPES[types], by_channel=by_channel)
        for by_channel in (False, True)
    }
    small = {each: sqnr(wanted[:, 1], run(model, test)[:, 1]) for each, model in by.items()}
    assert small[True] > small[False] + 20
    assert "QLinearConv" in optimised(by[True])


@pytest.mark.parametrize("types", TYPES)
def test_every_type_of_integers_runs_and_is_near_the_float(types):
    random = np.random.default_rng(5)
    feeds, graph = norm_feeds(random), Graph(norm_model(random))
    smooth(graph, QUERIES, feeds)
    model = in_integers(graph, QUERIES, feeds, TYPES[types])
    held = {onnx.helper.tensor_dtype_to_np_dtype(t.data_type).name for t in model.graph.initializer}
    assert {TYPES[types].activation, TYPES[types].weight} <= held
    assert sqnr(run(graph.model, feeds[0]), run(model, feeds[0])) > 40


def test_types_are_chosen_by_name():
    assert types_named("u8s7").bits == 7
    assert {name for name, types in TYPES.items() if types.saturates} == {"u8s8", "s8s8"}
    with pytest.raises(BadInput, match="got types 'u16s8'; expected one of u8s7, u8u8, u8s8, s8s8"):
        types_named("u16s8")


@pytest.mark.parametrize("rule", RANGES)
def test_nan_inside_names_the_layer(rule):
    random = np.random.default_rng(6)
    feeds, graph = norm_feeds(random, 2), Graph(norm_model(random))
    graph.put("g", np.full(16, np.nan, np.float32))
    with pytest.raises(BadInput, match=r"NaN or infinity at unet\.attn1\.to_q/MatMul while calibrating"):
        in_integers(graph, QUERIES, feeds, rule=rule)


def test_what_is_not_a_layer_reads_unrounded_values():
    random = np.random.default_rng(7)
    feeds, graph = norm_feeds(random, 2), Graph(norm_model(random))
    model = in_integers(graph, QUERIES[:1], feeds)
    inputs = {node.name: node.input[0] for node in model.graph.node}
    assert inputs[QUERIES[0]] == "n/dequantized"
    assert inputs[QUERIES[1]] == "n"
