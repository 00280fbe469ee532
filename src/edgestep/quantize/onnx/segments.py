"""A graph, cut in front of its layers -> what each layer is fed by float and by what is quantized so far.

Two streams of the calibration samples go through the graph together, piece by piece: one with the weights as they are,
one with those that are rounded by then. Every node runs once a sample and stream, and only values that a later node
still reads are kept, of as many samples as fit into memory.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from edgestep.artifact import BadInput

Feed = Mapping[str, np.ndarray]
MOST_BYTES = 2**30
"""Of values on their way, a stream: of samples that take more, some are left out from there on."""
FEWEST = 2


def advance(streams: Mapping["Stream", int]) -> None:
    """Run each stream to its place in its graph, and keep the same samples in all of them: as many as fit."""
    for stream, place in streams.items():
        stream.advance(place)
    fits = min(stream.fits for stream in streams)
    for stream in streams:
        stream.leave_out(fits)


class Stream:
    """Samples on their way through a graph; `constant` gives an initializer's numbers by name."""

    def __init__(self, model: Any, feeds: Sequence[Feed], constant: Callable[[str], np.ndarray]) -> None:
        self._model = model
        self._constants = {tensor.name for tensor in model.graph.initializer}
        self._constant = constant
        self._last = {name: i for i, node in enumerate(model.graph.node) for name in node.input}
        self._values = [dict(feed) for feed in feeds]
        self._at = 0

    def advance(self, place: int) -> None:
        """Run every node in front of number `place` that has not run yet."""
        nodes = list(self._model.graph.node)[self._at : place]
        if not nodes:
            return
        made = {name for node in nodes for name in node.output if name}
        outputs = sorted(name for name in made if self._last.get(name, -1) >= place)
        used = sorted({name for node in nodes for name in node.input if name} - made)
        inputs = [name for name in used if name not in self._constants]
        if outputs:
            session = self._session(nodes, inputs, outputs, [name for name in used if name in self._constants])
            for values in self._values:
                results = session.run(outputs, {name: values[name] for name in inputs})
                values.update(zip(outputs, results, strict=True))
        for values in self._values:
            for name in [name for name in values if self._last.get(name, -1) < place]:
                del values[name]
        self._at = place

    @property
    def samples(self) -> int:
        """How many samples are still on their way."""
        return len(self._values)

    def reads_later(self, name: str) -> bool:
        """Tell whether a node that has not run yet reads a value."""
        return self._last.get(name, -1) >= self._at

    @property
    def fits(self) -> int:
        """How many of its samples fit into memory."""
        each = sum(value.nbytes for value in self._values[0].values())
        return max(FEWEST, MOST_BYTES // max(each, 1))

    def leave_out(self, fits: int) -> None:
        """Keep `fits` samples, evenly taken, where there are more."""
        count = len(self._values)
        if fits < count:
            self._values = [self._values[i * count // fits] for i in range(fits)]

    def values(self, name: str, layer: str) -> Iterable[np.ndarray]:
        """Yield what each sample is at `name`; raise BadInput, with the name of the layer, where it is not finite."""
        for i, values in enumerate(self._values):
            value = values[name]
            if value.dtype.kind == "f" and not np.isfinite(value).all():
                raise BadInput(
                    f"got NaN or infinity in front of {layer} in calibration sample {i}; expected finite numbers; "
                    "check the float artifact with 'edgestep parity' first"
                )
            yield value

    def _session(self, nodes: list[Any], inputs: list[str], outputs: list[str], constants: list[str]) -> Any:
        import onnxruntime
        from onnx import ValueInfoProto, helper, numpy_helper

        first = self._values[0]
        graph = helper.make_graph(
            nodes,
            "segment",
            [
                helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(first[n].dtype), first[n].shape)
                for n in inputs
            ],
            [ValueInfoProto(name=name) for name in outputs],
            [numpy_helper.from_array(np.asarray(self._constant(name)), name) for name in constants],
        )
        model = helper.make_model(graph, opset_imports=self._model.opset_import, ir_version=self._model.ir_version)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # the same sums on any machine with as many threads
        options.log_severity_level = 3
        # Between pairs onnxruntime rounds a float weight of its own accord: here it stands for what was chosen.
        options.add_session_config_entry("session.disable_quant_qdq", "1")
        return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
