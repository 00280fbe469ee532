"""Float OpenVINO IR -> IR with FakeQuantize before Convolution and MatMul, by NNCF's post-training quantization.

Weights use 7 of the 8 bits, as in ONNX and for the same reason: a CPU without VNNI would saturate.
"""

import io
import logging
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np

from edgestep.artifact import BadInput
from edgestep.quantize.floats import STAYS_FLOAT, Quantized, StaysFloat, layers_named

OPERATIONS = ("Convolution", "MatMul", "ScaledDotProductAttention")
AUTOMATIC = re.compile(r"[A-Za-z]+_\d+")
"""The names that OpenVINO gives: Constant_417280."""


def quantize_openvino_w8a8(
    source: Path,
    final: Path,
    feeds: Sequence[Mapping[str, np.ndarray]],
    table: Sequence[StaysFloat] = STAYS_FLOAT,
) -> Quantized:
    """Write the quantized model to `final` (.xml) and the .bin beside it; return which layers it is.

    `feeds` are what this graph was fed in real drawings; all are used. Raises BadInput where the layers have no module
    names: nothing would then keep conv_in and conv_out float.
    """
    openvino, nncf = _packages()
    from nncf.quantization.range_estimator import RangeEstimatorParametersSet

    model = openvino.Core().read_model(source)
    ops = model.get_ordered_ops()
    known = {op.get_friendly_name() for op in ops}
    names = (op.get_friendly_name() for op in ops if op.get_type_name() in OPERATIONS)
    layers = layers_named(source, names, table)
    with _quiet():
        quantized = nncf.quantize(
            model,
            nncf.Dataset([dict(feed) for feed in feeds]),
            preset=nncf.QuantizationPreset.MIXED,  # SiLU and GELU are not symmetric about 0
            subset_size=len(feeds),
            model_type=nncf.ModelType.TRANSFORMER,
            ignored_scope=nncf.IgnoredScope(names=list(layers.floats)),
            advanced_parameters=nncf.AdvancedQuantizationParameters(
                overflow_fix=nncf.OverflowFix.ENABLE,
                # The default means the ranges over the samples: it cut off the prompt with the largest activations.
                # Emoji UNet: worst x0 18.8 -> 22.2 dB, median 29.9 -> 34.9 dB.
                activations_range_estimator_params=RangeEstimatorParametersSet.MINMAX,
            ),
        )
    name_by_place(quantized, known)
    openvino.save_model(quantized, final, compress_to_fp16=False)
    return layers


def openvino_layers(source: Path) -> tuple[str, ...]:
    """Return the names of the operations that could be quantized."""
    openvino, _ = _packages()
    ops = openvino.Core().read_model(source).get_ops()
    return tuple(op.get_friendly_name() for op in ops if op.get_type_name() in OPERATIONS)


def openvino_weight_files(source: Path) -> tuple[Path, ...]:
    """Return the .xml file and its .bin."""
    return source, source.with_suffix(".bin")


def name_by_place(model: Any, known: Collection[str]) -> None:
    """Number operations by their place in the graph that OpenVINO numbered by a counter of the process.

    Same feeds, same bytes, whatever the process did before. Names among `known`, the parent's, stay.
    """
    for place, op in enumerate(model.get_ordered_ops()):
        name = op.get_friendly_name()
        if AUTOMATIC.fullmatch(name) and name not in known:
            op.set_friendly_name(f"{op.get_type_name()}_w8a8_{place}")


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep NNCF's log lines and progress bars out of a command's output; its warnings stay."""
    logger = logging.getLogger("nncf")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        with redirect_stdout(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)


def _packages() -> tuple[Any, Any]:
    try:
        import nncf
        import openvino
    except ImportError as error:
        raise BadInput(f"got no {error.name}; w8a8 of OpenVINO needs it; pip install 'edgestep[openvino]'") from error
    return openvino, nncf
