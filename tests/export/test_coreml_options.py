"""Which form of attention an export gets, and the options that are refused."""

import pytest

from edgestep.artifact import BadInput
from edgestep.export.coreml.options import CoreMLOptions, resolved
from edgestep.export.run import export


@pytest.mark.parametrize(
    ("unit", "target", "base", "form"),
    [
        ("all", "iOS17", "sd", "plain"),
        ("all", "iOS18", "sd", "sdpa"),
        ("gpu", "macOS15", "pixart", "sdpa"),
        ("gpu", "macOS14", "sdxl", "plain"),
        ("cpu", "iOS18", "sd", "plain"),
        ("ane", "iOS17", "sdxl", "split-einsum"),
        ("ane", "iOS18", "sd", "split-einsum"),
        ("ane", "iOS17", "sana", "plain"),
    ],
)
def test_attention_follows_the_compute_unit(unit, target, base, form):
    assert resolved(CoreMLOptions("", unit, target), base).attention == form


def test_a_form_that_is_named_is_kept():
    assert resolved(CoreMLOptions("split-einsum", "cpu", "iOS18"), "sd").attention == "split-einsum"


@pytest.mark.parametrize(
    ("options", "base", "told"),
    [
        (CoreMLOptions("flash"), "sd", "got --attention flash; expected one of plain, sdpa, split-einsum"),
        (CoreMLOptions("", "npu"), "sd", "got --compute-unit npu; expected one of all, cpu, gpu, ane"),
        (CoreMLOptions("", "all", "iOS12"), "sd", "got --deployment-target iOS12; expected one of iOS17"),
        (CoreMLOptions("sdpa", "gpu", "macOS14"), "sd", "got --attention sdpa for macOS14; expected iOS18 or macOS15"),
        (CoreMLOptions("split-einsum"), "pixart", "got --attention split-einsum for pixart; expected a base with a"),
    ],
)
def test_what_cannot_be_had_is_refused(options, base, told):
    with pytest.raises(BadInput, match=told):
        resolved(options, base)


def test_other_formats_take_none_of_them(checkpoint, tmp_path):
    for format in ("onnx", "openvino"):
        with pytest.raises(
            BadInput, match=f"--deployment-target, .* for {format}; expected them with --format coreml only"
        ):
            export(
                checkpoint,
                format=format,
                precision="fp32",
                layout="split",
                target="x86",
                out=tmp_path / format,
                coreml=CoreMLOptions("", "all", "iOS18"),
            )
