"""What `assert_parity` does: compare, leave what was seen to the session, and word the complaint where it failed."""

import hashlib
import os
import re
from collections.abc import Sequence
from pathlib import Path

from edgestep.artifact import BadInput, read_artifact
from edgestep.harness.parity.check import CheckedPictures, draw_and_check
from edgestep.harness.parity.drawn_apart import TIMEOUT_S
from edgestep.harness.reference.bundle import Reference, read_reference
from edgestep.harness.reporting.strip import strip_from_parity
from edgestep.harness.results import FAILED, PASSED, UNCHECKED, ParityResult
from edgestep.pytest_plugin.message import message_from_parity
from edgestep.pytest_plugin.recorder import Recorder, current_recorder
from edgestep.pytest_plugin.seen import seen_from_parity
from edgestep.runtimes.picture import write_picture


def compare(
    artifact: str | os.PathLike[str],
    reference: str | os.PathLike[str] | Reference,
    *,
    runtime: str | None,
    threads: int | None,
    overrides: Sequence[str],
    timeout_s: float | None,
    allow_unchecked: bool,
    strip: str | os.PathLike[str] | None,
) -> tuple[ParityResult, str]:
    """Return the result and what to complain of, "" where nothing is; parameters and errors as of `assert_parity`."""
    recorder = current_recorder()
    folder = Path(recorder.root, artifact)
    bundle = reference if isinstance(reference, Reference) else read_reference(Path(recorder.root, reference))
    whose = "the given reference" if isinstance(reference, Reference) else str(Path(recorder.root, reference))
    name = _unique_name(folder, whose, runtime)
    try:
        checked = draw_and_check(
            folder, bundle, runtime=runtime, threads=threads, overrides=overrides, timeout_s=timeout_s or TIMEOUT_S
        )
    except BadInput as error:
        _record_unusable(recorder, folder, bundle, name, str(error))
        raise
    recorder.seen.append(seen_from_parity(folder, bundle, checked, name, recorder.report))
    result = checked.result
    if result.verdict == PASSED or (result.verdict == UNCHECKED and allow_unchecked):
        return result, ""
    to = Path(recorder.root, strip) if strip is not None else recorder.strips() / f"{name}.png"
    return result, message_from_parity(result, str(folder), whose, _write_strip(bundle, checked, folder.name, to))


def _record_unusable(recorder: Recorder, folder: Path, bundle: Reference, name: str, reason: str) -> None:
    """Leave a failed row in the report; an artifact without a manifest that can be read is the test's failure alone."""
    try:
        read_artifact(folder, verify=False)
    except BadInput:
        return
    failed = CheckedPictures(ParityResult(FAILED, reason=reason, reference_machine=bundle.index.machine), ())
    recorder.seen.append(seen_from_parity(folder, bundle, failed, name, recorder.report))


def _write_strip(bundle: Reference, checked: CheckedPictures, title: str, path: Path) -> str:
    """Return the path of the PNG, or why there is none; a strip that cannot be written never hides the verdict."""
    if not checked.pictures:
        return "none: nothing of the right size was drawn"
    try:
        write_picture(strip_from_parity(bundle, checked, f"{title}: parity {checked.result.verdict}"), path)
    except BadInput as error:
        return f"none: {error}"
    return str(path)


def _unique_name(folder: Path, reference: str, runtime: str | None) -> str:
    """Return a file name that tells the artifact, and differs between the tests and comparisons of a session."""
    test = os.environ.get("PYTEST_CURRENT_TEST", "").rpartition(" ")[0]
    digest = hashlib.sha256("\n".join((str(folder), reference, runtime or "", test)).encode()).hexdigest()
    return f"{re.sub(r'[^A-Za-z0-9._-]', '_', folder.name).lstrip('.')}-{digest[:8]}"
