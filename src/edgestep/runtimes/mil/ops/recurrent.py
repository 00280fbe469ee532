"""MIL's recurrent layers -> a loop over the steps of [s, b, I].

A reversed layer gives its steps in the order in which it took them, last of x first; the backward half of a
bidirectional one in the order of x.
"""

from collections.abc import Callable

import torch
from torch.nn import functional

from edgestep.runtimes.mil.arguments import flag, number, one_of
from edgestep.runtimes.mil.ops.families import Op

ACTIVATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "hard_sigmoid": lambda x: (0.2 * x + 0.5).clamp(0, 1),
    "linear": lambda x: x,
    "relu": torch.relu,
    "scaled_tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "sigmoid_hard": lambda x: (0.2 * x + 0.5).clamp(0, 1),
    "tanh": torch.tanh,
}
"""MIL's name -> function; a scaled tanh has no way to be given its factors here, and is plain."""
Flag = torch.Tensor | bool
States = tuple[torch.Tensor, ...]
Step = Callable[[torch.Tensor, States], States]


def rnn(
    x: torch.Tensor,
    initial_h: torch.Tensor,
    weight_ih: torch.Tensor,
    weight_hh: torch.Tensor,
    bias: torch.Tensor | None = None,
    direction: str = "forward",
    output_sequence: Flag = False,
    activation: str = "tanh",
) -> States:
    """h = activation(W_ih x + W_hh h + b) -> steps [s or 1, b, H], the last h [b, H]."""
    act = _activation(activation)

    def step(part: torch.Tensor, held: States) -> States:
        return (act(part + functional.linear(held[0], weight_hh)),)

    return _run(_turned(x, direction), weight_ih, bias, step, (initial_h,), output_sequence)


def gru(
    x: torch.Tensor,
    initial_h: torch.Tensor,
    weight_ih: torch.Tensor,
    weight_hh: torch.Tensor,
    bias: torch.Tensor | None = None,
    direction: str = "forward",
    output_sequence: Flag = False,
    recurrent_activation: str = "sigmoid",
    activation: str = "tanh",
    reset_after: Flag = False,
    input_bias: torch.Tensor | None = None,
) -> States:
    """Gates in the order reset, output, update -> steps [s or 1, b, H], the last h [b, H].

    The reset gate multiplies h, as coremltools' tests have it where the text of MIL says W h; with `reset_after`
    (iOS 18) it multiplies W h + bias, and `input_bias` is what x has of its own.
    """
    gate, act, after = _activation(recurrent_activation), _activation(activation), flag(reset_after)
    w_r, w_o, w_z = weight_hh.chunk(3)
    hidden = torch.zeros_like(weight_hh[:, 0]) if bias is None else bias
    b_r, b_o, b_z = hidden.chunk(3)

    def step(part: torch.Tensor, held: States) -> States:
        (h,), (p_r, p_o, p_z) = held, part.chunk(3, -1)
        r = gate(p_r + functional.linear(h, w_r, b_r))
        z = gate(p_z + functional.linear(h, w_z, b_z))
        o = act(p_o + (r * functional.linear(h, w_o, b_o) if after else functional.linear(r * h, w_o, b_o)))
        return ((1 - z) * o + z * h,)

    return _run(_turned(x, direction), weight_ih, input_bias, step, (initial_h,), output_sequence)


def lstm(
    x: torch.Tensor,
    initial_h: torch.Tensor,
    initial_c: torch.Tensor,
    weight_ih: torch.Tensor,
    weight_hh: torch.Tensor,
    bias: torch.Tensor | None = None,
    peephole: torch.Tensor | None = None,
    weight_ih_back: torch.Tensor | None = None,
    weight_hh_back: torch.Tensor | None = None,
    bias_back: torch.Tensor | None = None,
    peephole_back: torch.Tensor | None = None,
    direction: str = "forward",
    output_sequence: Flag = False,
    recurrent_activation: str = "sigmoid",
    cell_activation: str = "tanh",
    activation: str = "tanh",
    clip: torch.Tensor | float | None = None,
) -> States:
    """Gates in the order input, forget, output, cell -> steps [s or 1, b, D * H], the last h and c [b, D * H]."""
    acts = _activation(recurrent_activation), _activation(cell_activation), _activation(activation)
    limit = None if clip is None else number(clip)
    one_of("direction", direction, ("forward", "reverse", "bidirectional"))
    if direction != "bidirectional":
        step = _lstm_step(weight_hh, peephole, acts, limit)
        return _run(_turned(x, direction), weight_ih, bias, step, (initial_h, initial_c), output_sequence)
    if weight_ih_back is None or weight_hh_back is None:
        raise ValueError("a bidirectional lstm without weights of the way back")
    (h, h_back), (c, c_back) = initial_h.chunk(2, -1), initial_c.chunk(2, -1)
    there = _run(x, weight_ih, bias, _lstm_step(weight_hh, peephole, acts, limit), (h, c), output_sequence)
    step = _lstm_step(weight_hh_back, peephole_back, acts, limit)
    steps, *last = _run(x.flip(0), weight_ih_back, bias_back, step, (h_back, c_back), output_sequence)
    return tuple(torch.cat(both, -1) for both in zip(there, (steps.flip(0), *last), strict=True))


def _lstm_step(
    weight_hh: torch.Tensor,
    peephole: torch.Tensor | None,
    acts: tuple[Callable[[torch.Tensor], torch.Tensor], ...],
    limit: float | None,
) -> Step:
    gate, cell, out = acts
    p_i, p_f, p_o = (0.0, 0.0, 0.0) if peephole is None else peephole.chunk(3)

    def step(part: torch.Tensor, held: States) -> States:
        h, c = held
        i, f, o, z = (part + functional.linear(h, weight_hh)).chunk(4, -1)
        c_new = gate(f + p_f * c) * c + gate(i + p_i * c) * cell(z)
        if limit is not None:
            c_new = c_new.clamp(-limit, limit)
        return gate(o + p_o * c_new) * out(c_new), c_new

    return step


def _run(
    x: torch.Tensor, weight_ih: torch.Tensor, bias: torch.Tensor | None, step: Step, held: States, sequence: Flag
) -> States:
    """Return the steps' h, or the last alone, and the states after the last step."""
    steps = []
    for part in functional.linear(x, weight_ih, bias):
        held = step(part, held)
        steps.append(held[0])
    return torch.stack(steps if flag(sequence) else steps[-1:]), *held


def _turned(x: torch.Tensor, direction: str) -> torch.Tensor:
    return x.flip(0) if one_of("direction", direction, ("forward", "reverse")) == "reverse" else x


def _activation(name: str) -> Callable[[torch.Tensor], torch.Tensor]:
    return ACTIVATIONS[one_of("activation", name.lower(), tuple(ACTIVATIONS))]


OPS: dict[str, Op] = {"gru": gru, "lstm": lstm, "rnn": rnn}
