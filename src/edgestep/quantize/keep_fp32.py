"""A JSON list of module names -> rows of the table of what stays float."""

import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path

from edgestep.artifact import BadInput
from edgestep.quantize.floats import StaysFloat

REASON = "named by --keep-fp32"


def read_keep_fp32(path: Path) -> tuple[str, ...]:
    """Return the names in a file, `["unet.mid_block.resnets.0.conv1"]`; BadInput for anything else."""
    try:
        names = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadInput(
            f"got {path}, which cannot be read ({error}); expected a JSON list of module names; write one with "
            "'edgestep bisect ... --keep-fp32'"
        ) from error
    if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
        raise BadInput(f'got other JSON in {path}; expected a list of module names such as ["unet.conv_in"]')
    return tuple(dict.fromkeys(names))


def rows_from_names(names: Iterable[str]) -> tuple[StaysFloat, ...]:
    """Return a row for each module, which fits in the fused form too, where a path has more in front."""
    return tuple(StaysFloat(rf"(^|\.){re.escape(name)}$", REASON) for name in names)


def dotted_fits(row: StaysFloat, module: str) -> bool:
    """Tell whether a row is of a module that is named with dots, as in ONNX and OpenVINO."""
    return re.search(row.pattern, module) is not None


def check_known(
    names: Iterable[str], modules: Iterable[str], fits: Callable[[StaysFloat, str], bool] = dotted_fits
) -> None:
    """Raise BadInput for a name that is no layer's module; `modules` are those of what could be quantized."""
    known = sorted(set(modules) - {""})
    for name in names:
        if any(fits(row, path) for row in rows_from_names([name]) for path in known):
            continue
        last = name.rpartition(".")[2]
        alike = [path for path in known if re.search(rf"(^|[._]){re.escape(last)}$", path)] or known
        raise BadInput(
            f"got {name!r} to keep float, which is the module of no layer; expected one such as "
            f"{alike[0] if alike else 'unet.conv_in'}; take the names that 'edgestep bisect --keep-fp32' writes"
        )
