"""A graph and a component's taps -> which value of the graph is which tap, and which taps have none, and why.

Operations are named `<module>/<operator>`. Of a module without modules inside, the last value of the tap's shape is its
output, and the one value of that shape that it reads from elsewhere its input; of the others, the one value of that
shape that is read outside is the output. Where an exporter folded what lay between two modules (the time path, into
conv1's bias), the value that the first one gives is what the second one reads: the later tap counts.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from edgestep.harness.bisection.tap_layout import fits
from edgestep.harness.reference.taps import IN, Tap
from edgestep.runtimes.probe import GraphNode, GraphView

EXACT = re.compile(r"[^/]+/[A-Za-z]+(_\d+)?")
"""What an exporter names; a rewrite adds more behind it: unet.conv_in/Conv/WithoutBiases."""

WHOLE = {"last_hidden_state", "sample"}
"""Outputs that are what the component's last module gives."""

NO_OPERATION = "the graph has no operation of the module"
OTHER_CALLS = "the graph calls the module another number of times"
OTHER_SHAPE = "no value of its shape"
SEVERAL = "several values of its shape"
NO_NAME = "what makes it has no name of a module"
GRAPH_INPUT = "it is the graph's own input"
FOLDED = "what follows is folded into it"


@dataclass(frozen=True)
class Place:
    """A value of the graph, the tap that says what it should be, and the tap's order in time."""

    value: str
    tap: Tap
    order: int


@dataclass(frozen=True)
class Unplaced:
    """A tap that has no place, and why."""

    tap: Tap
    reason: str


def place_taps(
    graph: "Graph", taps: Sequence[Tap], results: Mapping[str, Tap]
) -> tuple[tuple[Place, ...], tuple[Unplaced, ...]]:
    """Return the places in the taps' order, one for each value, and the taps that have none.

    `taps` are one component's, in the order in which they happened; `results` maps the component's outputs to taps.
    """
    view = graph.view
    placed = [(tap, _place_of(graph, tap, taps)) for tap in taps]
    placed += [
        (tap, graph.source(view.outputs[name])) for name, tap in results.items() if fits(tap.shape, view.shape(name))
    ]
    found: dict[str, Place] = {}
    unplaced: list[Unplaced] = []
    for order, (tap, where) in enumerate(placed):
        if where not in view.shapes:
            unplaced.append(Unplaced(tap, where))
            continue
        earlier = found.get(where)
        if earlier is not None and earlier.tap.sha256 != tap.sha256:
            unplaced.append(Unplaced(earlier.tap, FOLDED))
        if earlier is None or earlier.tap.sha256 != tap.sha256:
            found[where] = Place(where, tap, order)
    done = {tuple(place.tap.sha256.items()) for place in found.values()}
    # The same tensor by another name, what is read and was given before, has its place.
    missing = tuple(one for one in unplaced if tuple(one.tap.sha256.items()) not in done)
    return tuple(sorted(found.values(), key=lambda place: place.order)), missing


def results_of(view: GraphView, taps: Sequence[Tap]) -> dict[str, Tap]:
    """Return output name -> tap of what a component's last module gave, where the output is that module's alone.

    OpenVINO calls the last operation after the output, so that its own name is lost.
    """
    found = {}
    for name in WHOLE & view.outputs.keys():
        last = [tap for tap in taps if tap.leaf and tap.port != IN and fits(tap.shape, view.shape(name))]
        if last:
            found[name] = last[-1]
    return found


def _place_of(graph: "Graph", tap: Tap, taps: Sequence[Tap]) -> str:
    return _input_place(graph, tap, taps) if tap.port == IN else _output_place(graph, tap, taps)


class Graph:
    """A view with what places are looked for by: makers and readers of values, and the module of each operation."""

    def __init__(self, view: GraphView) -> None:
        self.view = view
        self.maker = {value: node for node in view.nodes for value in node.outputs}
        self.readers: dict[str, list[GraphNode]] = defaultdict(list)
        for node in view.nodes:
            for value in dict.fromkeys(node.inputs):
                self.readers[value].append(node)
        self.module = self._modules()
        self.order = {node.name: i for i, node in enumerate(view.nodes)}
        self._calls: dict[str, list[list[GraphNode]]] = {}

    def source(self, value: str) -> str:
        """Return the value itself, before it was quantized, converted or smoothed."""
        node = self.maker.get(value)
        while node is not None and node.changes_numbers_only:
            value = node.inputs[0]
            node = self.maker.get(value)
        return value

    def real_readers(self, value: str) -> Iterable[GraphNode]:
        """Yield who reads a value, also where it is quantized, converted or smoothed before."""
        for node in self.readers[value]:
            if node.changes_numbers_only:
                yield from (reader for output in node.outputs for reader in self.real_readers(output))
            else:
                yield node

    def read_by(self, node: GraphNode) -> list[str]:
        """Return the values that an operation reads, without constants."""
        values = (self.source(value) for value in node.inputs if value)
        return list(dict.fromkeys(value for value in values if value not in self.view.constants))

    def calls(self, module: str) -> list[list[GraphNode]]:
        """Return the operations of each call of a module: those that are connected; in order of their numbers."""
        if module not in self._calls:
            nodes = [node for node in self.view.nodes if self.module.get(node.name) == module]
            self._calls[module] = sorted(self._connected(nodes), key=lambda call: min(_number(n.name) for n in call))
        return self._calls[module]

    def _connected(self, nodes: Sequence[GraphNode]) -> list[list[GraphNode]]:
        groups: list[list[GraphNode]] = []
        for node in nodes:
            read = set(self.read_by(node))
            touching = [group for group in groups if any(read & set(other.outputs) for other in group)]
            groups = [group for group in groups if group not in touching]
            groups.append([other for group in touching for other in group] + [node])
        return groups

    def _modules(self) -> dict[str, str]:
        """Return operation -> module; one without has that of its readers, where they agree: the parts of a norm."""
        modules: dict[str, str] = {}
        outputs = set(self.view.outputs.values())
        for node in reversed(self.view.nodes):
            if node.changes_numbers_only:
                continue
            module, slash, _ = node.name.partition("/")
            if not slash:
                read = {modules.get(n.name, "") for value in node.outputs for n in self.real_readers(value)}
                module = read.pop() if len(read) == 1 and outputs.isdisjoint(node.outputs) else ""
            modules[node.name] = module
        return modules


def _number(name: str) -> int:
    tail = name.rpartition("_")[2]
    return int(tail) if EXACT.fullmatch(name) and tail.isdigit() else 1


def _call(graph: Graph, tap: Tap, taps: Sequence[Tap]) -> list[GraphNode] | str:
    """Return the operations of a tap's call of a leaf, or why there are none.

    The graph may have fewer calls than PyTorch made: the activation of a folded time embedding is gone. So only calls
    whose output has the shape of this one are counted.
    """
    calls = graph.calls(tap.module)
    if not calls:
        return NO_OPERATION
    outputs = {t.call: t for t in taps if t.module == tap.module and t.port != IN}
    if tap.call not in outputs:
        return OTHER_SHAPE
    shape = outputs[tap.call].shape
    alike = [call for call in calls if any(_fits(graph, v, shape) for node in call for v in node.outputs)]
    same = [call for call in sorted(outputs) if outputs[call].shape == shape]
    if len(alike) != len(same):
        return OTHER_CALLS if alike else OTHER_SHAPE
    return alike[same.index(tap.call)]


def _output_place(graph: Graph, tap: Tap, taps: Sequence[Tap]) -> str:
    """Return a value, or why there is none."""
    if not tap.leaf:
        return _escaping(graph, tap)
    call = _call(graph, tap, taps)
    if isinstance(call, str):
        return call
    values = [value for node in sorted(call, key=lambda n: graph.order[n.name]) for value in node.outputs]
    fitting = [value for value in values if _named(graph, value) and _fits(graph, value, tap.shape)]
    if not fitting:
        return OTHER_SHAPE
    return NO_NAME if _goes_on_nameless(graph, fitting[-1]) else fitting[-1]


def _input_place(graph: Graph, tap: Tap, taps: Sequence[Tap]) -> str:
    if not tap.leaf:
        return GRAPH_INPUT
    call = _call(graph, tap, taps)
    if isinstance(call, str):
        return call
    own = {value for node in call for value in node.outputs}
    read = dict.fromkeys(value for node in call for value in graph.read_by(node) if value not in own)
    fitting = [value for value in read if _fits(graph, value, tap.shape)]
    if len(fitting) != 1:
        return SEVERAL if fitting else OTHER_SHAPE
    if fitting[0] in graph.view.inputs:
        return GRAPH_INPUT
    return fitting[0] if _named(graph, fitting[0]) else NO_NAME


def _escaping(graph: Graph, tap: Tap) -> str:
    """Return the one value of that shape that a module with others inside gives to what is outside."""
    if tap.call:
        return OTHER_CALLS
    inside = [n for n in graph.view.nodes if _within(graph.module.get(n.name, ""), tap.module)]
    if not inside:
        return NO_OPERATION
    names = {node.name for node in inside}
    outputs = set(graph.view.outputs.values())
    given = [
        value
        for node in inside
        for value in node.outputs
        if value in outputs or any(reader.name not in names for reader in graph.real_readers(value))
    ]
    fitting = [value for value in given if _fits(graph, value, tap.shape)]
    if len(fitting) != 1:
        return SEVERAL if fitting else OTHER_SHAPE
    nameless = any(not graph.module.get(reader.name) for reader in graph.real_readers(fitting[0]))
    return NO_NAME if nameless or not _named(graph, fitting[0]) else fitting[0]


def _goes_on_nameless(graph: Graph, value: str) -> bool:
    """Tell whether a module may end one operation later: OpenVINO calls a bias's Add after the output that it makes."""
    outputs = set(graph.view.outputs.values())
    return any(
        not graph.module.get(reader.name)
        and not outputs.isdisjoint(reader.outputs)
        and graph.read_by(reader) == [value]
        for reader in graph.real_readers(value)
    )


def _within(module: str, outer: str) -> bool:
    return module == outer or module.startswith(outer + ".")


def _named(graph: Graph, value: str) -> bool:
    """Tell whether an exporter named what makes the value; OpenVINO calls it after the output where it is one."""
    return EXACT.fullmatch(graph.maker[value].name) is not None or value in graph.view.outputs.values()


def _fits(graph: Graph, value: str, shape: tuple[int, ...]) -> bool:
    return value in graph.view.shapes and fits(shape, graph.view.shapes[value])


def counted(unplaced: Iterable[Unplaced]) -> Mapping[str, list[str]]:
    """Return reason -> the modules' taps, `unet.time_embedding.act out`."""
    reasons: dict[str, list[str]] = {}
    for one in unplaced:
        number = f" (call {one.tap.call + 1})" if one.tap.call else ""
        reasons.setdefault(one.reason, []).append(f"{one.tap.module} {one.tap.port}{number}")
    return reasons
