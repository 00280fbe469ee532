"""Fewer bytes, the same function: what is shared, what becomes float16, and what the XML need not say."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import openvino
from openvino import opset13

from edgestep.quantize.floats import StaysFloat
from edgestep.quantize.keep_fp32 import rows_from_names
from edgestep.quantize.openvino.smaller import share_constants, shorten_names
from edgestep.quantize.openvino.weight_only import quantize_openvino_w8, quantize_openvino_weights
from edgestep.quantize.openvino.weights import FEWEST
from edgestep.quantize.widths import WIDTHS

Model: Any = openvino.Model  # its stub takes no arguments
CONFIG = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}


def numbers(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def constants(model: Any) -> list[Any]:
    return [op for op in model.get_ordered_ops() if op.get_type_name() == "Constant"]


def test_small_constants_of_the_same_numbers_type_and_shape_are_one():
    fed = opset13.parameter([4], openvino.Type.f32)
    value = fed
    for numbers_of in (np.ones(4, np.float32), np.ones((1, 4), np.float32), np.ones(4, np.float32)):
        value = opset13.reshape(opset13.add(value, opset13.constant(numbers_of)), opset13.constant([4]), False)
    large = [opset13.constant(np.ones(FEWEST, np.float32)) for _ in range(2)]
    model = Model([value, opset13.add(*large)], [fed])
    assert len(constants(model)) == 8
    before = openvino.Core().compile_model(model, "CPU", CONFIG)([numbers(4)])[0].copy()
    share_constants(model)
    shapes = sorted(tuple(op.get_output_shape(0)) for op in constants(model))
    assert shapes == [(1,), (1, 4), (4,), (FEWEST,), (FEWEST,)]
    np.testing.assert_array_equal(before, openvino.Core().compile_model(model, "CPU", CONFIG)([numbers(4)])[0])


def test_small_constants_are_named_by_their_place_and_large_ones_keep_their_names():
    def made() -> Any:
        fed = opset13.parameter([FEWEST], openvino.Type.f32)
        small = opset13.constant(np.ones(1, np.float32), name="unet.down_blocks.0.norm1.weight")
        large = opset13.constant(np.ones(FEWEST, np.float32), name="unet.conv_in.weight")
        return Model([opset13.multiply(opset13.add(fed, small), large)], [fed])

    names = []
    for model in (made(), made()):
        shorten_names(model)
        names.append([op.get_friendly_name() for op in constants(model)])
    assert names[0] == names[1]
    assert "unet.conv_in.weight" in names[0]
    assert all(name.startswith("c") and name[1:].isdigit() for name in set(names[0]) - {"unet.conv_in.weight"})
    assert len(names[0]) == 2


FIRST = (StaysFloat(r"conv_in$", "first"),)


def written(tmp_path: Path, kernel: np.ndarray, table: Sequence[StaysFloat] = FIRST) -> tuple[Any, Any]:
    """Return a model of a convolution that stays float and a linear layer, and its w8, read again."""
    fed = opset13.parameter([1, 16, 8, 8], openvino.Type.f32, name="x")
    fed.output(0).set_names({"x"})
    value = opset13.convolution(fed, opset13.constant(kernel), [1, 1], [1, 1], [1, 1], [1, 1], name="unet.conv_in/Conv")
    value = opset13.add(value, opset13.constant(numbers(1, 16, 1, 1)))
    value = opset13.reshape(value, opset13.constant([1, 16, 64]), special_zero=False)
    value = opset13.matmul(value, opset13.constant(numbers(64, 32, seed=1)), False, False, name="unet.proj/MatMul")
    openvino.save_model(Model([value], [fed]), tmp_path / "model.xml", compress_to_fp16=False)
    quantize_openvino_w8(tmp_path / "model.xml", tmp_path / "w8.xml", (), table)
    whole, small = (openvino.Core().read_model(tmp_path / f"{name}.xml") for name in ("model", "w8"))
    return whole, small


def test_what_stays_float_is_stored_as_float16_and_computed_in_float32(tmp_path):
    kernel = numbers(16, 16, 3, 3)
    _, small = written(tmp_path, kernel)
    ops = {op.get_friendly_name(): op for op in small.get_ops()}
    convert = ops["unet.conv_in/Conv"].input_value(1).get_node()
    stored = convert.input_value(0).get_node()
    assert (convert.get_type_name(), convert.get_element_type().to_string()) == ("Convert", "f32")
    np.testing.assert_array_equal(stored.get_data(), kernel.astype(np.float16))


def test_what_a_user_keeps_float32_is_that(tmp_path):
    _, small = written(tmp_path, numbers(16, 16, 3, 3), rows_from_names(["unet.conv_in"]))
    ops = {op.get_friendly_name(): op for op in small.get_ops()}
    stored = ops["unet.conv_in/Conv"].input_value(1).get_node()
    np.testing.assert_array_equal(stored.get_data(), numbers(16, 16, 3, 3))


def test_a_search_measures_the_bytes_that_are_written_in_the_end(tmp_path):
    """It leaves layers float by giving them no width, and a scheme by its table."""
    written(tmp_path, numbers(16, 16, 3, 3))
    widths = {"unet.proj/MatMul": WIDTHS["w8"]}
    quantize_openvino_weights(tmp_path / "model.xml", tmp_path / "searched.xml", (), (), widths)
    for ending in (".xml", ".bin"):
        assert (tmp_path / f"searched{ending}").read_bytes() == (tmp_path / f"w8{ending}").read_bytes()


def test_what_float16_cannot_hold_stays_float32(tmp_path):
    _, small = written(tmp_path, numbers(16, 16, 3, 3) * 1e5)
    ops = {op.get_friendly_name(): op for op in small.get_ops()}
    assert ops["unet.conv_in/Conv"].input_value(1).get_node().get_element_type().to_string() == "f32"


def test_attributes_that_the_file_leaves_out_are_read_as_they_were(tmp_path):
    whole, small = written(tmp_path, numbers(16, 16, 3, 3))
    text = (tmp_path / "w8.xml").read_text(encoding="utf-8")
    assert "auto_broadcast" not in text
    assert "transpose_a" not in text
    assert "auto_broadcast" in (tmp_path / "model.xml").read_text(encoding="utf-8")
    found = {op.get_friendly_name(): op.get_attributes() for op in small.get_ops()}
    kept = [op for op in whole.get_ops() if op.get_friendly_name() in found and op.get_type_name() != "Constant"]
    assert {op.get_type_name() for op in kept} >= {"Convolution", "Add", "Reshape", "MatMul"}
    assert all(found[op.get_friendly_name()] == op.get_attributes() for op in kept)
