"""ONNX file -> Probe: extra graph outputs, or the graph cut in pieces, as a temporary file on ONNX Runtime.

The file is rewritten without its weights' being read where they lie beside it.
"""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from edgestep.artifact import BadInput, inside
from edgestep.runtimes.onnxruntime_session import OnnxRuntimeSession
from edgestep.runtimes.probe import Arrays, GraphNode, GraphView, constants_of

FED = "/reference"
"""After a value's name: the input that is read in its place."""


class OnnxProbe:
    """An .onnx file to look into; BadInput where it cannot be read or onnx is not installed."""

    view: GraphView

    def __init__(self, file: Path, *, threads: int | None = None) -> None:
        self._onnx, self._file, self._threads = _package(), file, threads
        try:
            model = self._onnx.load(file, load_external_data=False)
        except Exception as error:  # protobuf's own classes
            raise BadInput(f"got {file}, which is no ONNX model ({error}); export the artifact again") from error
        self._model = model
        self._types = _types_of(self._onnx, model)
        self.view = _view(model, self._types)

    def exposed(self, values: Sequence[str]) -> Callable[[Arrays], dict[str, np.ndarray]]:
        """Return what runs the graph and returns these values."""
        session = self._session(self._with_outputs(values))
        return lambda feeds: _run(session, feeds, values)

    def cut(self, values: Sequence[str]) -> Callable[[Arrays, Arrays], dict[str, np.ndarray]]:
        """Return what runs every piece between these values, each fed by what is given for them."""
        model = self._with_outputs(values)
        parted = set(values)
        for node in model.graph.node:
            for i, value in enumerate(node.input):
                if value in parted:
                    node.input[i] = value + FED
        model.graph.input.extend(self._info(value, value + FED) for value in values)
        session = self._session(model)
        dtypes = {spec.name: spec.dtype for spec in session.inputs}

        def run(feeds: Arrays, references: Arrays) -> dict[str, np.ndarray]:
            fed = {v + FED: np.ascontiguousarray(references[v], dtypes[v + FED]) for v in values}
            return _run(session, {**feeds, **fed}, values)

        return run

    def _with_outputs(self, values: Sequence[str]) -> Any:
        """Return a copy whose outputs are the graph's own and these values."""
        model = self._onnx.ModelProto()
        model.CopyFrom(self._model)
        known = {output.name for output in model.graph.output}
        model.graph.output.extend(self._info(value, value) for value in values if value not in known)
        return model

    def _info(self, value: str, name: str) -> Any:
        info = self._onnx.ValueInfoProto(name=name)
        info.type.CopyFrom(self._types[value])
        return info

    def _session(self, model: Any) -> OnnxRuntimeSession:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
            path = Path(scratch) / "model.onnx"
            path.write_bytes(model.SerializeToString())
            for location in _external_files(model):
                _link(inside(self._file.parent, location), inside(Path(scratch), location))
            return OnnxRuntimeSession(path, threads=self._threads)


def _run(session: OnnxRuntimeSession, feeds: Arrays, values: Sequence[str]) -> dict[str, np.ndarray]:
    outputs = session.run(feeds)
    return {value: outputs[value] for value in values}


def _external_files(model: Any) -> list[str]:
    entries = (entry for tensor in model.graph.initializer for entry in tensor.external_data)
    return sorted({entry.value for entry in entries if entry.key == "location"})


def _link(source: Path, target: Path) -> None:
    """Put the same bytes at `target`: a second name of the file where the disk has room for names only."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source.resolve(), target)
    except OSError:
        shutil.copyfile(source, target)


def _types_of(onnx: Any, model: Any) -> dict[str, Any]:
    """Return {value: TypeProto} from what the file says, completed by inference where it says nothing."""
    graph = model.graph
    said = {info.name: info.type for info in (*graph.value_info, *graph.input, *graph.output)}
    made = {value for node in graph.node for value in node.output if value}
    if made - said.keys():
        inferred = onnx.shape_inference.infer_shapes(model).graph
        said |= {info.name: info.type for info in inferred.value_info if info.name not in said}
    return said


def _view(model: Any, types: dict[str, Any]) -> GraphView:
    graph = model.graph
    weights = {tensor.name for tensor in graph.initializer}
    nodes = _in_their_units(GraphNode(n.name, n.op_type, tuple(n.input), tuple(n.output)) for n in graph.node)
    constants = constants_of(nodes, weights)
    live = tuple(node for node in nodes if not all(value in constants for value in node.outputs))
    inputs = tuple(i.name for i in graph.input if i.name not in weights)
    outputs = {output.name: output.name for output in graph.output}
    shapes = {name: _shape(kind) for name, kind in types.items() if kind.tensor_type.HasField("shape")}
    return GraphView(live, inputs, outputs, shapes, constants)


def _in_their_units(nodes: Iterable[GraphNode]) -> tuple[GraphNode, ...]:
    """Let an operation make what it means, where it was made to give integers: rounded in steps of one scale and read
    in those of another, a pair is half of what was folded into the operation, and is left out.
    """
    given = tuple(nodes)
    rounds = {node.outputs[0]: node for node in given if node.op == "QuantizeLinear"}
    meant, folded = {}, set()
    for node in given:
        pair = rounds.get(node.inputs[0]) if node.op == "DequantizeLinear" else None
        if pair is not None and pair.inputs[1:] != node.inputs[1:]:
            meant[pair.inputs[0]] = node.outputs[0]
            folded |= {pair.name, node.name}
    return tuple(
        replace(node, outputs=tuple(meant.get(value, value) for value in node.outputs))
        for node in given
        if node.name not in folded
    )


def _shape(kind: Any) -> tuple[int, ...]:
    return tuple(dim.dim_value if dim.HasField("dim_value") else -1 for dim in kind.tensor_type.shape.dim)


def _package() -> Any:
    try:
        import onnx
    except ImportError as error:
        raise BadInput("got no onnx; bisection rewrites graphs with it; pip install 'edgestep[export]'") from error
    return onnx
