"""A graph, cut in front of its layers -> what each layer is fed by float and by what is rounded so far.

As onnx/segments.py: two streams of the calibration samples go through the graph together, piece by piece, so that every
operation runs once a sample and stream however many layers there are, and a piece is compiled in an instant.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from edgestep.artifact import BadInput

Feed = Mapping[str, np.ndarray]
Value = tuple[str, int]
"""The name of an operation and the number of its output."""
MOST_BYTES = 2**30
"""Of values on their way, a stream: of samples that take more, some are left out from there on."""
FEWEST = 2
CONFIG = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1}
"""One thread: the same sums on every machine with the same instructions."""


class Order:
    """The operations of a graph that depend on what it is fed, in an order in which they can run."""

    def __init__(self, model: Any) -> None:
        self.ops: list[Any] = []
        self.place: dict[str, int] = {}
        self.last: dict[Value, int] = {}
        for op in model.get_ordered_ops():
            read = [value for value in _read_by(op) if value[0] in self.place]
            if read or op.get_type_name() == "Parameter":
                self.last |= dict.fromkeys(read, len(self.ops))
                self.place[op.get_friendly_name()] = len(self.ops)
                self.ops.append(op)


class Stream:
    """Samples on their way through a graph; `order` is of the float one, which `model` may be a rounded copy of."""

    def __init__(self, model: Any, order: Order, feeds: Sequence[Feed]) -> None:
        self._model, self._order = model, order
        self._at = 0
        names = {op.get_friendly_name(): op.output(0).get_names() for op in model.get_parameters()}
        self._values: list[dict[Value, np.ndarray]] = [
            {(op, 0): feed[name] for op, known in names.items() for name in known if name in feed} for feed in feeds
        ]

    def advance(self, layer: str) -> None:
        """Run every operation in front of a layer that has not run yet."""
        place = self._order.place[layer]
        ops = [op for op in self._order.ops[self._at : place] if op.get_type_name() != "Parameter"]
        made = [(op.get_friendly_name(), i) for op in ops for i in range(op.get_output_size())]
        wanted = [value for value in made if self._reads(value, place)]
        if wanted:
            read = {value for op in ops for value in _read_by(op)}
            run = self._compiled([value for value in self._values[0] if value in read], wanted)
            for values in self._values:
                values.update(zip(wanted, run(values), strict=True))
        for values in self._values:
            for value in [value for value in values if not self._reads(value, place)]:
                del values[value]
        self._at = place
        self._leave_out()

    def forked(self, model: Any) -> "Stream":
        """Return what goes on from here through `model`, which is the same as far as this one has come."""
        other = Stream(model, self._order, ())
        other._values, other._at = [dict(values) for values in self._values], self._at
        return other

    @property
    def samples(self) -> int:
        """How many samples are still on their way."""
        return len(self._values)

    def fed(self, layer: str) -> Iterable[np.ndarray]:
        """Yield what each sample feeds a layer; raise BadInput, with its name, where that is not finite."""
        source = _read_by(self._order.ops[self._order.place[layer]])[0]
        for i, values in enumerate(self._values):
            yield finite(values[source], layer, i)

    def _reads(self, value: Value, place: int) -> bool:
        return self._order.last.get(value, -1) >= place

    def _leave_out(self) -> None:
        """Keep as many samples as fit, evenly taken: as many in both streams, whose values are of the same shapes."""
        each = sum(value.nbytes for value in self._values[0].values())
        fits, count = max(FEWEST, MOST_BYTES // max(each, 1)), len(self._values)
        if fits < count:
            self._values = [self._values[i * count // fits] for i in range(fits)]

    def _compiled(self, known: Sequence[Value], wanted: Sequence[Value]) -> Any:
        """Return what takes a sample's values and gives those that are `wanted`, from those that are `known`."""
        import openvino
        from openvino import opset13

        piece = self._model.clone()
        ops = {op.get_friendly_name(): op for op in piece.get_ops()}
        given = []
        for name, i in known:
            output = ops[name].output(i)
            parameter = opset13.parameter(list(self._values[0][name, i].shape), output.get_element_type())
            for target in output.get_target_inputs():
                target.replace_source_output(parameter.output(0))
            given.append(parameter)
        results = [opset13.result(ops[name].output(i)) for name, i in wanted]
        made_of: Any = openvino.Model  # its stub takes no arguments
        request = openvino.Core().compile_model(made_of(results, given), "CPU", CONFIG).create_infer_request()

        def run(values: Mapping[Value, np.ndarray]) -> list[np.ndarray]:
            outputs = request.infer([values[value] for value in known])
            return [outputs[i].copy() for i in range(len(wanted))]

        return run


def finite(value: np.ndarray, layer: str, sample: int) -> np.ndarray:
    """Return the value; raise BadInput where a number of it is not finite."""
    if value.dtype.kind == "f" and not np.isfinite(value).all():
        raise BadInput(
            f"got NaN or infinity in front of {layer} in calibration sample {sample}; expected finite numbers; check "
            "the float artifact with 'edgestep parity' first"
        )
    return value


def _read_by(op: Any) -> list[Value]:
    sources = [op.input_value(i) for i in range(op.get_input_size())]
    return [(source.get_node().get_friendly_name(), source.get_index()) for source in sources]
