"""Recurrent layers, against PyTorch's, and NumPy's loop for what PyTorch has none of."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from edgestep.artifact import BadInput
from edgestep.runtimes.mil.ops.recurrent import ACTIVATIONS
from edgestep.runtimes.mil.ops.registry import OPS
from tests.runtimes.mil.built import IOS15, IOS17, IOS18, evaluated, quick, same
from tests.runtimes.mil.tensors import tensors

HIDDEN, WIDTH = 3, 2
SEEDS, STEPS = st.integers(0, 99), st.integers(1, 4)
IFZO_TO_IFOZ, RZN_TO_RNZ = (0, 1, 3, 2), (0, 2, 1)
"""The order of PyTorch's gates -> that of MIL's."""


def arranged(weights: torch.Tensor, order: tuple[int, ...]) -> np.ndarray:
    parts = weights.detach().numpy().reshape(len(order), HIDDEN, -1)[list(order)]
    return parts.reshape(len(order) * HIDDEN, *weights.shape[1:])


@quick
@given(seed=SEEDS, steps=STEPS, batch=st.integers(1, 3), sequence=st.booleans())
@pytest.mark.parametrize("direction", ["forward", "reverse"])
@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
def test_rnn(nonlinearity: str, direction: str, seed: int, steps: int, batch: int, sequence: bool):
    torch.manual_seed(seed)
    layer: Any = torch.nn.RNN(WIDTH, HIDDEN, nonlinearity=nonlinearity)
    x, h = torch.randn(steps, batch, WIDTH), torch.randn(batch, HIDDEN)
    wanted, last = layer(x.flip(0) if direction == "reverse" else x, h[None])
    got = OPS["rnn"](
        x,
        h,
        layer.weight_ih_l0.detach(),
        layer.weight_hh_l0.detach(),
        (layer.bias_ih_l0 + layer.bias_hh_l0).detach(),
        direction=direction,
        output_sequence=sequence,
        activation=nonlinearity,
    )
    same(got[0].numpy(), (wanted if sequence else wanted[-1:]).detach().numpy())
    same(got[1].numpy(), last[0].detach().numpy())


@quick
@given(seed=SEEDS, steps=STEPS, batch=st.integers(1, 3), sequence=st.booleans(), biased=st.booleans())
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
def test_lstm(direction: str, seed: int, steps: int, batch: int, sequence: bool, biased: bool):
    torch.manual_seed(seed)
    both = direction == "bidirectional"
    layer = torch.nn.LSTM(WIDTH, HIDDEN, bias=biased, bidirectional=both)
    ways = [("", "")] + [("_reverse", "_back")] * both
    x = torch.randn(steps, batch, WIDTH)
    h, c = torch.randn(len(ways), batch, HIDDEN), torch.randn(len(ways), batch, HIDDEN)
    wanted, last = layer(x.flip(0) if direction == "reverse" else x, (h, c))
    weights: dict[str, Any] = {}
    for theirs, ours in ways:
        for kind in ("weight_ih", "weight_hh"):
            weights[kind + ours] = arranged(getattr(layer, f"{kind}_l0{theirs}"), IFZO_TO_IFOZ)
        if biased:
            sums = getattr(layer, f"bias_ih_l0{theirs}") + getattr(layer, f"bias_hh_l0{theirs}")
            weights["bias" + ours] = arranged(sums, IFZO_TO_IFOZ)
    states = {"initial_h": torch.cat(list(h), -1).numpy(), "initial_c": torch.cat(list(c), -1).numpy()}
    got = OPS["lstm"](**tensors(x=x.numpy(), **states, **weights), direction=direction, output_sequence=sequence)
    final = torch.cat((wanted[-1:, :, :HIDDEN], wanted[:1, :, HIDDEN:]), -1)
    same(got[0].numpy(), (wanted if sequence else final).detach().numpy())
    for ours, theirs in zip(got[1:], last, strict=True):
        same(ours.numpy(), torch.cat(list(theirs), -1).detach().numpy())


@quick
@given(seed=SEEDS, steps=STEPS, clip=st.sampled_from([0.05, 9.0]))
@pytest.mark.parametrize("names", [("hard_sigmoid", "relu", "linear"), ("sigmoid", "scaled_tanh", "tanh")])
def test_lstm_with_peepholes_a_clip_and_other_activations(names: tuple[str, ...], seed: int, steps: int, clip: float):
    numbers = np.random.default_rng(seed)
    x, h, c = (numbers.standard_normal((*n, HIDDEN)) for n in ((steps, 2), (2,), (2,)))
    w_x, w_h = numbers.standard_normal((2, 4 * HIDDEN, HIDDEN))
    bias, peephole = numbers.standard_normal(4 * HIDDEN), numbers.standard_normal(3 * HIDDEN)
    given_ = tensors(x=x, initial_h=h, initial_c=c, weight_ih=w_x, weight_hh=w_h, bias=bias, peephole=peephole)
    kinds = dict(zip(("recurrent_activation", "cell_activation", "activation"), names, strict=True))
    got = OPS["lstm"](**given_, **kinds, clip=torch.tensor(clip), output_sequence=True)
    gate, cell, out = (CLOSED[name] for name in names)
    p_i, p_f, p_o = np.split(peephole, 3)
    for part, made in zip(x, got[0].numpy(), strict=True):
        i, f, o, z = np.split(part @ w_x.T + h @ w_h.T + bias, 4, -1)
        c = np.clip(gate(f + p_f * c) * c + gate(i + p_i * c) * cell(z), -clip, clip)
        h = gate(o + p_o * c) * out(c)
        same(made, h, rtol=1e-4, atol=1e-5)
    same(got[2].numpy(), c, rtol=1e-4, atol=1e-5)


CLOSED: dict[str, Any] = {
    "hard_sigmoid": lambda x: np.clip(0.2 * x + 0.5, 0, 1),
    "linear": lambda x: x,
    "relu": lambda x: np.maximum(x, 0),
    "scaled_tanh": np.tanh,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "sigmoid_hard": lambda x: np.clip(0.2 * x + 0.5, 0, 1),
    "tanh": np.tanh,
}
"""MIL's activation -> formula."""


def test_every_activation_is_its_formula():
    x = np.linspace(-4, 4, 33, dtype=np.float32)
    assert ACTIVATIONS.keys() == CLOSED.keys()
    for name, function in ACTIVATIONS.items():
        same(function(torch.from_numpy(x)).numpy(), CLOSED[name](x))


@quick
@given(seed=SEEDS, steps=STEPS, batch=st.integers(1, 3), sequence=st.booleans())
def test_gru_with_reset_after_is_pytorchs(seed: int, steps: int, batch: int, sequence: bool):
    torch.manual_seed(seed)
    layer = torch.nn.GRU(WIDTH, HIDDEN)
    x, h = torch.randn(steps, batch, WIDTH), torch.randn(batch, HIDDEN)
    wanted, last = layer(x, h[None])
    names = {"weight_ih": "weight_ih", "weight_hh": "weight_hh", "bias": "bias_hh", "input_bias": "bias_ih"}
    weights = {ours: arranged(getattr(layer, f"{theirs}_l0"), RZN_TO_RNZ) for ours, theirs in names.items()}
    given_ = tensors(x=x.numpy(), initial_h=h.numpy(), **weights)
    got = OPS["gru"](**given_, reset_after=True, output_sequence=sequence)
    same(got[0].numpy(), (wanted if sequence else wanted[-1:]).detach().numpy())
    same(got[1].numpy(), last[0].detach().numpy())


@quick
@given(seed=SEEDS, steps=STEPS, biased=st.booleans())
@pytest.mark.parametrize("direction", ["forward", "reverse"])
def test_gru(direction: str, seed: int, steps: int, biased: bool):
    numbers = np.random.default_rng(seed)
    x, h = numbers.standard_normal((steps, 2, WIDTH)), numbers.standard_normal((2, HIDDEN))
    w_x, w_h = numbers.standard_normal((3 * HIDDEN, WIDTH)), numbers.standard_normal((3 * HIDDEN, HIDDEN))
    bias = numbers.standard_normal(3 * HIDDEN) * biased
    weights = {"weight_ih": w_x, "weight_hh": w_h} | ({"bias": bias} if biased else {})
    got = OPS["gru"](**tensors(x=x, initial_h=h, **weights), direction=direction, output_sequence=True)
    (x_r, x_o, x_z), (h_r, h_o, h_z), (b_r, b_o, b_z) = np.split(w_x, 3), np.split(w_h, 3), np.split(bias, 3)
    sigmoid = CLOSED["sigmoid"]
    for part, made in zip(x[::-1] if direction == "reverse" else x, got[0].numpy(), strict=True):
        r, z = sigmoid(part @ x_r.T + h @ h_r.T + b_r), sigmoid(part @ x_z.T + h @ h_z.T + b_z)
        h = (1 - z) * np.tanh(part @ x_o.T + (r * h) @ h_o.T + b_o) + z * h
        same(made, h, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("op", ["rnn", "gru", "lstm"])
@pytest.mark.parametrize("target", [IOS15, IOS17, IOS18])
def test_of_a_package(op: str, target: Any):
    gates = {"rnn": 1, "gru": 3, "lstm": 4}[op]
    numbers = np.random.default_rng(0)
    fed = {"x": numbers.standard_normal((4, 1, WIDTH), np.float32), "initial_h": np.zeros((1, HIDDEN), np.float32)}
    if op == "lstm":
        fed["initial_c"] = np.zeros((1, HIDDEN), np.float32)
    w_x = numbers.standard_normal((gates * HIDDEN, WIDTH), np.float32)
    w_h = numbers.standard_normal((gates * HIDDEN, HIDDEN), np.float32)
    got = evaluated(op, fed, target=target, weight_ih=w_x, weight_hh=w_h, output_sequence=True)
    alone = OPS[op](**tensors(**fed, weight_ih=w_x, weight_hh=w_h), output_sequence=True)
    assert len(got) == len(alone)
    for ours, theirs in zip(got, alone, strict=True):
        same(ours, theirs.numpy())


def test_a_direction_or_an_activation_that_is_none_is_refused():
    given_ = tensors(
        x=np.ones((1, 1, 1)), initial_h=np.ones((1, 1)), weight_ih=np.ones((1, 1)), weight_hh=np.ones((1, 1))
    )
    with pytest.raises(BadInput, match="direction 'up'"):
        OPS["rnn"](**given_, direction="up")
    with pytest.raises(BadInput, match="activation 'swish'"):
        OPS["rnn"](**given_, activation="swish")
