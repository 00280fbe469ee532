"""A pytest plugin: coremltools' own tests of its operations, with the evaluator in the place of Core ML.

They say what a Mac must give, and Apple runs them on one. On Linux they stop before they predict: here they go on.
Used by `test_own_tests.py`, in a process of its own, because it changes coremltools' test helpers.
"""

import random
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from coremltools.converters.mil import testing_utils
from coremltools.models import MLModel

from edgestep.runtimes.mil_evaluator import MilEvaluator

PER_TEST = 2
"""How many cases of each parametrized test are run, the same each time: of most there are hundreds."""
LEFT_OUT = {
    "test_ios17_invalid_indices": "asks for the words of Core ML's own errors",
    "test_efficient_type_inference": "holds a time",
    "iOS15/test_image_resizing.py::TestCropResize::test_builder_to_backend_smoke": (
        "a box turned over, three pixels outside of its picture, in UNALIGN_CORNERS: what a Mac gives for it follows "
        "from no formula in MIL's text"
    ),
}
"""What is left out, and why."""
EVALUATED: list[str] = []


def opened(model: Any) -> MilEvaluator:
    """Return a session for a converted model; skip what is no ML Program."""
    if model.get_spec().WhichOneof("Type") != "mlProgram":
        pytest.skip("a neural network of the old kind")
    path = Path(tempfile.mkdtemp()) / "model.mlpackage"
    model.save(str(path))
    return MilEvaluator(path, numerics="fp32")


def predicted(model: Any, feeds: dict[str, Any], state: MilEvaluator | None = None) -> dict[str, Any]:
    """Return what `model.predict` would; a state is a session that has kept its own."""
    session = state or opened(model)
    EVALUATED.append(model.short_description)
    return session.run({spec.name: np.atleast_1d(feeds[spec.name]).astype(spec.dtype) for spec in session.inputs})


testing_utils._IS_MACOS = True
testing_utils.coremltoolsutils._macos_version = lambda: (15, 4)
testing_utils.run_core_ml_predict = predicted
MLModel.predict = predicted
MLModel.make_state = opened


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep a few cases of each test."""
    cases: dict[str, list[pytest.Item]] = defaultdict(list)
    for item in items:
        name = f"{item.path.parent.name}/{item.path.name}::{'::'.join(item.nodeid.split('::')[1:])}".partition("[")[0]
        if "neuralnetwork" not in item.name and not any(name.endswith(left) for left in LEFT_OUT):
            cases[name].append(item)
    chosen = random.Random(0)
    items[:] = [item for of in cases.values() for item in chosen.sample(of, min(PER_TEST, len(of)))]


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say how many programs were evaluated: a run of none has shown nothing."""
    terminalreporter.write_line(f"{len(EVALUATED)} programs evaluated")
