"""A graph that was cut in pieces -> what each piece was fed: the graph's inputs, and what those before it gave."""

from collections.abc import Sequence
from pathlib import Path

from edgestep.quantize.coreml.evaluated import Evaluate, Feed, required
from edgestep.quantize.coreml.package import read_spec


def feeds_of_next(
    piece: Path, following: Path, feeds: Sequence[Feed], known: Sequence[Feed], evaluate: Evaluate | None
) -> tuple[list[Feed], list[Feed]]:
    """Return what the piece after this one was fed, and all that is known then; `known` holds the values so far."""
    names = [feature.name for feature in read_spec(following).description.input]
    with required(evaluate, "a graph in pieces")(piece) as opened:
        grown: list[Feed] = [{**old, **opened.run(feed)} for old, feed in zip(known, feeds, strict=True)]
    return [{name: values[name] for name in names} for values in grown], grown


def inputs_of(piece: Path, known: Sequence[Feed]) -> list[Feed]:
    """Return of what is known that which the first piece takes."""
    names = [feature.name for feature in read_spec(piece).description.input]
    return [{name: values[name] for name in names} for values in known]
