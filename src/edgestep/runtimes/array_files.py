"""A .npz of inputs -> what a graph is fed, every change of type stated; and outputs -> a .npz."""

import os
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from edgestep.artifact import BadInput, TensorSpec
from edgestep.runtimes.feeds import feeds_fit, refused


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read a .npz, without pickle; raise BadInput where it is missing, broken or something else."""
    try:
        loaded = np.load(path, allow_pickle=False)
        if not isinstance(loaded, np.lib.npyio.NpzFile):
            raise BadInput(f"got one array in {path}; expected a .npz with a name for each; numpy.savez writes it")
        with loaded:
            return {name: loaded[name] for name in loaded.files}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        reason = "it is none, or holds Python objects" if "pickle" in reason else reason
        raise BadInput(f"got {path}, which cannot be read ({reason}); expected a .npz of numpy.savez") from error


def feeds_from_arrays(
    arrays: Mapping[str, np.ndarray], inputs: Sequence[TensorSpec]
) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """Return the feeds of a graph, and a line for each array whose type was changed: `ids: int64 -> int32`.

    A type is changed where every number survives: integers exactly, floats but for their rounding. Raises BadInput,
    naming what the graph expects, where names or shapes do not fit or a number would not survive.
    """
    feeds, changed = dict(arrays), []
    for spec in inputs:
        value = arrays.get(spec.name)
        if value is None or value.dtype == spec.dtype:
            continue
        made = _converted(value, spec.dtype)
        if made is None:
            raise BadInput(refused(arrays, inputs, f"{spec.name}: {value.dtype} does not fit in {spec.dtype}"))
        feeds[spec.name] = made
        changed.append(f"{spec.name}: {value.dtype} -> {spec.dtype}")
    if not feeds_fit(feeds, inputs):
        raise BadInput(refused(arrays, inputs))
    return feeds, tuple(changed)


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write a .npz aside and move it to `path`; raise BadInput where it cannot be written."""
    aside = path.with_name(f".{path.name}.partial-{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with zipfile.ZipFile(aside, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
                for name, array in arrays.items():  # numpy.savez would take a name such as "file" for its own
                    with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                        np.lib.format.write_array(member, np.asarray(array), allow_pickle=False)
            os.replace(aside, path)
        finally:
            aside.unlink(missing_ok=True)
    except OSError as error:
        raise BadInput(f"got {path}, which cannot be written ({error.strerror or error}); choose another") from error


def _converted(value: np.ndarray, dtype: str) -> np.ndarray | None:
    """Return the array in `dtype`, None where a number would become another one."""
    try:
        wanted = np.dtype(dtype)
    except TypeError:  # a runtime's own name for what numpy has not
        return None
    numbers = "biuf"
    if value.dtype.kind not in numbers or wanted.kind not in numbers:
        return None
    with np.errstate(all="ignore"):
        made = value.astype(wanted)
    if value.dtype.kind == wanted.kind == "f":
        return made if np.array_equal(np.isfinite(made), np.isfinite(value)) else None
    if value.dtype.kind == "f" or (wanted.kind == "b") != (value.dtype.kind == "b"):
        return None  # a fraction is no index, a number is no truth
    return made if np.array_equal(made, value) else None
