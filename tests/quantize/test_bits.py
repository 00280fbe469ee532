"""Bits within a budget, held against every way to choose them."""

from itertools import product

import numpy as np
import pytest

from edgestep.artifact import BadInput
from edgestep.quantize.bits import solve_bits
from edgestep.quantize.coreml.sensitivity import Choice, Sensitivity


def layers(count: int, seed: int) -> list[Sensitivity]:
    """Return layers of other sizes and sensitivities, whose noise falls 6 dB a bit, more or less."""
    random = np.random.default_rng(seed)
    made = []
    for i in range(count):
        size, slope = int(random.integers(100, 2000)), 10 ** random.uniform(-6, 0)
        choices = [Choice(b, size * b, slope * 4.0**-b * random.uniform(0.7, 1.4)) for b in (2, 4, 6, 8)]
        made.append(Sensitivity(f"layer{i}", tuple(choices)))
    return made


@pytest.mark.parametrize("seed", range(8))
def test_is_near_the_best_of_all_ways(seed: int):
    table = layers(6, seed)
    budget = sum(layer.choices[1].bytes for layer in table)
    chosen = solve_bits(table, budget)
    ways = [way for way in product(*(layer.choices for layer in table)) if sum(c.bytes for c in way) <= budget]
    best = min(sum(choice.noise for choice in way) for way in ways)
    assert set(chosen) == {layer.name for layer in table}
    assert sum(choice.bytes for choice in chosen.values()) <= budget
    assert sum(choice.noise for choice in chosen.values()) <= 1.6 * best


def test_all_that_fits_is_taken_and_a_small_budget_takes_the_least():
    table = layers(4, 0)
    most, least = (sum(layer.choices[i].bytes for layer in table) for i in (3, 0))
    assert {choice.bits for choice in solve_bits(table, most).values()} == {8}
    assert {choice.bits for choice in solve_bits(table, least).values()} == {2}


def test_the_layer_that_matters_gets_the_bits():
    def layer(name: str, noise: float) -> Sensitivity:
        return Sensitivity(name, tuple(Choice(b, 100 * b, noise * 4.0**-b) for b in (2, 4, 6, 8)))

    chosen = solve_bits([layer("much", 1000), layer("little", 1e-6)], 1000)
    assert (chosen["much"].bits, chosen["little"].bits) == (8, 2)


def test_refuses_a_budget_below_two_bits():
    with pytest.raises(BadInput, match="got a budget of 10 bytes"):
        solve_bits(layers(3, 0), 10)
