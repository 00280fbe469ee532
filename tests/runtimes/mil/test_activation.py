"""The activations against coremltools' value_inference; against PyTorch where that is silent or differs from MIL."""

import numpy as np
import pytest
import torch
from coremltools.converters.mil.mil import Builder as mb
from hypothesis import given
from hypothesis import strategies as st

from edgestep.artifact import BadInput
from edgestep.runtimes.mil.ops.activation import gelu
from tests.runtimes.mil.built import (
    IOS15,
    IOS17,
    evaluated,
    evaluated_program,
    floats,
    held_to_inference,
    inferred,
    quick,
    same,
    shapes,
)

PLAIN = ("relu", "relu6", "sigmoid", "softplus", "softsign")
ONE = ("elu", "leaky_relu", "thresholded_relu")
TWO = ("clamped_relu", "linear_activation", "scaled_tanh", "sigmoid_hard")
NUMBERS = st.floats(0.125, 2, width=16)


@given(shapes().flatmap(lambda shape: floats(shape, -9, 9)))
@quick
def test_activations_of_x_alone(x):
    got = evaluated_program({"x": x}, lambda x: [getattr(mb, name)(x=x) for name in PLAIN])
    for name, one in zip(PLAIN, got, strict=True):
        same(one, inferred(name, x=x)[0])


@given(shapes().flatmap(floats))
@quick
def test_silu_is_pytorchs(x):
    same(evaluated("silu", {"x": x})[0], torch.nn.functional.silu(torch.from_numpy(x)).numpy())


@given(shapes().flatmap(floats), NUMBERS, NUMBERS)
@quick
def test_activations_with_constants(x, alpha, beta):
    a, b = np.float32(alpha), np.float32(beta)
    got = evaluated_program(
        {"x": x},
        lambda x: [getattr(mb, n)(x=x, alpha=a) for n in ONE] + [getattr(mb, n)(x=x, alpha=a, beta=b) for n in TWO],
    )
    want = [inferred(n, x=x, alpha=a)[0] for n in ONE] + [inferred(n, x=x, alpha=a, beta=b)[0] for n in TWO]
    for one, other in zip(got, want, strict=True):
        same(one, other)


def test_constants_may_be_of_another_type_from_ios_17_on():
    x = np.array([-2, -0.5, 0.5, 2], np.float16)
    for name in TWO:
        held_to_inference(name, {"x": x}, alpha=np.float32(0.5), beta=np.float32(0.25), target=IOS17, rtol=2e-3)


def test_clamped_relu_of_a_negative_bound_is_mils():
    x = np.array([-4, -1, 0, 1], np.float32)
    (got,) = evaluated("clamped_relu", {"x": x}, alpha=np.float32(0.5), beta=np.float32(-1))
    same(got, [-2, -1, -1, -1])  # min(beta, x) or min(beta, alpha x): value_inference adds the two


@pytest.mark.parametrize("mode", ["EXACT", "TANH_APPROXIMATION", "SIGMOID_APPROXIMATION"])
@given(x=shapes().flatmap(floats))
@quick
def test_gelu_in_each_mode(mode, x):
    held_to_inference("gelu", {"x": x}, mode=mode)


def test_gelu_of_a_mode_that_mil_has_not_is_one_line():
    with pytest.raises(BadInput, match="got gelu's mode 'NEARLY'; expected one of EXACT"):
        gelu(torch.zeros(1), "NEARLY")


@given(shapes(4, 4).flatmap(lambda s: st.tuples(floats(s), floats(s[1], 0.125, 2), floats(s[1], 0.125, 2))))
@quick
def test_a_constant_for_each_channel(case):
    x, alpha, beta = case
    held_to_inference("prelu", {"x": x}, alpha=alpha)
    held_to_inference("softplus_parametric", {"x": x}, alpha=alpha, beta=beta)


@pytest.mark.parametrize("shape", [(2, 3, 4), (1, 3, 2, 2, 2)])
def test_prelu_of_other_ranks(shape):
    x = np.linspace(-3, 3, np.prod(shape), dtype=np.float32).reshape(shape)
    held_to_inference("prelu", {"x": x}, alpha=np.full(3, 0.25, np.float32))


def test_softplus_is_finite_wherever_it_is():
    x = np.array([-1000, 0, 1000], np.float32).reshape(1, 1, 3)
    want = [[[0, np.log(2), 1000]]]
    same(evaluated("softplus", {"x": x})[0], want)
    one = np.ones(1, np.float32)
    same(evaluated("softplus_parametric", {"x": x}, alpha=one, beta=one)[0], want)


@given(shapes(2, 4).flatmap(lambda s: st.tuples(floats(s, -50, 50), st.integers(-len(s), len(s) - 1))))
@quick
def test_softmax_along_any_axis(case):
    x, axis = case
    held_to_inference("softmax", {"x": x}, axis=axis)


def test_softmax_with_masked_places():
    x = np.array([[0, -np.inf, 1], [-np.inf, -np.inf, -np.inf]], np.float32)
    held_to_inference("softmax", {"x": x}, target=IOS15)


@pytest.mark.parametrize("op", PLAIN)
def test_what_is_no_number_stays_none(op):
    held_to_inference(op, {"x": np.array([np.nan, 1.0], np.float32)})


@pytest.mark.parametrize("op", [*ONE, *TWO])
def test_what_is_no_number_stays_none_with_constants(op):
    constants = {"alpha": np.float32(0.5), "beta": np.float32(0.5)} if op in TWO else {"alpha": np.float32(0.5)}
    assert np.isnan(evaluated(op, {"x": np.array([np.nan, 1.0], np.float32)}, **constants)[0]).tolist() == [True, False]
