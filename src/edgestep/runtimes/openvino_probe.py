"""OpenVINO IR, or .onnx -> Probe: results added at the values, or a Parameter in the place of each."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgestep.artifact import BadInput
from edgestep.runtimes.openvino_session import DTYPES
from edgestep.runtimes.probe import Arrays, GraphNode, GraphView, constants_of

SOURCES = ("Parameter", "Constant", "Result")


class OpenVINOProbe:
    """A model file to look into; BadInput where it cannot be read or openvino is not installed.

    A value is named after its operation and output: `unet.conv_in/Conv:0`.
    """

    view: GraphView

    def __init__(self, file: Path, *, threads: int | None = None) -> None:
        self._openvino, self._file, self._threads = _package(file), file, threads
        self.view = _view(self._read())

    def exposed(self, values: Sequence[str]) -> Callable[[Arrays], dict[str, np.ndarray]]:
        """Return what runs the graph and returns these values."""
        from openvino import opset13

        model = self._read()
        ports = _ports(model)
        model.add_results([opset13.result(ports[value]) for value in values])
        request = self._compiled(model)
        first = len(model.get_results()) - len(values)
        return lambda feeds: _run(request, dict(feeds), values, first)

    def cut(self, values: Sequence[str]) -> Callable[[Arrays, Arrays], dict[str, np.ndarray]]:
        """Return what runs every piece between these values, each fed by what is given for them."""
        from openvino import opset13

        model = self._read()
        ports = _ports(model)
        kinds = {value: (ports[value].get_partial_shape(), ports[value].get_element_type()) for value in values}
        fed = {value: opset13.parameter(*kind) for value, kind in kinds.items()}
        for value, parameter in fed.items():
            # Taken before they move: with the first that does goes the list.
            for reader in list(ports[value].get_target_inputs()):
                if reader.get_node().get_type_name() != "Result":
                    reader.replace_source_output(parameter.output(0))
        first_input, first = len(model.get_parameters()), len(model.get_results())
        model.add_parameters(list(fed.values()))
        model.add_results([opset13.result(ports[value]) for value in values])
        request = self._compiled(model)
        dtypes = [_dtype(parameter.get_element_type()) for parameter in fed.values()]

        def run(feeds: Arrays, references: Arrays) -> dict[str, np.ndarray]:
            arrays = (np.ascontiguousarray(references[v], t) for v, t in zip(values, dtypes, strict=True))
            return _run(request, {**feeds, **{first_input + i: a for i, a in enumerate(arrays)}}, values, first)

        return run

    def _read(self) -> Any:
        try:
            return self._openvino.Core().read_model(str(self._file))
        except Exception as error:
            line = (str(error).strip().splitlines() or [type(error).__name__])[-1]
            raise BadInput(
                f"got {self._file}, which OpenVINO cannot read ({line}); export the artifact again"
            ) from error

    def _compiled(self, model: Any) -> Any:
        config: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
        if self._threads is not None:
            config["INFERENCE_NUM_THREADS"] = self._threads
        model.validate_nodes_and_infer_types()
        return self._openvino.Core().compile_model(model, "CPU", config).create_infer_request()


def _run(request: Any, feeds: dict[Any, np.ndarray], values: Sequence[str], first: int) -> dict[str, np.ndarray]:
    results = request.infer(feeds)
    return {value: np.array(results[first + i]) for i, value in enumerate(values)}


def _ports(model: Any) -> dict[str, Any]:
    return {_name(port): port for op in model.get_ordered_ops() for port in op.outputs()}


def _name(port: Any) -> str:
    return f"{port.get_node().get_friendly_name()}:{port.get_index()}"


def _view(model: Any) -> GraphView:
    ops = model.get_ordered_ops()
    known = {_name(port) for op in ops if op.get_type_name() == "Constant" for port in op.outputs()}
    nodes = tuple(_node(op) for op in ops if op.get_type_name() not in SOURCES)
    constants = constants_of(nodes, known)
    live = tuple(node for node in nodes if not all(value in constants for value in node.outputs))
    inputs = tuple(_name(parameter.output(0)) for parameter in model.get_parameters())
    outputs = {min(r.output(0).get_names()): _name(r.input_value(0)) for r in model.get_results()}
    ports = [port for op in ops for port in op.outputs() if port.get_partial_shape().rank.is_static]
    shapes = {_name(port): _shape(port.get_partial_shape()) for port in ports}
    return GraphView(live, inputs, outputs, shapes, constants)


def _node(op: Any) -> GraphNode:
    inputs = tuple(_name(i.get_source_output()) for i in op.inputs())
    name, kind = op.get_friendly_name(), op.get_type_name()
    automatic = re.fullmatch(rf"{kind}_\d+", name) is not None
    return GraphNode(name, kind, inputs, tuple(_name(port) for port in op.outputs()), automatic)


def _shape(shape: Any) -> tuple[int, ...]:
    return tuple(-1 if dim.is_dynamic else dim.get_length() for dim in shape)


def _dtype(kind: Any) -> str:
    name = kind.to_string() if hasattr(kind, "to_string") else str(kind)
    return DTYPES.get(name, name)


def _package(file: Path) -> Any:
    try:
        import openvino
    except ImportError as error:
        raise BadInput(f"got no OpenVINO for {file.name}; pip install 'edgestep[openvino]'") from error
    return openvino
