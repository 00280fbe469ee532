"""Norms, against coremltools' value_inference, and formulas in NumPy where it has none."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.runtimes.mil.built import IOS15, IOS17, evaluated, floats, held_to_inference, quick, same, shapes

SEEDS = st.integers(0, 99)


@quick
@given(data=st.data(), shape=shapes(1, 4, 5), scaled=st.booleans())
def test_layer_norm(data: st.DataObject, shape: tuple[int, ...], scaled: bool):
    axes = data.draw(st.lists(st.integers(0, len(shape) - 1), min_size=1, unique=True))
    signs = data.draw(st.lists(st.booleans(), min_size=len(axes), max_size=len(axes)))
    x = data.draw(floats(shape))
    constants = {}
    if scaled:
        of_axes = tuple(shape[axis] for axis in sorted(axes))
        constants = {name: data.draw(floats(of_axes)) for name in ("gamma", "beta")}
    axes = [axis - len(shape) if negative else axis for axis, negative in zip(axes, signs, strict=True)]
    held_to_inference("layer_norm", {"x": x}, axes=axes, epsilon=np.float32(0.1), atol=1e-5, **constants)


@quick
@given(data=st.data(), shape=shapes(3, 5))
def test_l2_norm(data: st.DataObject, shape: tuple[int, ...]):
    held_to_inference("l2_norm", {"x": data.draw(floats(shape))}, epsilon=np.float32(0.01))


@quick
@given(seed=SEEDS, spatial=shapes(1, 3), scaled=st.booleans())
@pytest.mark.parametrize("target", [IOS15, IOS17])
def test_batch_norm(target: object, seed: int, spatial: tuple[int, ...], scaled: bool):
    numbers = np.random.default_rng(seed)
    x, per = numbers.standard_normal((2, 3, *spatial), np.float32), (-1, *[1] * len(spatial))
    mean, variance = numbers.standard_normal(3, np.float32), numbers.random(3, np.float32)
    gamma, beta = numbers.standard_normal((2, 3), np.float32) if scaled else (np.ones(3), np.zeros(3))
    constants = {"gamma": gamma, "beta": beta} if scaled else {}
    (got,) = evaluated("batch_norm", {"x": x}, target=target, mean=mean, variance=variance, **constants)
    normed = (x - mean.reshape(per)) / np.sqrt(variance.reshape(per) + 1e-5)
    same(got, normed * gamma.reshape(per) + beta.reshape(per), rtol=1e-4, atol=1e-4)


@quick
@given(seed=SEEDS, spatial=shapes(1, 2))
def test_instance_norm(seed: int, spatial: tuple[int, ...]):
    numbers = np.random.default_rng(seed)
    x, per = numbers.standard_normal((2, 3, *spatial), np.float32), (-1, *[1] * len(spatial))
    gamma, beta = numbers.standard_normal((2, 3), np.float32)
    (got,) = evaluated("instance_norm", {"x": x}, gamma=gamma, beta=beta, epsilon=np.float32(0.01))
    over = tuple(range(2, x.ndim))
    normed = (x - x.mean(over, keepdims=True)) / np.sqrt(x.var(over, keepdims=True) + 0.01)
    same(got, normed * gamma.reshape(per) + beta.reshape(per), atol=1e-5)


@quick
@given(seed=SEEDS, channels=st.integers(1, 6), size=st.sampled_from([1, 3, 5]))
def test_local_response_norm(seed: int, channels: int, size: int):
    x = np.random.default_rng(seed).standard_normal((2, channels, 3), np.float32)
    settings = {"alpha": np.float32(0.3), "beta": np.float32(0.6), "k": np.float32(1.5)}
    (got,) = evaluated("local_response_norm", {"x": x}, size=size, **settings)
    around = [slice(max(0, c - size // 2), c + size // 2 + 1) for c in range(channels)]
    sums = np.stack([np.square(x[:, near]).sum(1) for near in around], 1)
    same(got, x / (1.5 + 0.3 / size * sums) ** 0.6)
