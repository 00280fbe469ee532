"""What the IR holds after quantization, read with openvino alone, by topology and not by name."""

import openvino
import pytest

GRAPHS = [
    ("split", "unet/openvino_model.xml", "sample", True),
    ("split", "vae_decoder/openvino_model.xml", "latent_sample", True),
    ("split", "text_encoder/openvino_model.xml", "input_ids", False),
    ("fused", "generator.xml", "noise", True),
]


def convolutions(path) -> list:
    return [op for op in openvino.Core().read_model(path).get_ordered_ops() if op.get_type_name() == "Convolution"]


def is_quantized(op) -> bool:
    return op.input_value(0).get_node().get_type_name() == "FakeQuantize"


def reaches(op, stop: str) -> bool:
    """Say whether the input `stop` flows into `op` with no other convolution between."""
    waiting = [op.input_value(0).get_node()]
    seen = set()
    while waiting:
        node = waiting.pop()
        if node.get_friendly_name() == stop:
            return True
        if node.get_type_name() != "Convolution" and node.get_friendly_name() not in seen:
            seen.add(node.get_friendly_name())
            waiting += [node.input_value(i).get_node() for i in range(node.get_input_size())]
    return False


@pytest.mark.parametrize(("layout", "file", "name", "has_convolutions"), GRAPHS)
def test_first_and_last_convolution_stay_float(w8a8, layout, file, name, has_convolutions):
    found = convolutions(w8a8("openvino", layout) / file)
    assert bool(found) == has_convolutions
    if found:
        first = [op for op in found if reaches(op, name)]
        assert first
        assert not any(is_quantized(op) for op in [*first, found[-1]])
        assert sum(map(is_quantized, found)) >= len(found) / 2


@pytest.mark.parametrize(("layout", "file", "name", "has_convolutions"), GRAPHS)
def test_the_interface_is_the_parents(float_artifact, w8a8, layout, file, name, has_convolutions):
    def interface(folder) -> list:
        model = openvino.Core().read_model(folder / file)
        return [
            (port.get_names(), str(port.element_type), str(port.partial_shape)) for port in model.inputs + model.outputs
        ]

    got = interface(w8a8("openvino", layout))
    assert got == interface(float_artifact("openvino", layout))
    assert any(name in names for names, _, _ in got)
    assert has_convolutions or len(got) == 2


def test_quantizes_attention_projections_and_not_products(w8a8):
    ops = openvino.Core().read_model(w8a8("openvino", "split") / "unet" / "openvino_model.xml").get_ordered_ops()
    kinds = {op.get_friendly_name(): op for op in ops if op.get_type_name() == "MatMul"}
    quantized = {name.split("/")[0].rsplit(".", 1)[-1] for name, op in kinds.items() if is_quantized(op)}
    floats = {name.split("/")[0].rsplit(".", 1)[-1] for name, op in kinds.items() if not is_quantized(op)}
    assert {"to_q", "proj"} <= quantized
    assert not quantized & {"attn1", "attn2"}
    assert {"to_k", "to_v"} <= floats | quantized
