"""A float graph and its rounded weights -> the .onnx file, its weights written one at a time.

Where the parent's weights lie beside its .onnx file, the new ones do too, under the same name: none is ever in memory
together with another.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np

from edgestep.artifact import BadInput
from edgestep.quantize.onnx.packing import Packed
from edgestep.quantize.onnx.weights import Initializers, is_external

ALIGNED = 64
"""Bytes that a constant beside the file starts at a multiple of."""
INLINE_BELOW = 1024
"""Bytes; smaller constants stay in the .onnx file: shapes are read before the weights are."""
INT4_IR = 10
"""The first version of ONNX's format with 4-bit integers."""


def write_rewritten(
    model: Any,
    initializers: Initializers,
    final: Path,
    made: Iterable[tuple[str, Packed]],
    *,
    opset: int,
    replaced: Callable[[str], np.ndarray | None] = lambda _: None,
) -> None:
    """Write `model`, which is changed on the way, to `final`; `made` maps a constant's name to what computes it.

    `made` is asked for one at a time. `opset` is the least that the new nodes need; `replaced` gives new numbers for
    a constant that stays float, None for those it has.
    """
    place = next(
        (
            entry.value
            for tensor in model.graph.initializer
            for entry in tensor.external_data
            if entry.key == "location"
        ),
        None,
    )
    with ExitStack() as stack:
        file = stack.enter_context((final.parent / place).open("wb")) if place else None
        store = _Store(file, place or "")
        tensors, nodes, done = _packed(made, store)
        kept = [store.kept(tensor) for tensor in _kept(model, initializers, done, replaced)]
    graph = model.graph
    before = list(graph.node)
    del graph.initializer[:], graph.node[:]
    graph.initializer.extend([*kept, *tensors])
    graph.node.extend([*nodes, *before])
    for node in graph.node:
        del node.metadata_props[:]  # names of classes and scopes: as many bytes as 4-bit weights save, and in the name
    _raise_opset(model, opset)
    final.write_bytes(model.SerializeToString())


def _packed(made: Iterable[tuple[str, Packed]], store: "_Store") -> tuple[list[Any], list[Any], set[str]]:
    tensors: dict[str, Any] = {}
    nodes: list[Any] = []
    done: set[str] = set()
    for name, packed in made:
        done.add(name)
        nodes += packed.nodes
        for tensor in packed.tensors:
            if tensor.name not in tensors:  # what all weights share comes once
                tensors[tensor.name] = store.kept(tensor)
    return list(tensors.values()), nodes, done


def _kept(
    model: Any, initializers: Initializers, done: set[str], replaced: Callable[[str], np.ndarray | None]
) -> Iterator[Any]:
    """Yield the constants that stay, with their numbers."""
    from onnx import numpy_helper

    for tensor in model.graph.initializer:
        if tensor.name in done:
            continue
        values = replaced(tensor.name)
        if values is None and is_external(tensor):
            values = initializers.array(tensor.name)
        yield tensor if values is None else numpy_helper.from_array(np.asarray(values), tensor.name)


class _Store:
    """Where constants go: into a file beside the .onnx file, or nowhere, and they stay in it."""

    def __init__(self, file: BinaryIO | None, location: str) -> None:
        self._file, self._location = file, location

    def kept(self, tensor: Any) -> Any:
        """Return the tensor, its numbers moved to the file where there is one."""
        if self._file is None or len(tensor.raw_data) < INLINE_BELOW:
            return tensor
        self._file.write(bytes(-self._file.tell() % ALIGNED))
        offset, length = self._file.tell(), len(tensor.raw_data)
        self._file.write(tensor.raw_data)
        tensor.ClearField("raw_data")
        tensor.data_location = 1
        for key, value in (("location", self._location), ("offset", offset), ("length", length)):
            entry = tensor.external_data.add()
            entry.key, entry.value = key, str(value)
        return tensor


def _raise_opset(model: Any, opset: int) -> None:
    """Let the graph say that it needs `opset`; from 18 on no operation of ours changes but GroupNormalization."""
    own = next(entry for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    if own.version >= opset:
        return
    if own.version < 18 or any(node.op_type == "GroupNormalization" for node in model.graph.node):
        raise BadInput(
            f"got a graph of opset {own.version}, whose operations opset {opset} changed; expected one of opset 18 or "
            "later without GroupNormalization; export the artifact again"
        )
    own.version = opset
    model.ir_version = max(cast(int, model.ir_version), INT4_IR)
