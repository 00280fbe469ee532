"""Profiles: every module that runs is found by its name, whatever the runtime made of it."""

from pathlib import Path

import pytest

from edgestep.artifact import BadInput
from edgestep.search.bench import Bench
from edgestep.search.layer_times import REST, module_times
from edgestep.search.trials import Change, Trial
from edgestep.search.writers import writer_for
from tests.search.conftest import setting_of


@pytest.mark.parametrize("form", ["onnx", "openvino"])
def test_float_and_quantized_modules_are_told_apart(float_artifact, tmp_path, form: str):
    folder = float_artifact(form, "split")
    with Bench(setting_of(folder)) as bench:
        component = bench.drawer.artifact.component("unet")
        source, feed = folder / component.file, bench.feeds["unet"][0]
        modules = {layer.name for layer in writer_for(form, {"w8a8"}).layers(source)}
        convs = {module for module in modules if ".conv" in module}
        trial = Trial(tuple(Change("unet", module, "w8a8") for module in sorted(convs)))
        written = bench.written(trial, tmp_path)["unet"]
        floats, ints = module_times(source, feed, modules, runs=3), module_times(written, feed, modules, runs=3)
    for found in (floats, ints):
        missing = convs - found.keys()
        assert len(missing) <= 1, missing  # OpenVINO folds the formula's product into conv_out
        assert all(nanoseconds >= 0 for nanoseconds in found.values())
        assert found[REST] > 0


def test_another_file_is_refused():
    with pytest.raises(BadInput, match="profile that"):
        module_times(Path("model.mlpackage"), {}, set())
