"""A Core ML .mlpackage -> Session that executes its ML Program with torch, on any machine.

That is graph parity: what the program says, not what the Neural Engine makes of it.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from edgestep.artifact import BadInput, TensorSpec
from edgestep.runtimes.feeds import feeds_fit, refused


class MilEvaluator:
    """A loaded ML Program. `inputs` and `outputs` as its description has them; an image is uint8 [1, H, W, 3] or
    [1, H, W] in grey.

    `numerics`: "fp16" rounds every float16 tensor after every operation, as devices approximately do; "fp32" rounds
    none. `function` is one of a multi-function package, "" for its default. `overflow` says where the last run made
    inf of a finite number first, None where it did not. `states` are those of a stateful program, by name, zeros at
    first and kept from run to run until `reset`. Needs torch and coremltools. Raises BadInput for a file that is no ML
    Program, is damaged, or has an operation that is not known.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    def __init__(
        self, file: Path, *, threads: int | None = None, numerics: str = "fp16", function: str = "", device: str = "cpu"
    ) -> None:
        torch = _torch()
        from edgestep.runtimes.mil.features import features_of
        from edgestep.runtimes.mil.interpreter import Interpreter
        from edgestep.runtimes.mil.numerics import NUMERICS
        from edgestep.runtimes.mil.package import read_package
        from edgestep.runtimes.mil.program import function_from_proto

        if numerics not in NUMERICS:
            raise BadInput(f"got numerics {numerics!r}; expected {' or '.join(NUMERICS)}; choose one of these")
        if threads is not None:
            torch.set_num_threads(threads)
        package = read_package(file)
        features = features_of(package.spec, function)
        program = function_from_proto(package.spec.mlProgram, features.function, package.blobs)
        self._features, self._device = features, device
        self.interpreter = Interpreter(program, numerics, device)
        self.inputs, self.outputs = features.inputs, features.outputs
        self._states = [typed for typed in program.inputs if typed.state]
        self.reset()

    @property
    def overflow(self) -> Any:
        """Return the first Overflow of the last run, or None."""
        return self.interpreter.overflow

    def reset(self) -> None:
        """Set every state to zeros, as a new one of Core ML is."""
        from edgestep.runtimes.mil.interpreter import states_of

        self.states = states_of(self._states, self._device)

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run once; return every output by name, float16 ones as float16. Feeds that do not fit are BadInput."""
        values = self.values(feeds, [spec.name for spec in self.outputs])
        return {spec.name: self._features.output_from_value(spec, values[spec.name]) for spec in self.outputs}

    def values(self, feeds: Mapping[str, np.ndarray], names: Sequence[str]) -> dict[str, Any]:
        """Run once; return values from inside the program by name, as torch tensors, for those who look into it."""
        return self.interpreter.run(self.given(feeds), names)

    def given(self, feeds: Mapping[str, np.ndarray]) -> dict[str, Any]:
        """Return what the program's function is given: feeds as values of it, and the states; BadInput as `run`."""
        if not feeds_fit(feeds, self.inputs):
            raise BadInput(refused(feeds, self.inputs))
        given = {spec.name: self._features.value_from_input(spec, feeds[spec.name]) for spec in self.inputs}
        return {**given, **self.states}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        del self.interpreter


def _torch() -> Any:
    try:
        import torch
    except ImportError as error:
        raise BadInput("got no torch; evaluating Core ML needs it: pip install 'edgestep[coreml,export]'") from error
    return torch
