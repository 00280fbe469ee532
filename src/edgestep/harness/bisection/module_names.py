"""A view whose operations say their module with underscores, as Core ML's do -> one whose operations are named
`<module>/<operator>`.

coremltools keeps the name of an exporter's node or, where it makes an operation of its own, none; but a weight keeps
its parameter's: `p_unet_conv_in_weight_to_fp16`. A group norm comes apart into operations without any name: it is told
by its square root, and stands for the next norm in the order in which PyTorch called them.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from edgestep.harness.bisection.tap_layout import fits
from edgestep.harness.reference.taps import IN, Tap
from edgestep.runtimes.probe import GraphNode, GraphView

PARAMETER = re.compile(r"p_(.+)_(?:weight|bias)(?:_to_fp\d+)?(?:_\d+)?")


def named_after_modules(view: GraphView, taps: Sequence[Tap]) -> GraphView:
    """Return the view with operations renamed; as it is where they say their modules with a slash already."""
    if any("/" in node.name for node in view.nodes):
        return view
    modules = {tap.module.replace(".", "_"): tap.module for tap in taps}
    found = {node.name: _module_of(node, modules) for node in view.nodes}
    found |= _group_norms(view, found, taps)
    count: dict[str, int] = defaultdict(int)
    return replace(view, nodes=tuple(_renamed(node, found[node.name], count) for node in view.nodes))


def _renamed(node: GraphNode, module: str, count: dict[str, int]) -> GraphNode:
    """Name an operation after its module and type, the second of a name `_2`; it keeps its own where it has none."""
    if not module:
        return node
    name = f"{module}/{node.op}"
    count[name] += 1
    return replace(node, name=name if count[name] == 1 else f"{name}_{count[name]}")


def _module_of(node: GraphNode, modules: Mapping[str, str]) -> str:
    """Return the module whose parameter an operation reads, else the longest that its own name begins with, or ""."""
    for value in node.inputs:
        parameter = PARAMETER.fullmatch(value)
        if parameter and parameter[1] in modules:
            return modules[parameter[1]]
    parts = node.name.split("_")
    starts = ("_".join(parts[:end]) for end in range(len(parts), 0, -1))
    return next((modules[start] for start in starts if start in modules), "")


def _group_norms(view: GraphView, found: Mapping[str, str], taps: Sequence[Tap]) -> dict[str, str]:
    """Return operation -> module for the nameless parts of group norms; nothing where they cannot be told apart."""
    chains = [chain for chain in _nameless(view, found) if any(node.op == "Sqrt" for node in chain)]
    named = set(found.values())
    outputs = [tap for tap in taps if tap.leaf and tap.port != IN and tap.module not in named and _is_norm(tap.module)]
    if len(chains) != len(outputs) or not all(_gives(view, *pair) for pair in zip(chains, outputs, strict=True)):
        return {}
    return {node.name: tap.module for chain, tap in zip(chains, outputs, strict=True) for node in chain}


def _is_norm(module: str) -> bool:
    return "norm" in module.rpartition(".")[2]


def _gives(view: GraphView, chain: Iterable[GraphNode], tap: Tap) -> bool:
    shapes = (view.shapes[value] for node in chain for value in node.outputs if value in view.shapes)
    return any(fits(tap.shape, shape) for shape in shapes)


def _nameless(view: GraphView, found: Mapping[str, str]) -> list[list[GraphNode]]:
    """Return the operations without a module that are connected, in the order in which each first runs."""
    groups: list[list[GraphNode]] = []
    for node in view.nodes:
        if found[node.name] or node.changes_numbers_only:
            continue
        read = set(node.inputs) - view.constants
        touching = [group for group in groups if any(read & set(other.outputs) for other in group)]
        groups = [group for group in groups if group not in touching]
        groups.append([other for group in touching for other in group] + [node])
    order = {node.name: i for i, node in enumerate(view.nodes)}
    return sorted(groups, key=lambda group: order[group[0].name])
