"""Feeds -> outputs of an ONNX Runtime session through I/O binding: inputs and outputs lie on the device.

Buffers of the inputs are made once and filled again, so that a run costs one copy there, the graph, and one copy back,
and no allocation. It computes what `session.run` does.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


class BoundRun:
    """A session's inputs and outputs, bound to `device`: "cuda", or "cpu" where nothing is gained."""

    def __init__(self, session: Any, device: str, outputs: Sequence[str]) -> None:
        self._session, self._device, self._outputs = session, device, tuple(outputs)
        self._binding = session.io_binding()
        self._buffers: dict[str, Any] = {}

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run once; return every output by name. Feeds are by name, of the graph's dtypes and shapes."""
        from onnxruntime import OrtValue

        for name, value in feeds.items():
            array = np.ascontiguousarray(value)
            buffer = self._buffers.get(name)
            if buffer is not None and tuple(buffer.shape()) == array.shape:
                buffer.update_inplace(array)
                continue
            self._buffers[name] = OrtValue.ortvalue_from_numpy(array, self._device, 0)
            self._binding.bind_ortvalue_input(name, self._buffers[name])
        self._binding.clear_binding_outputs()  # sizes may be open: each run makes outputs of its own
        for name in self._outputs:
            self._binding.bind_output(name, self._device)
        self._session.run_with_iobinding(self._binding)
        return dict(zip(self._outputs, self._binding.copy_outputs_to_cpu(), strict=True))
