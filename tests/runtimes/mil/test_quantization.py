"""quantize and dequantize, against coremltools' value_inference."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.runtimes.mil.built import IOS17, evaluated, held_to_inference, inferred, quick, same, shapes


def parameters(numbers: np.random.Generator, shape: tuple[int, ...], axis: int | None, dtype: str) -> dict:
    """Return scale, zero point and axis: scalars, or vectors along an axis."""
    size = () if axis is None else shape[axis]
    kind = np.iinfo(dtype)
    zero = numbers.integers(kind.min, kind.max, size, endpoint=True).astype(dtype)
    scale = (numbers.random(size) + 0.01).astype(np.float32)
    return {"scale": np.float32(scale), "zero_point": zero} | ({} if axis is None else {"axis": axis})


@quick
@given(data=st.data(), shape=shapes(1, 4))
@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_quantize(dtype: str, data: st.DataObject, shape: tuple[int, ...]):
    numbers = np.random.default_rng(data.draw(st.integers(0, 99)))
    axis = data.draw(st.sampled_from([None, *range(-len(shape), len(shape))]))
    constants = parameters(numbers, shape, axis, dtype)
    x = (numbers.standard_normal(shape) * 90).astype(np.float32)
    held_to_inference("quantize", {"input": x}, target=IOS17, output_dtype=dtype, **constants)


def test_quantize_rounds_halves_to_even_and_clips():
    x = np.array([0.5, 1.5, -0.5, -2.5, 300, -300], np.float32)
    (got,) = evaluated("quantize", {"input": x}, target=IOS17, scale=np.float32(1), output_dtype="int8")
    same(got, [0, 2, 0, -2, 127, -128])


@quick
@given(data=st.data(), shape=shapes(1, 4))
@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_dequantize(dtype: str, data: st.DataObject, shape: tuple[int, ...]):
    numbers = np.random.default_rng(data.draw(st.integers(0, 99)))
    axis = data.draw(st.sampled_from([None, *range(-len(shape), len(shape))]))
    constants = parameters(numbers, shape, axis, dtype)
    kind = np.iinfo(dtype)
    levels = numbers.integers(kind.min, kind.max, shape, endpoint=True).astype(dtype)
    (got,) = evaluated("dequantize", {"input": levels}, target=IOS17, **constants)
    per = [1] * len(shape)
    if axis is not None:
        per[axis] = -1
    zero, scale = (constants[name].reshape(per) for name in ("zero_point", "scale"))
    same(got, (levels.astype(np.float64) - zero) * scale)


def test_there_and_back_is_within_half_a_step():
    x = np.linspace(-1, 1, 41, dtype=np.float32)
    constants = {"scale": np.float32(1 / 127), "output_dtype": "int8"}
    (levels,) = inferred("quantize", target=IOS17, input=x, **constants)
    (back,) = evaluated("dequantize", {"input": levels}, target=IOS17, scale=constants["scale"])
    assert np.abs(back - x).max() <= 0.5 / 127 * 1.001
