"""Float OpenVINO IR -> the control: plain W8A8, one scale a tensor from the least and the largest value, no layer left
but embeddings.

No SmoothQuant, no bias correction, nothing known of transformers. Weights use 7 bits as w8a8's do: the difference is
then what the care bought, and not what a processor does when it saturates.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from edgestep.quantize.floats import Quantized, StaysFloat, layers_named
from edgestep.quantize.openvino.packages import nncf_package, openvino_package
from edgestep.quantize.openvino.w8a8 import NNCF_ALSO, OPERATIONS, name_by_place, post_training


def quantize_openvino_naive(
    source: Path, final: Path, feeds: Sequence[Mapping[str, np.ndarray]], table: Sequence[StaysFloat] = ()
) -> Quantized:
    """Write the quantized model to `final` (.xml) and the .bin beside it; return which layers it is of.

    `feeds` are what this graph was fed in real drawings. Raises BadInput where the layers have no module names.
    """
    openvino, nncf = openvino_package(), nncf_package()
    from nncf.quantization.advanced_parameters import AdvancedSmoothQuantParameters, QuantizationParameters
    from nncf.quantization.range_estimator import RangeEstimatorParametersSet

    model = openvino.Core().read_model(source)
    kinds = {op.get_friendly_name(): op.get_type_name() for op in model.get_ordered_ops()}
    layers = layers_named(source, (name for name, kind in kinds.items() if kind in OPERATIONS), table)
    quantized = post_training(
        model,
        feeds,
        [*layers.floats, *(name for name, kind in kinds.items() if kind in NNCF_ALSO), *inside_norms(kinds)],
        preset=nncf.QuantizationPreset.MIXED,
        model_type=None,
        weights_quantization_params=QuantizationParameters(per_channel=False),
        activations_quantization_params=QuantizationParameters(per_channel=False),
        activations_range_estimator_params=RangeEstimatorParametersSet.MINMAX,
        disable_bias_correction=True,
        smooth_quant_alphas=AdvancedSmoothQuantParameters(convolution=-1, matmul=-1),
    )
    name_by_place(quantized, kinds)
    openvino.save_model(quantized, final, compress_to_fp16=False)
    return replace(layers, how="naive: a scale for each tensor, minmax, nothing left out")


def inside_norms(kinds: Mapping[str, str]) -> tuple[str, ...]:
    """Return the operations of the norms that are written out as moments of channels.

    Nobody's plain INT8 rounds what a norm computes within itself: written as one operation, NNCF leaves it whole.
    """
    norms = {name.rpartition("/")[0] for name, kind in kinds.items() if kind == "ReduceMean" and "/" in name}
    return tuple(name for name, kind in kinds.items() if name.rpartition("/")[0] in norms and kind != "Constant")
