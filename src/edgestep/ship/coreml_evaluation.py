"""The evaluator of ML Programs, as quantization asks for it."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from edgestep.artifact import BadInput
from edgestep.runtimes.mil_evaluator import MilEvaluator


class EvaluatedPackage:
    """A loaded .mlpackage in float32: see `edgestep.quantize.coreml.evaluated.Evaluated`."""

    def __init__(self, session: MilEvaluator) -> None:
        self._session = session

    def run(self, feeds: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        """Run once; return every output by name."""
        return self._session.run(feeds)

    def values(self, feeds: Mapping[str, np.ndarray], names: Sequence[str]) -> Mapping[str, np.ndarray]:
        """Run once; return values from inside the program by name, float32."""
        return {name: value.float().cpu().numpy() for name, value in self._session.values(feeds, names).items()}

    def replace(self, name: str, values: np.ndarray) -> None:
        """Put other numbers in the place of a constant; raise BadInput where the program has none of that name."""
        import torch

        constants = self._session.interpreter.constants
        if name not in constants:
            raise BadInput(f"got no weight {name} to try in the package; expected one that it reads; export it again")
        held = torch.as_tensor(constants[name])
        constants[name] = torch.from_numpy(np.array(values, np.float32)).to(held.device, held.dtype)


@contextmanager
def evaluate(package: Path) -> Iterator[EvaluatedPackage]:
    """Open a .mlpackage with the evaluator."""
    with MilEvaluator(package, numerics="fp32") as session:
        yield EvaluatedPackage(session)
