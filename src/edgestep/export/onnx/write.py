"""An onnx_ir model with lazy weights -> a file, one weight in memory at a time."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edgestep.artifact import BadInput
from edgestep.export.onnx.lazy import key_of

EXTERNAL_ABOVE = 128_000_000
"""Bytes of weights. A protobuf is built in memory and ends at 2 GB: larger models keep weights in a second file."""
ALIGNMENT = 64
"""Bytes. What runtimes that map the file into memory want a tensor to begin at."""
SMALL = 1024
"""Bytes. Tensors up to here stay in the model: shapes and scales, which runtimes read while they build the graph."""


def write_onnx_model(model: Any, path: Path, tell: Callable[[str], None] = lambda _: None) -> None:
    """Write the model; weights of more than EXTERNAL_ABOVE bytes in all go into `<name>.data` beside it.

    Weights of equal content are written once. Same model, same bytes.
    """
    import onnx_ir as ir

    path.parent.mkdir(parents=True, exist_ok=True)
    share_equal_weights(model)
    if sum(value.const_value.nbytes for value in model.graph.initializers.values()) > EXTERNAL_ABOVE:
        _write_weights(model, path.with_name(path.name + ".data"), tell)
    with _bad_input_as_it_is():
        proto = ir.serde.serialize_model(model)
    path.write_bytes(proto.SerializeToString(deterministic=True))


@contextmanager
def _bad_input_as_it_is() -> Iterator[None]:
    """Let a weight's own BadInput through: serializing wraps what reading it raises."""
    try:
        yield
    except Exception as error:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, BadInput):
            cause = cause.__cause__ or cause.__context__
        if cause is None:
            raise
        raise cause from None


def share_equal_weights(model: Any) -> None:
    """Let initializers that read the same weight in the same way be one: the steps of an unrolled loop share theirs."""
    import onnx_ir as ir

    first: dict[str, Any] = {}
    for name, value in list(model.graph.initializers.items()):
        key = key_of(value.const_value)
        if not key:
            continue
        key = f"{key}|{value.dtype}"
        if key in first:
            ir.convenience.replace_all_uses_with(value, first[key])
            del model.graph.initializers[name]
        else:
            first[key] = value


def _write_weights(model: Any, path: Path, tell: Callable[[str], None]) -> None:
    import onnx_ir as ir

    values = [v for v in model.graph.initializers.values() if v.const_value.nbytes > SMALL]
    total, done, told = sum(v.const_value.nbytes for v in values), 0, 0
    with path.open("wb") as file:
        for value in values:
            file.write(b"\0" * (-file.tell() % ALIGNMENT))
            tensor, offset = value.const_value, file.tell()
            tensor.numpy().tofile(file)
            done += tensor.nbytes
            value.const_value = ir.ExternalTensor(
                path.name,
                offset,
                tensor.nbytes,
                value.dtype,
                name=value.name,
                shape=tensor.shape,
                base_dir=os.fspath(path.parent),
            )
            if total and done * 10 // total > told:
                told = done * 10 // total
                tell(f"writing {path.parent.name}: {done / 1e9:.2f} of {total / 1e9:.2f} GB")
