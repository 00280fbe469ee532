"""OpenVINO exports against diffusers, and as files."""

import numpy as np
import pytest

from edgestep.artifact import read_artifact
from tests.export.conftest import sqnr_db, worst_level

openvino = pytest.importorskip("openvino")
EXACT = {"INFERENCE_PRECISION_HINT": "f32"}


def _compiled(path):
    return openvino.Core().compile_model(path, "CPU", EXACT)


@pytest.mark.parametrize(("precision", "sqnr"), [("fp32", 100), ("fp16", 50)])
def test_split_makes_diffusers_x0(make, feeds, drawn, precision: str, sqnr: float):
    made = make("openvino", precision, "split")
    assert read_artifact(made.folder) == made.artifact
    states = _compiled(made.folder / "text_encoder/openvino_model.xml")({"input_ids": feeds.ids})[0]
    unet = _compiled(made.folder / made.artifact.component("unet").file)
    given = {"sample": feeds.noise, "timestep": np.array([999]), "encoder_hidden_states": states}
    assert sqnr_db(drawn[0], unet(given)["out_sample"]) >= sqnr


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_fused_draws_diffusers_picture(make, feeds, drawn, precision: str):
    made = make("openvino", precision, "fused")
    generator = _compiled(made.folder / "generator.xml")
    assert worst_level(drawn[1], generator({"input_ids": feeds.ids, "noise": feeds.noise})["image"]) <= 1


def test_signatures_are_static_and_those_of_the_manifest(make):
    made = make("openvino", "fp16", "split")
    for component in made.artifact.components:
        model = openvino.Core().read_model(made.folder / component.file)
        for ports, specs in ((model.inputs, component.inputs), (model.outputs, component.outputs)):
            for spec in specs:
                port = next(port for port in ports if spec.name in port.get_names())
                assert tuple(port.shape) == spec.shape
                assert np.dtype(port.get_element_type().to_dtype()) == spec.dtype


def test_fp16_stores_weights_in_half_and_conv_out_whole(make):
    model = openvino.Core().read_model(make("openvino", "fp16", "split").folder / "unet/openvino_model.xml")
    constants = {op.get_friendly_name(): op for op in model.get_ops() if op.get_type_name() == "Constant"}
    assert constants["unet.conv_out.weight"].get_element_type() == openvino.Type.f32
    large = [op for name, op in constants.items() if op.get_output_size() and np.prod(op.shape) >= 4096]
    assert large
    assert {op.get_element_type() for op in large} == {openvino.Type.f16}
    folded = {op.get_type_name() for op in model.get_ops()}
    assert "ShapeOf" not in folded


def test_operations_carry_module_names(make):
    model = openvino.Core().read_model(make("openvino", "fp32", "split").folder / "unet/openvino_model.xml")
    assert "unet.conv_out/Conv" in {op.get_friendly_name() for op in model.get_ops()}
