"""Core ML packages: Apple's layout, types and texts, what stays in float32; run by the evaluator against diffusers."""

import json
import shutil

import numpy as np
import pytest

from edgestep.artifact import BadInput, read_artifact
from edgestep.export.coreml.check import check_package
from edgestep.export.coreml.options import CoreMLOptions
from edgestep.export.graph.graphs import Graphs
from edgestep.export.run import export
from edgestep.mlpackage.tools import import_coremltools, silenced
from edgestep.runtimes.drawing import Drawer
from edgestep.runtimes.mil_evaluator import MilEvaluator
from tests.export.conftest import sqnr_db, worst_level
from tests.export.packages import counted, in_float32, operations, spec_of

pytest.importorskip("coremltools")

PLAIN = CoreMLOptions()
"""As an export is that says nothing: tests of other rooms take it too."""
FORMS = {
    "plain": PLAIN,
    "sdpa": CoreMLOptions("sdpa", "gpu", "iOS18"),
    "split-einsum": CoreMLOptions("split-einsum", "ane", "iOS17"),
}
APPLE = {
    "TextEncoder.mlpackage": ({"input_ids": (1, 16)}, {"last_hidden_state": (1, 16, 32), "pooled_outputs": (1, 32)}),
    "Unet.mlpackage": (
        {"sample": (1, 4, 8, 8), "timestep": (1,), "encoder_hidden_states": (1, 32, 1, 16)},
        {"noise_pred": (1, 4, 8, 8)},
    ),
    "VAEDecoder.mlpackage": ({"z": (1, 4, 8, 8)}, {"image": (1, 3, 16, 16)}),
}
"""Package -> inputs and outputs, as Apple's Swift package feeds and reads them."""
FLOAT32, RGB = 65568, 20
"""Core ML's ArrayFeatureType and colour space."""


def test_split_form_is_the_folder_that_apples_package_reads(make, tiny):
    made = make("coreml", "fp16", "split", PLAIN)
    assert read_artifact(made.folder) == made.artifact
    assert {c.name: c.file for c in made.artifact.components} == dict(
        zip(("text_encoder", "unet", "vae_decoder"), APPLE, strict=True)
    )
    for file, (inputs, outputs) in APPLE.items():
        described = spec_of(made.folder / file).description
        assert {f.name: tuple(f.type.multiArrayType.shape) for f in described.input} == inputs
        assert {f.name: tuple(f.type.multiArrayType.shape) for f in described.output} == outputs
        assert {f.type.multiArrayType.dataType for f in (*described.input, *described.output)} == {FLOAT32}
    vocabulary = json.loads((made.folder / "vocab.json").read_text())
    assert vocabulary["<|endoftext|>"] == made.artifact.contract.eos_token_id
    assert (made.folder / "merges.txt").read_text() == (tiny / "tokenizer/merges.txt").read_text()


def test_coremltools_opens_it_and_changes_nothing(make, tmp_path):
    """It writes Manifest.json anew in every package that it opens: the hashes of the manifest hold all the same."""
    folder = tmp_path / "opened"
    shutil.copytree(make("coreml", "fp16", "split", PLAIN).folder, folder)
    for package in APPLE:
        import_coremltools().utils.load_spec(str(folder / package))
    assert read_artifact(folder)


def test_vocabulary_and_merges_come_from_tokenizer_json_where_they_are_not_published(tiny):
    from edgestep.export.source.tokenizer import bpe_file

    raw = (tiny / "tokenizer/tokenizer.json").read_bytes()
    assert json.loads(bpe_file("vocab.json", raw)) == json.loads((tiny / "tokenizer/vocab.json").read_text())
    own = [line for line in (tiny / "tokenizer/merges.txt").read_text().splitlines() if not line.startswith("#")]
    assert bpe_file("merges.txt", raw).splitlines()[1:] == own
    with pytest.raises(BadInput, match="without merges"):
        bpe_file("merges.txt", b'{"model": {"type": "Unigram", "vocab": []}}')


@pytest.mark.parametrize(
    ("layout", "form", "said"),
    [
        ("split", "plain", {"attention": "plain", "compute_unit": "all", "deployment_target": "iOS17"}),
        ("split", "sdpa", {"attention": "sdpa", "compute_unit": "gpu", "deployment_target": "iOS18"}),
        ("fused", "plain", {"attention": "plain", "compute_unit": "all", "deployment_target": "iOS17"}),
    ],
)
def test_every_input_and_output_is_described_and_the_contract_is_in_it(make, contract, layout, form, said):
    made = make("coreml", "fp16", layout, FORMS[form])
    for component in made.artifact.components:
        described = spec_of(made.folder / component.file).description
        assert all(f.shortDescription for f in (*described.input, *described.output))
        about, told = described.metadata, described.metadata.userDefined
        assert about.shortDescription and about.author == "edgestep" and about.license == made.artifact.licence
        recorded = json.loads(told["edgestep.contract"])
        assert (recorded["k_e"], recorded["timestep"]) == (contract.k_e, contract.timestep)
        assert told["edgestep.attention"] == form and told["edgestep.compute_unit"] == said["compute_unit"]
        assert told["edgestep.component"] == component.name
    assert made.artifact.options == said


@pytest.mark.parametrize(("form", "version"), [("plain", 8), ("sdpa", 9)])
def test_deployment_target_is_the_one_asked_for(make, form, version):
    made = make("coreml", "fp16", "split", FORMS[form])
    assert {spec_of(made.folder / c.file).specificationVersion for c in made.artifact.components} == {version}


@pytest.mark.parametrize("form", FORMS)
def test_attention_is_in_the_form_asked_for(make, form):
    unet = counted(make("coreml", "fp16", "split", FORMS[form]).folder / "Unet.mlpackage")
    attentions = 2 * 4  # to itself and to the prompt, in four transformers
    if form == "plain":
        assert (unet["softmax"], unet["matmul"]) == (attentions, 2 * attentions)
    if form == "sdpa":
        assert (unet["scaled_dot_product_attention"], unet["softmax"]) == (attentions, 0)
    if form == "split-einsum":
        assert unet["linear"] == unet["matmul"] == 0
        assert unet["transpose"] == attentions
        assert unet["einsum"] == 2 * unet["softmax"] > 2 * attentions


@pytest.mark.slow
def test_plain_attention_stays_plain_where_there_is_a_fused_operation(make):
    made = make("coreml", "fp16", "split", CoreMLOptions("plain", "cpu", "iOS18"))
    assert not any(counted(made.folder / c.file)["scaled_dot_product_attention"] for c in made.artifact.components)


@pytest.mark.parametrize("form", FORMS)
def test_the_unet_s_edges_stay_in_float32(make, form):
    made = make("coreml", "fp16", "split", FORMS[form])
    unet = in_float32(made.folder / "Unet.mlpackage")
    assert unet == {"conv unet_conv_in", "conv noise_pred", "identity timestep_tmp"}
    assert not in_float32(made.folder / "VAEDecoder.mlpackage")


@pytest.mark.parametrize("form", FORMS)
def test_the_fused_form_keeps_its_formula_in_float32_too(make, contract, form):
    """k_z z - k_e F, F's last convolution carrying k_e, before the decoder; the decoder's own is in float16."""
    assert contract.k_z != 1  # else there would be one product less
    kept = in_float32(make("coreml", "fp16", "fused", FORMS[form]).folder / "generator.mlpackage")
    assert kept == {"conv unet_conv_in", "conv formula_mul_1", "mul formula_mul", "sub formula_sub"}


def test_fp32_has_no_float16(make):
    made = make("coreml", "fp32", "split", FORMS["split-einsum"])
    for component in made.artifact.components:
        kinds = {op.dtype for op in operations(made.folder / component.file)}
        assert "float32" in kinds and "float16" not in kinds


@pytest.mark.parametrize(
    ("precision", "form"),
    [
        *(("fp16", form) for form in FORMS),
        ("fp32", "split-einsum"),
        *(pytest.param("fp32", form, marks=pytest.mark.slow) for form in ("plain", "sdpa")),
    ],
)
def test_split_form_draws_what_diffusers_draws(make, drawn, feeds, precision, form):
    made = make("coreml", precision, "split", FORMS[form])
    with Drawer(made.folder, runtime="mil-evaluator") as drawer:
        drawing = drawer.draw(input_ids=feeds.ids, noise=feeds.noise)
    assert drawing.x0 is not None
    assert sqnr_db(drawn[0], drawing.x0) >= (80 if precision == "fp32" else 40)
    assert worst_level(drawn[1], drawing.image) <= (1 if precision == "fp32" else 2)


@pytest.mark.parametrize("form", FORMS)
def test_fused_form_is_an_image_of_what_diffusers_draws(make, drawn, feeds, form):
    made = make("coreml", "fp16", "fused", FORMS[form])
    (out,) = spec_of(made.folder / "generator.mlpackage").description.output
    assert (out.name, out.type.imageType.width, out.type.imageType.colorSpace) == ("image", 16, RGB)
    with MilEvaluator(made.folder / "generator.mlpackage") as session:
        image = session.run({"input_ids": feeds.ids.astype(np.int32), "noise": feeds.noise})["image"]
    assert worst_level(drawn[1], image) <= 2


@pytest.mark.slow
def test_a_float32_picture_is_an_array_from_0_to_1(checkpoint, contract, drawn, feeds, tmp_path):
    graphs = Graphs(checkpoint, contract, image="float32")
    made = export(
        checkpoint,
        format="coreml",
        precision="fp32",
        layout="fused",
        target="mac",
        out=tmp_path / "made",
        graphs=graphs,
        image="float32",
    )
    assert made.components[0].outputs[0].dtype == "float32"
    with MilEvaluator(tmp_path / "made/generator.mlpackage") as session:
        image = session.run({"input_ids": feeds.ids.astype(np.int32), "noise": feeds.noise})["image"]
    assert image.shape == (1, 16, 16, 3) and image.min() >= 0 and image.max() <= 1
    assert worst_level(drawn[1], np.round(image * 255)) <= 1


def test_weights_are_the_checkpoint_s(make, graphs):
    """The float32 conv_in of the package is torch's; what is in float16 is torch's rounded."""
    made = make("coreml", "fp16", "split", PLAIN)
    ct = import_coremltools()
    with silenced():
        model = ct.models.MLModel(str(made.folder / "Unet.mlpackage"), skip_model_load=True)
        weights = ct.optimize.coreml.get_weights_metadata(model, weight_threshold=1)
    conv_in = np.asarray(weights["p_unet_conv_in_weight"].val)
    assert conv_in.dtype == np.float32
    np.testing.assert_array_equal(conv_in, graphs.captured("unet").weights["unet.conv_in.weight"].read())
    halves = {name: np.asarray(w.val) for name, w in weights.items() if np.asarray(w.val).dtype == np.float16}
    name = "p_unet_down_blocks_0_resnets_0_conv1_weight_to_fp16"
    expected = graphs.captured("unet").weights["unet.down_blocks.0.resnets.0.conv1.weight"].read().astype(np.float16)
    np.testing.assert_array_equal(halves[name], expected)
    assert sum(v.size for v in halves.values()) > 0.9 * 180_000


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["split", "fused"])
def test_the_same_checkpoint_gives_the_same_bytes(make, checkpoint, contract, tmp_path, layout):
    """Captured anew, so that nothing of the first export is left."""
    made = make("coreml", "fp16", layout, FORMS["split-einsum"])
    again = export(
        checkpoint,
        format="coreml",
        precision="fp16",
        layout=layout,
        target="x86",
        out=tmp_path / "again",
        graphs=Graphs(checkpoint, contract),
        coreml=FORMS["split-einsum"],
    )
    assert again == made.artifact


def test_the_key_tells_options_apart(make):
    keys = {make("coreml", "fp16", "split", options).artifact.key for options in FORMS.values()}
    assert len(keys) == len(FORMS)


def test_a_package_with_another_signature_is_refused(make):
    made = make("coreml", "fp16", "split", PLAIN)
    with pytest.raises(BadInput, match=r"Unet.mlpackage"):
        check_package(made.folder / "Unet.mlpackage", made.artifact.component("vae_decoder"))


@pytest.mark.parametrize("place", ["weight file", "model file"])
def test_a_weight_that_is_not_finite_is_refused(tmp_path, place):
    """Large constants lie in weight.bin, small ones in the model."""
    ct = import_coremltools()
    from coremltools.converters.mil import Builder as mb

    values = np.zeros(64 if place == "weight file" else 4, np.float32)
    values[2] = -np.inf

    @mb.program(input_specs=[mb.TensorSpec(shape=(1, values.size))])
    def mask(x):
        return mb.add(x=x, y=values[None], name="out")

    with silenced():
        model = ct.convert(mask, convert_to="mlprogram", compute_precision=ct.precision.FLOAT32, skip_model_load=True)
        model.save(str(tmp_path / "mask.mlpackage"))
    from edgestep.artifact import Component, TensorSpec

    shape = (1, values.size)
    component = Component("mask", "", (TensorSpec("x", "float32", shape),), (TensorSpec("out", "float32", shape),))
    with pytest.raises(BadInput, match=r"not finite in \S+ of mask.mlpackage"):
        check_package(tmp_path / "mask.mlpackage", component)
