"""A model in memory -> .xml and .bin: without the blanks between tags, and told not to round activations."""

import re
from pathlib import Path
from typing import Any

DYNAMIC_QUANTIZATION = ["runtime_options", "DYNAMIC_QUANTIZATION_GROUP_SIZE"]
"""Where a model says what the CPU plugin may do to the inputs of a MatMul whose weight is compressed. By default it
rounds them to 8 bits, a scale for so many of them: on the bundled generator w8 lost 1.2 dB by that. 0 forbids it."""
ROUNDED_BY = 32
"""What w8a8 allows, on processors that multiply integers: 0.5 dB in the median and nothing in the worst of 64 cases,
a tenth of the time."""


def save_model(model: Any, final: Path, *, rounded_by: int = 0) -> None:
    """Write a model; a MatMul whose weight alone is an integer computes with float activations, or where `rounded_by`
    is given with activations that are rounded to 8 bits as they come, so many to a scale."""
    import openvino

    model.set_rt_info(str(rounded_by), DYNAMIC_QUANTIZATION)
    openvino.save_model(model, final, compress_to_fp16=False)
    drop_blanks(final)


def drop_blanks(path: Path) -> None:
    """Rewrite an .xml file without the lines and tabs between its tags: a sixth of it."""
    text = path.read_text(encoding="utf-8")
    path.write_text(re.sub(r">\s+<", "><", text), encoding="utf-8")
