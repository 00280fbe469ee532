"""Choices of bytes and noise for each layer -> the one to take of each, with the least noise within a budget.

Rounding errors of different layers are independent, so their noises add up: minimise sum noise + price * bytes, where
the price is the lowest that keeps within the budget (Lagrange); what is left of the budget is spent greedily.
"""

from collections.abc import Mapping, Sequence

from edgestep.artifact import BadInput
from edgestep.quantize.coreml.sensitivity import Choice, Sensitivity

HALVINGS = 200


def solve_bits(layers: Sequence[Sensitivity], budget: int) -> Mapping[str, Choice]:
    """Return name -> choice, in `budget` bytes together; raise BadInput where even the smallest need more."""
    least = sum(min(choice.bytes for choice in layer.choices) for layer in layers)
    if least > budget:
        raise BadInput(
            f"got a budget of {budget:,} bytes; expected {least:,} or more, 2 bits a weight; allow more bits"
        )
    low, high = 0.0, 1.0
    while _bytes(_priced(layers, high)) > budget:
        high *= 2
    for _ in range(HALVINGS):
        price = (low + high) / 2
        low, high = (low, price) if _bytes(_priced(layers, price)) <= budget else (price, high)
    return _filled(layers, _priced(layers, high), budget)


def _priced(layers: Sequence[Sensitivity], price: float) -> dict[str, Choice]:
    return {
        layer.name: min(layer.choices, key=lambda choice: (choice.noise + price * choice.bytes, choice.bytes))
        for layer in layers
    }


def _filled(layers: Sequence[Sensitivity], chosen: dict[str, Choice], budget: int) -> dict[str, Choice]:
    """Take the best step up, in noise a byte, as long as one fits."""
    while True:
        left = budget - _bytes(chosen)
        steps = [
            ((chosen[layer.name].noise - choice.noise) / (choice.bytes - chosen[layer.name].bytes), layer.name, choice)
            for layer in layers
            for choice in layer.choices
            if 0 < choice.bytes - chosen[layer.name].bytes <= left and choice.noise < chosen[layer.name].noise
        ]
        if not steps:
            return chosen
        _, name, choice = max(steps, key=lambda step: (step[0], step[1]))
        chosen[name] = choice


def _bytes(chosen: Mapping[str, Choice]) -> int:
    return sum(choice.bytes for choice in chosen.values())
