"""Large channels divided in front of a convolution and multiplied in its weights: the same function, an even range."""

from typing import Any

import numpy as np
import openvino
import pytest
from openvino import opset13

from edgestep.artifact import BadInput
from edgestep.quantize.large_channels import LARGE
from edgestep.quantize.openvino.large_channels import split_large_channels
from edgestep.quantize.openvino.w8a8 import quantize_openvino_w8a8
from edgestep.quantize.openvino.weights import weights_of
from tests.quantize.conftest import sqnr

made_of: Any = openvino.Model  # its stub takes no arguments
CHANNELS, LARGER = 32, 3
DRAWN = np.random.default_rng(0)
LAYERS = ("net.first/Conv", "net.one/Conv", "net.other/Conv", "net.last/Conv")


def network(times: float = 1.0) -> Any:
    """A convolution, two that read what it gives, and one that reads both; channel 3 of their weights is smaller."""
    x = opset13.parameter([1, CHANNELS, 8, 8], np.float32, "x")
    x.output(0).set_names({"x"})
    first = convolved(x, CHANNELS, LAYERS[0])
    read = opset13.add(first, opset13.constant(np.float32(0.0)), name="net/Add")
    both = opset13.add(convolved(read, 16, LAYERS[1], times), convolved(read, 16, LAYERS[2], times), name="net/Add_1")
    return made_of([convolved(both, 32, LAYERS[3])], [x], "made")


def convolved(x: Any, channels: int, name: str, times: float = 1.0) -> Any:
    values = DRAWN.standard_normal((channels, x.output(0).shape[1], 3, 3)).astype(np.float32) / 10
    if times != 1:
        values[:, LARGER] /= times
    kernel = opset13.constant(values, name=f"{name}/weight")
    return opset13.convolution(x, kernel, [1, 1], [1, 1], [1, 1], [1, 1], name=name)


def widened(model: Any, times: float) -> Any:
    """Let the first convolution give a channel that is so many times larger."""
    op = next(op for op in model.get_ordered_ops() if op.get_friendly_name() == LAYERS[0])
    old = op.input_value(1).get_node()
    values = old.get_data().copy()
    values[LARGER] *= times
    op.input(1).replace_source_output(opset13.constant(values, name=old.get_friendly_name()).output(0))
    return model


def fed() -> np.ndarray:
    return DRAWN.uniform(-1, 1, (1, CHANNELS, 8, 8)).astype(np.float32)


def run(model: Any, x: np.ndarray) -> np.ndarray:
    compiled = openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return np.asarray(compiled([x])[0])


def test_keeps_the_function_and_evens_out_what_the_layers_read():
    model, x = widened(network(100.0), 100.0), fed()
    before = run(model, x)
    assert split_large_channels(model, [weights_of(model)[name] for name in LAYERS], [{"x": x}]) == 2
    assert np.abs(run(model, x) - before).max() < 1e-5 * np.abs(before).max()
    ops = {op.get_friendly_name(): op for op in model.get_ordered_ops()}
    for name in LAYERS[1:3]:
        divided = ops[name].input_value(0).get_node()
        assert divided.get_friendly_name() == f"{name}/smooth_quant"
        inverse = divided.input_value(1).get_node().get_data().reshape(-1)
        # sqrt(100 / (1 / 100)), over the usual: from the one to the other
        assert 1 / inverse[LARGER] == pytest.approx(100, rel=0.5)
        assert (np.delete(inverse, LARGER) == 1).all()
    assert ops[LAYERS[0]].input_value(0).get_node().get_type_name() == "Parameter"


def test_leaves_alone_what_has_no_large_channel():
    model = widened(network(), LARGE / 4)
    kinds = [op.get_type_name() for op in model.get_ordered_ops()]
    assert split_large_channels(model, [weights_of(model)[name] for name in LAYERS], [{"x": fed()}]) == 0
    assert [op.get_type_name() for op in model.get_ordered_ops()] == kinds


def test_what_is_fed_nan_is_named():
    model = network()
    with pytest.raises(BadInput, match=r"NaN or infinity in front of net\.one/Conv in calibration sample 1"):
        weights = [weights_of(model)[LAYERS[1]]]
        split_large_channels(model, weights, [{"x": fed()}, {"x": np.full_like(fed(), np.nan)}])


def test_int8_then_keeps_what_the_small_channels_say(tmp_path):
    model, feeds = widened(network(100.0), 100.0), [{"x": fed()} for _ in range(4)]
    openvino.save_model(model, tmp_path / "model.xml", False)
    said = quantize_openvino_w8a8(tmp_path / "model.xml", tmp_path / "small.xml", feeds, table=())
    assert "large channels of 2 divided" in said.how
    x = feeds[0]["x"]
    before = run(openvino.Core().read_model(tmp_path / "model.xml"), x)
    # With one range for all channels 8 bits have 5 dB here.
    assert sqnr(before, run(openvino.Core().read_model(tmp_path / "small.xml"), x)) > 25
