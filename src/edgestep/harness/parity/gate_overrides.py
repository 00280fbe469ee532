"""`image PSNR>=30` -> a gate given by hand, in place of the scheme's; what was replaced stays in the result.

A limit is `>= N`, `<= N` or `= LOW..HIGH`; a measure goes by its name in the JSON (`image_psnr_db`) or in the reports
(`image PSNR`), in any case.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import replace

from edgestep.artifact import BadInput
from edgestep.harness.figures import measure_name
from edgestep.harness.parity.gates import Gate

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_TEXT = re.compile(rf"\s*(.+?)\s*(?:(>=|<=)\s*({_NUMBER})|=\s*({_NUMBER})\s*\.\.\s*({_NUMBER}))\s*")
HOW = "such as 'image PSNR>=30' or 'prompt sensitivity=0.9..1.1'"


def gate_from_text(text: str, gates: Sequence[Gate]) -> Gate:
    """Return the gate that `text` says, on one of the measures of `gates`; BadInput where it cannot be read."""
    match = _TEXT.fullmatch(text)
    if match is None:
        raise BadInput(f"got the gate {text!r}; expected a measure and its limit; write it {HOW}")
    name, sign, bound, low, high = match.groups()
    measure = _measure(name, gates)
    if sign is None:
        gate = Gate(measure, float(low), float(high))
    else:
        gate = Gate(measure, float(bound), None) if sign == ">=" else Gate(measure, None, float(bound))
    bounds = [bound for bound in (gate.low, gate.high) if bound is not None]
    if not all(math.isfinite(bound) for bound in bounds) or bounds != sorted(bounds):
        raise BadInput(f"got the gate {text!r}; expected finite limits, the lower first; write it {HOW}")
    return gate


def override_gates(gates: Sequence[Gate], overrides: Sequence[str | Gate]) -> tuple[Gate, ...]:
    """Return `gates` with those given by hand in their places, each with the scheme's own limit beside.

    Raises BadInput where an override cannot be read, is on a measure that `gates` lacks, or is given twice.
    """
    by_measure = {gate.measure: gate for gate in gates}
    given: dict[str, Gate] = {}
    for override in overrides:
        gate = gate_from_text(override, gates) if isinstance(override, str) else override
        measure = _measure(gate.measure, gates)
        if measure in given:
            raise BadInput(f"got two gates on {measure_name(measure)}; expected one for each measure; give one")
        given[measure] = replace(gate, scheme_limit=by_measure[measure].limit)
    return tuple(given.get(gate.measure, gate) for gate in gates)


def _measure(name: str, gates: Sequence[Gate]) -> str:
    wanted = " ".join(name.lower().split())
    for gate in gates:
        if wanted in (gate.measure, measure_name(gate.measure).lower()):
            return gate.measure
    known = ", ".join(measure_name(gate.measure) for gate in gates)
    raise BadInput(f"got a gate on {name!r}; expected a measure that this artifact shows: {known}; choose one")
