"""ONNX file -> Session on ONNX Runtime: CPU, or CUDA where onnxruntime-gpu is installed."""

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from edgestep.artifact import BadInput, TensorSpec
from edgestep.runtimes.feeds import feeds_fit, refused
from edgestep.runtimes.onnxruntime_bound import BoundRun

PROVIDERS: dict[str, tuple[str, dict[str, str]]] = {
    "cpu": ("CPUExecutionProvider", {}),
    # TF32 keeps 10 bits of mantissa: parity gates at 80 dB would fail for no fault of the artifact.
    "cuda": ("CUDAExecutionProvider", {"use_tf32": "0"}),
}
"""Device -> (execution provider, its options)."""

DTYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(int64)": "int64",
    "tensor(int32)": "int32",
    "tensor(int8)": "int8",
    "tensor(uint8)": "uint8",
    "tensor(bool)": "bool",
}
"""ONNX Runtime's type name -> numpy dtype name."""


class OnnxRuntimeSession:
    """A loaded .onnx file. `inputs` and `outputs` in the graph's order; a symbolic dimension is -1.

    `threads` is the number of intra-op threads, None for ONNX Runtime's own choice. `device` is cpu or cuda: asked
    for and not there is BadInput, never a silent fall back to the CPU.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    def __init__(self, file: Path, *, threads: int | None = None, device: str = "cpu") -> None:
        import onnxruntime

        if not file.is_file():
            raise BadInput(f"got no file at {file}; expected an .onnx file; export the artifact again")
        provider = _provider(onnxruntime, device)
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.log_severity_level = 3  # errors only: warnings about folded initialisers are not for the user
        # Threads spin while a run lasts, and no longer: the pools of a split artifact's three sessions would otherwise
        # fight for the cores. Emoji fp32 split on 2 cores: 22.6 -> 8.2 ms; fused: unchanged.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        if threads is not None:
            options.intra_op_num_threads = threads
            options.inter_op_num_threads = 1
        try:
            self._session = onnxruntime.InferenceSession(str(file), options, providers=[provider])
        except Exception as error:
            raise BadInput(
                f"got {file}, which ONNX Runtime {onnxruntime.__version__} cannot load ({_first_line(error)}); "
                "expected an ONNX model that it supports; export the artifact again"
            ) from error
        used = self._session.get_providers()[0]
        if used != provider[0]:
            raise BadInput(
                f"got {used} from ONNX Runtime; expected {provider[0]}, as asked; check the driver and CUDA libraries, "
                "or use the device cpu"
            )
        self.inputs = tuple(_spec(node) for node in self._session.get_inputs())
        self.outputs = tuple(_spec(node) for node in self._session.get_outputs())
        names = [spec.name for spec in self.outputs]
        self._bound = BoundRun(self._session, device, names) if device != "cpu" else None

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run once; return every output by name. Feeds that the graph does not take are BadInput."""
        if self._bound is not None:
            if not feeds_fit(feeds, self.inputs):  # a binding would keep what it held
                raise BadInput(refused(feeds, self.inputs))
            return self._bound.run(feeds)
        names = [spec.name for spec in self.outputs]
        try:
            values = self._session.run(names, dict(feeds))
        except Exception as error:
            if type(error).__name__ not in ("InvalidArgument", "ValueError"):
                raise
            raise BadInput(refused(feeds, self.inputs, _first_line(error))) from error
        return dict(zip(names, (np.asarray(value) for value in values), strict=True))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        del self._bound, self._session


def _provider(onnxruntime: Any, device: str) -> tuple[str, dict[str, str]]:
    if device not in PROVIDERS:
        raise BadInput(f"got device {device!r}; expected one of {', '.join(PROVIDERS)}; choose one of these")
    provider = PROVIDERS[device]
    if provider[0] not in onnxruntime.get_available_providers():
        raise BadInput(
            f"got an ONNX Runtime without {provider[0]}; expected onnxruntime-gpu; pip uninstall onnxruntime, then "
            "pip install 'edgestep[cuda]'"
        )
    if device == "cuda" and hasattr(onnxruntime, "preload_dlls"):
        onnxruntime.preload_dlls()  # CUDA libraries that came as Python packages are on no search path
    return provider


def _spec(node: Any) -> TensorSpec:
    shape = tuple(dim if isinstance(dim, int) else -1 for dim in node.shape)
    return TensorSpec(node.name, DTYPES.get(node.type) or node.type, shape)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
