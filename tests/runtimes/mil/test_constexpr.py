"""Compressed constants: what coremltools.optimize made of real weights, against its own decompression."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import coremltools as ct
import coremltools.optimize as cto
import numpy as np
import pytest
from coremltools.converters.mil.mil import Builder as mb
from coremltools.converters.mil.mil import types
from coremltools.converters.mil.mil.ops.defs.iOS16 import constexpr_ops as ios16
from coremltools.converters.mil.mil.ops.defs.iOS18 import compression as ios18
from hypothesis import given
from hypothesis import strategies as st

from edgestep.runtimes.mil.ops.registry import OPS
from edgestep.runtimes.mil_evaluator import MilEvaluator
from tests.runtimes.mil.built import quick, same
from tests.runtimes.mil.tensors import tensor, tensors

coreml = cto.coreml
SIDE = 64
SEEDS = st.integers(0, 99)


def model(target: Any, precision: Any = ct.precision.FLOAT16) -> ct.models.MLModel:
    """Return a convolution and a linear layer, weights of 4096 numbers each."""
    numbers = np.random.default_rng(0)
    kernel = numbers.standard_normal((SIDE, SIDE, 1, 1), np.float32)
    weight = numbers.standard_normal((SIDE, SIDE), np.float32)

    @mb.program(input_specs=[mb.TensorSpec((1, SIDE, 2, 2), types.fp32)], opset_version=target)
    def program(x):
        rows = mb.reshape(x=mb.conv(x=x, weight=kernel, name="conv"), shape=[4, SIDE])
        return mb.linear(x=rows, weight=weight, name="out")

    return ct.convert(program, minimum_deployment_target=target, compute_precision=precision, skip_model_load=True)


def quantized(**options: Any) -> Callable[[Any], Any]:
    config = coreml.OptimizationConfig(coreml.OpLinearQuantizerConfig(weight_threshold=1, **options))
    return lambda made: coreml.linear_quantize_weights(made, config)


def palettized(bits: int, *, joint: bool = False, **options: Any) -> Callable[[Any], Any]:
    config = coreml.OptimizationConfig(
        coreml.OpPalettizerConfig(mode="uniform", nbits=bits, weight_threshold=1, **options)
    )
    return lambda made: coreml.palettize_weights(made, config, joint_compression=joint)


def clustered(made: Any) -> Any:
    config = coreml.OpPalettizerConfig(mode="kmeans", nbits=4, weight_threshold=1, cluster_dim=2)
    return coreml.palettize_weights(made, coreml.OptimizationConfig(config))


def pruned(made: Any) -> Any:
    config = coreml.OpMagnitudePrunerConfig(target_sparsity=0.6, weight_threshold=1)
    return coreml.prune_weights(made, coreml.OptimizationConfig(config))


def joined(*steps: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def both(made: Any) -> Any:
        for step in steps:
            made = step(made)
        return made

    return both


def then_quantized(made: Any) -> Any:
    options = {"mode": "linear_symmetric", "granularity": "per_tensor", "weight_threshold": 1}
    config = coreml.OptimizationConfig(coreml.OpLinearQuantizerConfig(**options))
    return coreml.linear_quantize_weights(made, config, joint_compression=True)


GROUPED = {"granularity": "per_grouped_channel", "group_size": 16}
COMPRESSIONS: dict[str, tuple[Any, Callable[[Any], Any]]] = {
    "w8": (ct.target.iOS16, quantized(mode="linear_symmetric")),
    "w8 with zero points": (ct.target.iOS16, quantized(mode="linear", dtype="uint8")),
    "p8": (ct.target.iOS16, palettized(8)),
    "p6": (ct.target.iOS16, palettized(6)),
    "p4": (ct.target.iOS16, palettized(4)),
    "p2": (ct.target.iOS16, palettized(2)),
    "p1": (ct.target.iOS16, palettized(1)),
    "pruned": (ct.target.iOS16, pruned),
    "w8, iOS 18": (ct.target.iOS18, quantized(mode="linear_symmetric")),
    "w8 of one scale": (ct.target.iOS18, quantized(mode="linear", granularity="per_tensor")),
    "w4 in blocks": (ct.target.iOS18, quantized(dtype="int4", granularity="per_block", block_size=32)),
    "w4 in blocks with zero points": (
        ct.target.iOS18,
        quantized(mode="linear", dtype="uint4", granularity="per_block", block_size=16),
    ),
    "p8, iOS 18": (ct.target.iOS18, palettized(8)),
    "p6 in groups": (ct.target.iOS18, palettized(6, **GROUPED)),
    "p4 in groups": (ct.target.iOS18, palettized(4, **GROUPED)),
    "p3 in groups": (ct.target.iOS18, palettized(3, **GROUPED)),
    "p2 in groups of inputs": (ct.target.iOS18, palettized(2, channel_axis=1, **GROUPED)),
    "p1, iOS 18": (ct.target.iOS18, palettized(1)),
    "p4 with a scale for each channel": (ct.target.iOS18, palettized(4, enable_per_channel_scale=True)),
    "p4 of vectors": (ct.target.iOS18, clustered),
    "p4 with a table of int8": (ct.target.iOS18, joined(palettized(4, **GROUPED), then_quantized)),
    "pruned, iOS 18": (ct.target.iOS18, pruned),
    "pruned, then w8": (ct.target.iOS18, joined(pruned, then_quantized)),
    "pruned, then p4": (ct.target.iOS18, joined(pruned, palettized(4, joint=True))),
}
"""What it is -> (target, what coremltools.optimize does to the model)."""


@functools.cache
def compressed(name: str) -> Any:
    target, compress = COMPRESSIONS[name]
    return compress(model(target))


def operations(made: Any) -> set[str]:
    return {op.op_type for op in made._mil_program.functions["main"].operations}


@pytest.mark.parametrize("name", COMPRESSIONS)
def test_a_compressed_model_is_its_decompression(name: str, tmp_path: Path):
    made = compressed(name)
    assert any(kind.startswith("constexpr_") for kind in operations(made))
    x = {"x": np.random.default_rng(1).standard_normal((1, SIDE, 2, 2), np.float32)}
    outputs = []
    for which, variant in enumerate((made, coreml.decompress_weights(made))):
        path = tmp_path / f"{which}.mlpackage"
        variant.save(str(path))
        with MilEvaluator(path, numerics="fp16") as session:
            outputs.append(session.run(x)["out"])
    same(outputs[0], outputs[1], rtol=0, atol=0)


def test_they_are_every_constexpr_that_coremltools_writes():
    written = {kind for name in COMPRESSIONS for kind in operations(compressed(name))}
    assert {name for name in OPS if name.startswith("constexpr_")} - written == {"constexpr_cast"}


@quick
@given(seed=SEEDS, axis=st.integers(-2, 1), vectors=st.booleans())
@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_constexpr_affine_dequantize(dtype: str, seed: int, axis: int, vectors: bool):
    numbers = np.random.default_rng(seed)
    size = (3, 4)[axis] if vectors else ()
    data, zero = (numbers.integers(0, 100, n).astype(dtype) for n in ((3, 4), size))
    scale = np.asarray(numbers.random(size), np.float32)
    wanted = ios16.constexpr_affine_dequantize.decompress(data, zero, scale, axis)
    got = OPS["constexpr_affine_dequantize"](**tensors(quantized_data=data, zero_point=zero, scale=scale, axis=axis))
    same(got.numpy(), wanted)


@quick
@given(seed=SEEDS, counts=st.tuples(st.sampled_from([1, 2, 4]), st.sampled_from([1, 3, 6])), shifted=st.booleans())
def test_constexpr_blockwise_shift_scale(seed: int, counts: tuple[int, int], shifted: bool):
    numbers = np.random.default_rng(seed)
    data, offset = (numbers.integers(-8, 8, size).astype(np.int8) for size in ((4, 6), counts))
    scale = numbers.random(counts).astype(np.float32)
    wanted = ios18.constexpr_blockwise_shift_scale.decompress(data, scale, offset if shifted else None)
    more = {"offset": offset} if shifted else {}
    same(OPS["constexpr_blockwise_shift_scale"](**tensors(data=data, scale=scale, **more)).numpy(), wanted)


@quick
@given(seed=SEEDS, shape=st.tuples(*[st.integers(1, 5)] * 2))
@pytest.mark.parametrize("bits", [1, 2, 4, 6, 8])
def test_constexpr_lut_to_dense_of_packed_bytes(bits: int, seed: int, shape: tuple[int, int]):
    numbers = np.random.default_rng(seed)
    count = int(np.prod(shape))
    lut = numbers.standard_normal(2**bits).astype(np.float32)
    packed = numbers.integers(0, 256, -(-count * bits // 8)).astype(np.uint8)
    wanted = ios16.constexpr_lut_to_dense.decompress(lut, packed, shape)
    got = OPS["constexpr_lut_to_dense"](**tensors(indices=packed, lut=lut, shape=np.array(shape)))
    same(got.numpy(), wanted)


@quick
@given(
    seed=SEEDS,
    counts=st.tuples(st.sampled_from([1, 2, 4]), st.sampled_from([1, 3])),
    vector=st.sampled_from([None, (1, 0), (2, 0), (3, 1), (2, -1)]),
)
@pytest.mark.parametrize("dtype", [np.float32, np.int8])
def test_constexpr_lut_to_dense_in_blocks(dtype: type, seed: int, counts: tuple[int, int], vector: Any):
    numbers = np.random.default_rng(seed)
    indices = numbers.integers(0, 8, (4, 3)).astype(np.uint8)
    lut = (numbers.standard_normal((*counts, 8, vector[0] if vector else 1)) * 50).astype(dtype)
    axis = vector[1] if vector else None
    wanted = ios18.constexpr_lut_to_dense.decompress(indices, lut, axis)
    more = {} if axis is None else {"vector_axis": axis}
    same(OPS["constexpr_lut_to_dense"](**tensors(indices=indices, lut=lut, **more)).numpy(), wanted)


def test_constexpr_sparse_to_dense_of_both_systems():
    numbers = np.random.default_rng(0)
    mask = (numbers.random((3, 5)) < 0.5).astype(np.uint8)
    kept = numbers.standard_normal(mask.sum()).astype(np.float32)
    packed = np.packbits(mask, bitorder="little")
    wanted = ios18.constexpr_sparse_to_dense.decompress(kept, mask)
    sparse_to_dense = OPS["constexpr_sparse_to_dense"]
    same(sparse_to_dense(**tensors(nonzero_data=kept, mask=mask)).numpy(), wanted)
    old = sparse_to_dense(**tensors(nonzero_data=kept, mask=packed, shape=np.array([3, 5])))
    same(old.numpy(), wanted)


@pytest.mark.parametrize("vector", [None, (2, 0), (3, 1), (2, -1)])
def test_constexpr_lut_to_sparse(vector: tuple[int, int] | None):
    numbers = np.random.default_rng(0)
    mask = (numbers.random((4, 3)) < 0.6).astype(np.uint8)
    kept = numbers.integers(0, 4, mask.sum()).astype(np.uint8)
    lut = numbers.standard_normal((2, 1, 4, vector[0] if vector else 1)).astype(np.float32)
    axis = vector[1] if vector else None
    wanted = ios18.constexpr_lut_to_sparse.decompress(mask, kept, lut, axis)
    more = {} if axis is None else {"vector_axis": axis}
    got = OPS["constexpr_lut_to_sparse"](**tensors(indices_mask=mask, indices_nonzero_data=kept, lut=lut, **more))
    for one, want in zip(got, wanted, strict=True):
        same(one.numpy(), want)


@pytest.mark.parametrize("shifted", [False, True])
def test_constexpr_sparse_blockwise_shift_scale(shifted: bool):
    numbers = np.random.default_rng(0)
    mask = (numbers.random((4, 6)) < 0.6).astype(np.uint8)
    kept, offset = (numbers.integers(-8, 8, size).astype(np.int8) for size in (mask.sum(), (2, 3)))
    scale = numbers.random((2, 3)).astype(np.float32)
    wanted = ios18.constexpr_sparse_blockwise_shift_scale.decompress(mask, kept, scale, offset if shifted else None)
    more = {"offset": offset} if shifted else {}
    got = OPS["constexpr_sparse_blockwise_shift_scale"](
        **tensors(data_mask=mask, nonzero_data=kept, scale=scale, **more)
    )
    for one, want in zip(got, wanted, strict=True):
        same(one.numpy(), want)


def test_constexpr_cast():
    got = OPS["constexpr_cast"](tensor(np.array([0.5, -2], np.float16)), "fp32")
    same(got.numpy(), [0.5, -2])
