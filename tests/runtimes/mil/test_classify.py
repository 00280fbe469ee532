"""A classifier's package gives the label and every label's probability, as Core ML's predict does."""

from typing import Any

import coremltools as ct
import numpy as np
import pytest
from coremltools.converters.mil.mil import Builder as mb

from edgestep.artifact import BadInput, TensorSpec
from edgestep.runtimes.mil.ops.classify import classify
from edgestep.runtimes.mil_evaluator import MilEvaluator


def _classifier(path, classes):
    @mb.program(input_specs=[mb.TensorSpec(shape=(1, 3))])
    def program(x):
        return mb.softmax(x=x)

    model: Any = ct.convert(
        program,
        convert_to="mlprogram",
        minimum_deployment_target=ct.target.iOS15,
        compute_precision=ct.precision.FLOAT32,
        classifier_config=ct.ClassifierConfig(classes),
        skip_model_load=True,
    )
    model.save(str(path))
    return path


@pytest.mark.parametrize(("classes", "kind"), [(["cat", "dog", "owl"], "str"), ([7, 8, 900], "int64")])
def test_the_label_and_the_probabilities(tmp_path, classes, kind):
    x = np.array([[1.0, 3.0, 2.0]], np.float32)
    with MilEvaluator(_classifier(tmp_path / "c.mlpackage", classes), numerics="fp32") as session:
        got = session.run({"x": x})
        specs = session.outputs
    assert specs == (
        TensorSpec("classLabel", kind, ()),
        TensorSpec("classLabel_probs", "probabilities", (-1,)),
    )
    assert got["classLabel"].item() == classes[1]
    pairs = dict(got["classLabel_probs"].tolist())
    assert list(pairs) == classes
    np.testing.assert_allclose(list(pairs.values()), np.exp(x[0]) / np.exp(x[0]).sum(), rtol=1e-6)


def test_what_a_classifier_gives_is_saved_without_pickle(tmp_path):
    with MilEvaluator(_classifier(tmp_path / "c.mlpackage", ["a", "b", "c"])) as session:
        got = session.run({"x": np.zeros((1, 3), np.float32)})
    np.savez(tmp_path / "out.npz", **got)
    with np.load(tmp_path / "out.npz", allow_pickle=False) as saved:
        assert saved["classLabel_probs"]["label"].tolist() == ["a", "b", "c"]


def test_fewer_labels_than_numbers_are_refused():
    import torch

    with pytest.raises(ValueError, match="zip"):
        classify(torch.zeros(3), ["a", "b"])


def test_a_function_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(BadInput, match="got function 'other'; expected one of main; choose one of these"):
        MilEvaluator(_classifier(tmp_path / "c.mlpackage", ["a", "b", "c"]), function="other")
