"""A small ML Program with the names that our exports give: conv_in, layers that may be quantized, conv_out, a mask."""

from pathlib import Path

import coremltools as ct
import numpy as np
from coremltools.converters.mil.mil import Builder as mb
from coremltools.converters.mil.mil import Function, Program, types

from edgestep.mlpackage.layout import WEIGHTS
from edgestep.quantize.coreml.package import read_spec
from edgestep.quantize.coreml.weights import Weight, weights_of

CHANNELS, WIDTH, SIDE = 4, 48, 8
LAYERS = ("p_unet_mid_block_resnets_0_conv1_weight", "p_unet_ff_net_0_proj_weight", "p_unet_ff_net_2_weight")
"""Weights of the program that a scheme may touch."""
FLOAT = ("p_unet_conv_in_weight", "p_unet_conv_out_weight")
MASK, NAMELESS = "p_unet_mask_weight", "folded_weight_0"


def save_small_unet(
    path: Path, opset: ct.target = ct.target.iOS17, mask: float | None = None, signs: bool = False
) -> Path:
    """Write `sample` [1, 4, 8, 8] -> conv_in, conv1, two linears that read one value, conv_out -> `out`, float32.

    `mask` goes into a constant that a matmul reads, as a causal mask of -inf may. `signs`: weights of two values.
    """
    random = np.random.default_rng(0)

    def weight(name: str, *shape: int) -> object:
        values = random.standard_t(4, shape)
        values = (np.sign(values) if signs else values) / np.sqrt(np.prod(shape[1:]))
        return mb.const(val=values.astype(np.float32), name=name)

    fed = {"sample": mb.placeholder(shape=(1, CHANNELS, SIDE, SIDE), dtype=types.fp32)}
    with Function(fed, opset_version=opset) as function:
        x = mb.conv(x=function.inputs["sample"], weight=weight(FLOAT[0], 64, CHANNELS, 3, 3), pad_type="same")
        x = mb.relu(x=mb.conv(x=x, weight=weight(LAYERS[0], WIDTH, 64, 3, 3), pad_type="same", name="conv1"))
        x = mb.reshape(x=mb.transpose(x=x, perm=[0, 2, 3, 1]), shape=[1, SIDE * SIDE, WIDTH], name="tokens")
        one = mb.linear(x=x, weight=weight(LAYERS[1], WIDTH, WIDTH), name="proj")
        other = mb.linear(x=x, weight=weight(LAYERS[2], WIDTH, WIDTH), name="net_2")
        x = mb.add(x=mb.mul(x=mb.sigmoid(x=one), y=other), y=x)
        x = mb.matmul(x=mb.const(val=_mixing(mask), name="mixing"), y=x) if mask is None else _masked(x, mask)
        x = mb.matmul(x=x, y=weight(NAMELESS, WIDTH, WIDTH))
        x = mb.transpose(x=mb.reshape(x=x, shape=[1, SIDE, SIDE, WIDTH]), perm=[0, 3, 1, 2])
        x = mb.conv(x=x, weight=weight(FLOAT[1], CHANNELS, WIDTH, 4, 4), pad_type="same")
        function.set_outputs([mb.identity(x=x, name="out")])
    return _saved(function, path, opset)


def _mixing(mask: float | None) -> np.ndarray:
    del mask
    return np.eye(SIDE * SIDE, dtype=np.float32)[:2].repeat(32, axis=0)


def _masked(x: object, mask: float) -> object:
    values = np.triu(np.full((WIDTH, WIDTH), mask, np.float32), 1)
    read = mb.matmul(x=x, y=mb.const(val=values, name=MASK))
    return mb.add(x=x, y=mb.mul(x=mb.cast(x=mb.greater(x=read, y=np.float32(0)), dtype="fp32"), y=np.float32(0.1)))


def _saved(function: Function, path: Path, opset: ct.target) -> Path:
    program = Program()
    program.add_function("main", function)
    model = ct.convert(
        program,
        convert_to="mlprogram",
        minimum_deployment_target=opset,
        compute_precision=ct.precision.FLOAT32,
        pass_pipeline=ct.PassPipeline.EMPTY,
        skip_model_load=True,
    )
    model.user_defined_metadata["edgestep.contract"] = "kept"
    model.short_description = "told"
    model.save(str(path))
    return path


def samples(count: int = 4, seed: int = 1) -> list[dict[str, np.ndarray]]:
    random = np.random.default_rng(seed)
    return [{"sample": random.standard_normal((1, CHANNELS, SIDE, SIDE)).astype(np.float32)} for _ in range(count)]


def weights_in(path: Path) -> dict[str, Weight]:
    """Return the float weights of a package by name."""
    return {weight.name: weight for weight in weights_of(read_spec(path), path / WEIGHTS)}


def decompressed(path: Path, into: Path) -> dict[str, np.ndarray]:
    """Return weights by name after coremltools itself has decompressed them."""
    model = ct.models.MLModel(str(path), skip_model_load=True)
    ct.optimize.coreml.decompress_weights(model).save(str(into))
    return {
        name.removesuffix("_quantized").removesuffix("_palettized"): np.array(weight.values, np.float32)
        for name, weight in weights_in(into).items()
    }


def operations(path: Path) -> list:
    function = read_spec(path).mlProgram.functions["main"]
    return list(function.block_specializations[function.opset].operations)
