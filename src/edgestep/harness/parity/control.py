"""A naive artifact + the reference -> the control of a quantized one: measured as it is, judged by nobody."""

from pathlib import Path

from edgestep.artifact import BadInput, read_artifact
from edgestep.harness.parity.check import check_parity
from edgestep.harness.parity.gates import NAIVE
from edgestep.harness.reference.bundle import Reference
from edgestep.harness.results import Control
from edgestep.progress import Tell


def control_of(
    folder: Path, reference: Reference, *, runtime: str | None = None, timeout_s: float = 900.0, tell: Tell
) -> Control:
    """Draw the reference's cases with the naive artifact in `folder`; BadInput where it is another scheme's."""
    artifact = read_artifact(folder)
    if artifact.scheme != NAIVE:
        raise BadInput(
            f"got {folder} of scheme {artifact.scheme!r} as a control; expected {NAIVE}; make it with "
            f"'edgestep quantize PARENT --scheme {NAIVE}'"
        )
    result = check_parity(folder, reference, runtime=runtime, timeout_s=timeout_s, tell=tell)
    return Control(artifact.name, artifact.scheme, artifact.bytes, result)
