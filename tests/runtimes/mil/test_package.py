"""What is no package with one ML Program is one line that says so."""

import json
import shutil

import coremltools as ct
import numpy as np
import pytest
from coremltools.converters.mil.mil import Builder as mb
from coremltools.proto import Model_pb2

from edgestep.artifact import BadInput
from edgestep.runtimes.mil_evaluator import MilEvaluator
from tests.runtimes.mil.built import IOS15, save_built

MODEL = "Data/com.apple.CoreML/model.mlmodel"
WEIGHTS = "Data/com.apple.CoreML/weights/weight.bin"
X = np.ones((1, 16), np.float32)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    path = tmp_path_factory.mktemp("made") / "made.mlpackage"
    weight = np.arange(512, dtype=np.float32).reshape(32, 16)
    save_built(path, {"x": X}, lambda x: mb.linear(x=x, weight=weight, name="projection"), IOS15)
    return path


@pytest.fixture
def package(made, tmp_path):
    return shutil.copytree(made, tmp_path / "made.mlpackage")


def _refused(path, *words):
    with pytest.raises(BadInput) as refused:
        MilEvaluator(path).run({"x": X})
    line = str(refused.value)
    assert "\n" not in line and "got" in line and "expected" in line
    for word in words:
        assert word in line, line


def _rewritten(package, edit):
    spec = Model_pb2.Model()
    spec.ParseFromString((package / MODEL).read_bytes())
    edit(spec)
    (package / MODEL).write_bytes(spec.SerializeToString())
    return package


def _main_block(spec):
    return spec.mlProgram.functions["main"].block_specializations["CoreML5"]


def test_a_whole_package_runs(package):
    (out,) = MilEvaluator(package).run({"x": X}).values()
    assert out.shape == (1, 32) and out[0, 0] == 120


@pytest.mark.parametrize(
    ("kind", "word"),
    [
        ("neuralNetwork", "a neural network of the old kind"),
        ("neuralNetworkClassifier", "a neural network of the old kind"),
        ("pipeline", "a pipeline of several models"),
        ("pipelineClassifier", "a pipeline of several models"),
        ("glmRegressor", "a model of the kind glmRegressor"),
    ],
)
def test_a_model_of_another_kind(package, kind, word):
    def edit(spec):
        spec.ClearField("mlProgram")
        getattr(spec, kind).SetInParent()

    _refused(_rewritten(package, edit), word, str(package), "expected an ML Program")


def test_a_model_file_of_the_old_kind(tmp_path):
    spec = Model_pb2.Model()
    spec.neuralNetwork.SetInParent()
    (tmp_path / "old.mlmodel").write_bytes(spec.SerializeToString())
    _refused(tmp_path / "old.mlmodel", "expected a .mlpackage")


def test_a_compiled_model(tmp_path):
    (tmp_path / "x.mlmodelc").mkdir()
    _refused(tmp_path / "x.mlmodelc", "compiled and perhaps encrypted")


def test_a_folder_that_is_not_there_or_empty(tmp_path):
    _refused(tmp_path / "none.mlpackage", "got no folder at")
    (tmp_path / "empty.mlpackage").mkdir()
    _refused(tmp_path / "empty.mlpackage", "broken Manifest.json")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"itemInfoEntries": {}, "rootModelIdentifier": 3}', "\x00"])
def test_a_broken_manifest(package, text):
    (package / "Manifest.json").write_text(text)
    _refused(package, "broken Manifest.json")


def test_two_models_in_a_package(package):
    manifest = json.loads((package / "Manifest.json").read_text())
    (root,) = [k for k, v in manifest["itemInfoEntries"].items() if v["path"].endswith(".mlmodel")]
    other = {**manifest["itemInfoEntries"][root], "path": "com.apple.CoreML/second.mlmodel"}
    manifest["itemInfoEntries"]["another"] = other
    (package / "Manifest.json").write_text(json.dumps(manifest))
    _refused(package, "got 2 models in", "save each in a package of its own")


@pytest.mark.parametrize("path", ["../../outside.mlmodel", "/tmp/outside.mlmodel"])
def test_a_model_outside_the_package(package, path):
    text = (package / "Manifest.json").read_text()
    manifest = json.loads(text)
    for item in manifest["itemInfoEntries"].values():
        if item["path"].endswith(".mlmodel"):
            item["path"] = path
    (package / "Manifest.json").write_text(json.dumps(manifest))
    _refused(package, "stays inside the folder")


@pytest.mark.parametrize("held", [b"\xff" * 64, b"", b"not a protobuf"])
def test_what_is_no_protobuf_of_a_model(package, held):
    (package / MODEL).write_bytes(held)
    _refused(package)


def test_a_truncated_model(package):
    data = (package / MODEL).read_bytes()
    (package / MODEL).write_bytes(data[: len(data) // 2])
    _refused(package, "cannot be read")


def test_a_truncated_weight_file(package):
    data = (package / WEIGHTS).read_bytes()
    (package / WEIGHTS).write_bytes(data[:-100])
    _refused(package, "the file is truncated, or not of this package")


def test_a_weight_file_that_is_not_there(package):
    (package / WEIGHTS).unlink()
    _refused(package, "got no weights at")


def _blob(spec):
    for operation in _main_block(spec).operations:
        value = operation.attributes["val"] if operation.type == "const" else None
        if value is not None and value.WhichOneof("value") == "blobFileValue":
            return value.blobFileValue
    raise AssertionError("no weight in a file")


def test_a_weight_that_starts_outside_its_file(package):
    _refused(_rewritten(package, lambda spec: setattr(_blob(spec), "offset", 2**40)), f"got an offset of {2**40}")


@pytest.mark.parametrize("name", ["@model_path/../../../outside.bin", "/etc/hostname"])
def test_a_weight_file_outside_the_package(package, name):
    _refused(_rewritten(package, lambda spec: setattr(_blob(spec), "fileName", name)), "stays inside the folder")


def test_an_unknown_operation_is_named_with_its_place_and_opset(package):
    def edit(spec):
        for operation in _main_block(spec).operations:
            operation.type = "fold_space" if operation.type == "linear" else operation.type

    _refused(_rewritten(package, edit), "fold_space at projection, opset CoreML5")


def test_a_name_that_nothing_makes(package):
    def edit(spec):
        for operation in _main_block(spec).operations:
            if operation.type == "linear":
                operation.inputs["x"].arguments[0].name = "y"

    _refused(_rewritten(package, edit), "got 'y' read at projection")


def test_a_function_without_its_block(package):
    _refused(
        _rewritten(package, lambda spec: setattr(spec.mlProgram.functions["main"], "opset", "CoreML99")),
        "got no block of opset CoreML99 in function main",
    )


def test_a_constant_of_fewer_numbers_than_its_shape(package):
    def edit(spec):
        for operation in _main_block(spec).operations:
            if operation.type == "const" and operation.attributes["val"].WhichOneof("value") == "blobFileValue":
                operation.attributes["val"].immediateValue.tensor.floats.values.extend([1.0, 2.0])

    _refused(_rewritten(package, edit), "got a constant of 2 numbers; expected the shape")


def test_an_output_that_is_no_array(package):
    def edit(spec):
        spec.description.input[0].type.sequenceType.SetInParent()

    _refused(_rewritten(package, edit), "got x of sequenceType")


def test_numerics_that_there_are_not(package):
    with pytest.raises(BadInput, match="got numerics 'fp8'; expected fp32 or fp16"):
        MilEvaluator(package, numerics="fp8")


@pytest.mark.parametrize(
    "feeds", [{}, {"y": X}, {"x": X.astype(np.float64)}, {"x": X[:, :3]}, {"x": X, "more": X}], ids=str
)
def test_feeds_that_do_not_fit(package, feeds):
    with pytest.raises(BadInput, match=r"expected x float32 \[1, 16\]; feed these"):
        MilEvaluator(package).run(feeds)


def test_a_wish_for_a_value_that_is_not_in_the_program(package):
    with pytest.raises(BadInput, match="got a wish for nowhere"):
        MilEvaluator(package).values({"x": X}, ["nowhere"])


def test_what_coremltools_reads_of_the_package_is_what_we_read(package):
    model = ct.models.MLModel(str(package), skip_model_load=True)
    description = model.get_spec().description
    with MilEvaluator(package) as session:
        assert [spec.name for spec in session.inputs] == [feature.name for feature in description.input]
        assert [list(spec.shape) for spec in session.outputs] == [
            list(feature.type.multiArrayType.shape) for feature in description.output
        ]
