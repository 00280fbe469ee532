"""What bisection asks of a model file: its operations, the values between them, and a run with these taken out.

`exposed` leaves the graph as it is and also returns what is inside. `cut` parts it at some values: whoever read one
reads what is fed in its place, so that each piece of the graph runs by itself, all of them in one run.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

Arrays = Mapping[str, np.ndarray]
Shape = tuple[int, ...]
QUANTIZES = {"QuantizeLinear", "DequantizeLinear", "FakeQuantize", "Cast", "Convert"}
SMOOTHS = "smooth_quant"
"""In the name of a multiplication, NNCF's or ours, between a layer and the one that reads it."""


@dataclass(frozen=True)
class GraphNode:
    """One operation: `unet.conv_in/Conv`, its type in the format's own words, and the values that it reads and makes.

    An input that is left out is "". `automatic`: the runtime made it of another operation, and numbered it itself.
    """

    name: str
    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    automatic: bool = False

    @property
    def changes_numbers_only(self) -> bool:
        """Whether it rounds, converts or scales for quantization: what is behind it stands for what is before it."""
        return self.op in QUANTIZES or SMOOTHS in self.name


@dataclass(frozen=True)
class GraphView:
    """A graph: `nodes` in an order in which they can run, without constants; a size of -1 in `shapes` is any size.

    `constants` are the values that depend on no input. `outputs` maps the component's output names to values.
    """

    nodes: tuple[GraphNode, ...]
    inputs: tuple[str, ...]
    outputs: Mapping[str, str]
    shapes: Mapping[str, Shape]
    constants: frozenset[str]

    def shape(self, output: str) -> Shape:
        """Return the shape of one of the component's outputs."""
        return self.shapes[self.outputs[output]]


class Probe(Protocol):
    """A model file that can be looked into. Both ways to run take the component's feeds by input name."""

    view: GraphView

    def exposed(self, values: Sequence[str]) -> Callable[[Arrays], dict[str, np.ndarray]]:
        """Return what runs the graph as it is and returns these values by name."""
        ...

    def cut(self, values: Sequence[str]) -> Callable[[Arrays, Arrays], dict[str, np.ndarray]]:
        """Return what runs (feeds, what is read in place of each value) and returns what the graph made of each."""
        ...


def constants_of(nodes: Sequence[GraphNode], known: set[str]) -> frozenset[str]:
    """Return `known` and every value that is made of those alone; `nodes` in order. A node without inputs is known."""
    found = set(known)
    for node in nodes:
        if all(not value or value in found for value in node.inputs):
            found.update(node.outputs)
    return frozenset(found)
