"""OpenVINO IR (.xml beside its .bin), or .onnx -> Session on OpenVINO's CPU device."""

import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from edgestep.artifact import BadInput, TensorSpec
from edgestep.runtimes.feeds import feeds_fit, refused

DTYPES = {
    "f32": "float32",
    "f16": "float16",
    "f64": "float64",
    "i64": "int64",
    "i32": "int32",
    "i8": "int8",
    "u8": "uint8",
    "boolean": "bool",
}
"""OpenVINO's element type name -> numpy dtype name."""


class OpenVINOSession:
    """A compiled model. `inputs` and `outputs` in the model's order; a dynamic dimension is -1.

    `threads` is the number of inference threads, None for OpenVINO's own choice. `precision` is the type in which
    float layers compute: without the hint a CPU with bfloat16 instructions would use those, and lose 30 dB.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    compile_s: float
    """Seconds that compiling took, reading the file apart."""

    def __init__(self, file: Path, *, threads: int | None = None, precision: str = "f32") -> None:
        try:
            import openvino
        except ImportError as error:
            raise BadInput(
                f"got no OpenVINO for {file.name}; expected the package openvino; pip install 'edgestep[openvino]'"
            ) from error
        if not file.is_file():
            raise BadInput(f"got no file at {file}; expected an OpenVINO .xml; export the artifact again")
        config: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": precision}
        if threads is not None:
            config["INFERENCE_NUM_THREADS"] = threads
        core = openvino.Core()
        try:
            model = core.read_model(str(file))
            start = time.perf_counter()
            compiled = core.compile_model(model, "CPU", config)
            self.compile_s = time.perf_counter() - start
        except Exception as error:
            raise BadInput(
                f"got {file}, which OpenVINO {openvino.__version__.split('-')[0]} cannot load ({_last_line(error)}); "
                "expected an OpenVINO .xml with its .bin beside it; export the artifact again"
            ) from error
        self._request = compiled.create_infer_request()
        self.inputs = tuple(_spec(port) for port in compiled.inputs)
        self.outputs = tuple(_spec(port) for port in compiled.outputs)

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run once; return every output by name, as arrays of their own. Feeds that do not fit are BadInput."""
        self._check(feeds)
        results = self._request.infer(dict(feeds))
        return {spec.name: np.array(results[i]) for i, spec in enumerate(self.outputs)}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        del self._request

    def _check(self, feeds: Mapping[str, np.ndarray]) -> None:
        # OpenVINO itself would cast another dtype silently, and keep the last value of an input that was left out.
        if not feeds_fit(feeds, self.inputs):
            raise BadInput(refused(feeds, self.inputs))


def _spec(port: Any) -> TensorSpec:
    shape = tuple(-1 if dim.is_dynamic else dim.get_length() for dim in port.partial_shape)
    kind = port.element_type.to_string() if hasattr(port.element_type, "to_string") else str(port.element_type)
    return TensorSpec(min(port.get_names()), DTYPES.get(kind, kind), shape)


def _last_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[-1]
