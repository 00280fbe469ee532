"""q, k and v in one layer, and k and v of several attentions: the same pictures from fewer operations."""

from typing import Any

import numpy as np
import openvino
import pytest
from openvino import opset13

from edgestep.quantize.openvino.joined import join_projections
from edgestep.quantize.openvino.projections import projections_of
from edgestep.quantize.openvino.w8a8 import quantize_openvino_w8a8
from tests.quantize.conftest import feeds_of, sqnr

F32 = {"INFERENCE_PRECISION_HINT": "f32"}
made_of: Any = openvino.Model  # its stub takes no arguments
SIZES = [(4, 16, 32), (4, 4, 48), (8, 8, 40), (2, 64, 16), (1, 64, 96)]
"""Heads, tokens, width of a head. OpenVINO's own passes went wrong where there are as many heads as tokens."""
OTHER = 24
"""Tokens of the prompt."""


def i64(*numbers: int) -> Any:
    return opset13.constant(np.array(numbers, np.int64))


class Network:
    """Builds attentions out of layers of int8 weights, as w8a8 leaves them."""

    def __init__(self, heads: int, width: int, *, biased: bool = False, batch: int = 1) -> None:
        self.heads, self.width, self.biased, self.batch = heads, width, biased, batch
        self.random = np.random.default_rng(heads * width)
        self.inputs: list[Any] = []

    def read(self, tokens: int, name: str) -> Any:
        parameter = opset13.parameter([self.batch, tokens, self.heads * self.width], np.float32, name)
        self.inputs.append(parameter)
        return parameter

    def layer(self, x: Any, name: str) -> Any:
        size = self.heads * self.width
        integers = self.random.integers(-127, 128, (size, size)).astype(np.int8)
        scales = self.random.uniform(0.5, 1.5, (1, size)).astype(np.float32) / (64 * size**0.5)
        weight = opset13.multiply(opset13.convert(opset13.constant(integers), "f32"), opset13.constant(scales))
        y = opset13.matmul(x, weight, False, False, name=f"{name}/MatMul")
        bias = self.random.standard_normal(size).astype(np.float32)
        return opset13.add(y, opset13.constant(bias), name=f"{name}/Add") if self.biased else y

    def in_heads(self, y: Any) -> Any:
        tokens = y.output(0).shape[1]
        parted = opset13.reshape(y, i64(self.batch, tokens, self.heads, self.width), special_zero=False)
        return opset13.transpose(parted, i64(0, 2, 1, 3))

    def attention(self, x: Any, context: Any, name: str) -> Any:
        """As the exporter writes it: q and k each times a root, k turned by way of three dimensions."""
        root = opset13.constant(np.float32(self.width**-0.25))
        q, k, v = (
            self.in_heads(self.layer(y, f"{name}.{which}"))
            for y, which in ((x, "to_q"), (context, "to_k"), (context, "to_v"))
        )
        _, heads, tokens, width = k.output(0).shape
        flat = opset13.reshape(k, i64(-1, tokens, width), special_zero=False)
        turned = opset13.reshape(
            opset13.transpose(flat, i64(0, 2, 1)), i64(self.batch, heads, width, tokens), special_zero=False
        )
        scores = opset13.matmul(opset13.multiply(q, root), opset13.multiply(turned, root), False, False)
        sums = opset13.matmul(opset13.softmax(scores, -1), v, False, False)
        together = opset13.transpose(sums, i64(0, 2, 1, 3))
        return opset13.reshape(together, i64(self.batch, -1, heads * width), special_zero=False)

    def model(self, *outputs: Any) -> Any:
        return made_of(list(outputs), self.inputs, "made")


def to_itself(heads: int, tokens: int, width: int, *, biased: bool = False, batch: int = 1) -> Any:
    network = Network(heads, width, biased=biased, batch=batch)
    x = network.read(tokens, "x")
    return network.model(network.attention(x, x, "net.attn1"))


def outputs(model: Any, *, rounded_by: int = 0) -> list[np.ndarray]:
    """Run on fixed numbers; `rounded_by` as in saving.py."""
    random = np.random.default_rng(1)
    fed = [random.standard_normal(p.output(0).shape).astype(np.float32) for p in model.get_parameters()]
    config = {**F32, "DYNAMIC_QUANTIZATION_GROUP_SIZE": rounded_by}
    compiled = openvino.Core().compile_model(model, "CPU", config)
    return [np.array(value) for value in compiled(fed).values()]


def linears(model: Any) -> int:
    """Count the layers of int8 weights."""
    kinds = [
        [op.get_type_name(), scaled.get_type_name(), scaled.input_value(0).get_node().get_type_name()]
        for op in model.get_ordered_ops()
        if op.get_type_name() == "MatMul" and (scaled := op.input_value(1).get_node()).get_input_size()
    ]
    return kinds.count(["MatMul", "Multiply", "Convert"])


@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize(("heads", "tokens", "width"), SIZES)
def test_one_layer_draws_what_three_did(heads, tokens, width, biased):
    before = outputs(to_itself(heads, tokens, width, biased=biased))
    model = to_itself(heads, tokens, width, biased=biased)
    assert linears(model) == 3
    assert join_projections(model) == 2
    assert linears(model) == 1
    assert sqnr(before[0], outputs(model)[0]) > 110


@pytest.mark.parametrize("rounded_by", [0, 32])
def test_k_and_v_of_every_attention_to_the_prompt_are_one_layer(rounded_by):
    def made() -> Any:
        network = Network(4, 16)
        x, prompt = network.read(64, "x"), network.read(OTHER, "prompt")
        first = network.attention(x, prompt, "net.one.attn2")
        return network.model(first, network.attention(first, prompt, "net.other.attn2"))

    model = made()
    assert join_projections(model) == 3
    assert linears(model) == 3  # two of q, each of another input
    for one, other in zip(outputs(made(), rounded_by=rounded_by), outputs(model, rounded_by=rounded_by), strict=True):
        assert sqnr(one, other) > 90  # with rounded activations a last bit may tip over


def test_other_heads_are_other_layers():
    wide, narrow = Network(4, 16), Network(2, 32)
    prompt = wide.read(OTHER, "prompt")
    queries = wide.read(64, "x")
    model = made_of(
        [wide.attention(queries, prompt, "net.wide"), narrow.attention(queries, prompt, "net.narrow")],
        wide.inputs,
        "made",
    )
    before = outputs(model)
    assert join_projections(model) == 2
    for one, other in zip(before, outputs(model), strict=True):
        assert sqnr(one, other) > 110


def test_what_is_not_plain_is_left():
    assert join_projections(to_itself(4, 16, 32, batch=2)) == 0
    for biased, output in ((False, "MatMul"), (True, "Add")):
        shared = to_itself(4, 16, 32, biased=biased)
        v = next(op for op in shared.get_ordered_ops() if op.get_friendly_name() == f"net.attn1.to_v/{output}")
        shared.add_results([opset13.result(v)])
        assert join_projections(shared) == 1  # q and k
    turned = to_itself(4, 16, 16)
    order = next(op for op in turned.get_ordered_ops() if op.get_type_name() == "Transpose")
    order.input(1).replace_source_output(i64(0, 2, 3, 1).output(0))
    turned.validate_nodes_and_infer_types()
    assert len(list(projections_of(turned))) == 2  # q's heads lie otherwise now


def test_a_float_layer_stays_apart():
    model = to_itself(4, 16, 32)
    q = next(op for op in model.get_ordered_ops() if op.get_friendly_name() == "net.attn1.to_q/MatMul")
    values = np.random.default_rng(0).standard_normal((128, 128)).astype(np.float32) / 11
    q.input(1).replace_source_output(opset13.constant(values).output(0))
    before = outputs(model)
    assert join_projections(model) == 1
    assert sqnr(before[0], outputs(model)[0]) > 110


def test_w8a8_joins_and_draws_the_same(float_artifact, tmp_path):
    parent = float_artifact("openvino", "split")
    feeds = feeds_of(parent, 2)
    for component, file in (("unet", "unet/openvino_model.xml"), ("text_encoder", "text_encoder/openvino_model.xml")):
        fed, drawn = feeds[component], []
        for join in (True, False):
            path = tmp_path / f"{component}-{join}.xml"
            how = quantize_openvino_w8a8(parent / file, path, fed, join=join).how
            assert ("joined" in how) == join
            model = openvino.Core().read_model(path)
            drawn.append((len(model.get_ops()), openvino.Core().compile_model(model, "CPU", F32)(fed[0])[0]))
        assert drawn[0][0] < drawn[1][0]
        assert sqnr(drawn[1][1], drawn[0][1]) > 40  # a rounding that tips over costs more than any last bit
