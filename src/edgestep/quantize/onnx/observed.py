"""An ONNX model in memory + feeds -> the values of tensors inside it, a few at a time."""

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from edgestep.artifact import BadInput
from edgestep.quantize.channels import reach_of

Feed = Mapping[str, np.ndarray]

HELD_VALUES = 1 << 26
"""Numbers of a drawing that are held at once: 256 MiB of float32."""
PROTOBUF_ENDS = 1_900_000_000


def observe(
    model: Any, layers: Mapping[str, str], feeds: Sequence[Feed], see: Callable[[str, np.ndarray], None]
) -> None:
    """Call `see(tensor, value)` for each tensor and each feed, feeds in order.

    `layers`: tensor -> the layer it is of, which the error names: BadInput where a value is NaN or infinite.
    """
    sizes = _sizes(model)
    inside = [name for name in layers if name not in {value.name for value in model.graph.input}]
    with _session(model, inside) as run:
        for names in _parts(inside, sizes):
            for feed in feeds:
                for name, value in run(names, feed).items():
                    see(name, _finite(value, layers[name]))
    for name in set(layers) - set(inside):
        for feed in feeds:
            see(name, _finite(feed[name], layers[name]))


def channel_reaches(model: Any, tensors: Mapping[str, tuple[int, str]], feeds: Sequence[Feed]) -> dict[str, np.ndarray]:
    """Return each tensor's largest magnitude in every channel, float64; `tensors`: name -> channel axis, its layer."""
    found: dict[str, Any] = dict.fromkeys(tensors, 0.0)

    def see(name: str, value: np.ndarray) -> None:
        found[name] = np.maximum(found[name], reach_of(value, tensors[name][0]))

    observe(model, {name: layer for name, (_, layer) in tensors.items()}, feeds, see)
    return {name: np.asarray(value, dtype=np.float64) for name, value in found.items()}


def _finite(value: np.ndarray, layer: str) -> np.ndarray:
    if not np.isfinite(value).all():
        raise BadInput(
            f"got NaN or infinity at {layer} while calibrating; expected finite numbers; check the float artifact with "
            "'edgestep parity' first"
        )
    return value


@contextmanager
def _session(model: Any, names: Sequence[str]) -> Iterator[Callable[[Sequence[str], Feed], dict[str, np.ndarray]]]:
    """Open the model with more outputs; yield what runs it for some of them."""
    import onnx
    import onnxruntime

    known = {value.name for value in model.graph.output}
    more = [onnx.ValueInfoProto(name=name) for name in names if name not in known]
    kinds = _kinds(model)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    with tempfile.TemporaryDirectory() as folder:
        model.graph.output.extend(
            onnx.helper.make_tensor_value_info(value.name, kinds.get(value.name, 1), None) for value in more
        )
        try:
            given = _loadable(model, Path(folder))
        finally:
            del model.graph.output[len(known) :]
        session = onnxruntime.InferenceSession(given, options, providers=["CPUExecutionProvider"])

        def run(wanted: Sequence[str], feed: Feed) -> dict[str, np.ndarray]:
            outputs = session.run(list(wanted), dict(feed))
            return {name: np.asarray(value) for name, value in zip(wanted, outputs, strict=True)}

        yield run


def _loadable(model: Any, folder: Path) -> Any:
    """Return what onnxruntime opens: the bytes, or a file with its weights beside it where a protobuf is too small."""
    import onnx

    if sum(len(tensor.raw_data) for tensor in model.graph.initializer) < PROTOBUF_ENDS:
        return model.SerializeToString()
    copied = onnx.ModelProto()
    copied.CopyFrom(model)  # saving moves the weights out of the model that is saved
    onnx.save_model(copied, folder / "model.onnx", save_as_external_data=True, location="weights")
    return str(folder / "model.onnx")


def _kinds(model: Any) -> dict[str, int]:
    return {value.name: value.type.tensor_type.elem_type for value in model.graph.value_info}


def _sizes(model: Any) -> dict[str, int]:
    """Return tensor -> how many numbers, where the shape is known; what is left open counts as 1."""
    found = {}
    for value in model.graph.value_info:
        sizes = [max(size.dim_value, 1) for size in value.type.tensor_type.shape.dim]
        found[value.name] = int(np.prod(sizes, dtype=np.int64))
    return found


def _parts(names: Sequence[str], sizes: Mapping[str, int]) -> list[list[str]]:
    """Part the names so that each part's values fit in memory; one of unknown size counts as the largest known."""
    largest = max(sizes.values(), default=1)
    parts: list[list[str]] = []
    room = 0
    for name in names:
        size = sizes.get(name, largest)
        if not parts or size > room:
            parts.append([])
            room = HELD_VALUES
        parts[-1].append(name)
        room -= size
    return parts
