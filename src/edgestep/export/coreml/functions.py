"""Packages of one program at several sizes -> one package with a function for each, their equal weights written once.

From iOS 18 and macOS 15 on. A client chooses by MLModelConfiguration.functionName; the first function is the default.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgestep.artifact import SizedFunction
from edgestep.export.coreml.package import read_spec, weights_of, write_package
from edgestep.mlpackage.spec import new_spec

MAIN = "main"
KEY = "edgestep.functions"
"""Where the package's metadata says which function draws which size."""


def function_name(image_size: tuple[int, int]) -> str:
    """Return what a function is called: (64, 96) -> size_64x96, height first."""
    return f"size_{image_size[0]}x{image_size[1]}"


def merge_functions(packages: Mapping[str, Path], functions: tuple[SizedFunction, ...], out: Path) -> None:
    """Write `out` with the program of each package, function name -> its own package, and remove those.

    `functions` are the same names, the default one first.
    """
    specs = {name: read_spec(package) for name, package in packages.items()}
    merged = _merged(specs, functions)
    write_package(out, merged, {name: weights_of(package) for name, package in packages.items()})
    for package in packages.values():
        shutil.rmtree(package)


def _merged(specs: Mapping[str, Any], functions: tuple[SizedFunction, ...]) -> Any:
    default = specs[functions[0].name]
    merged = new_spec(max(spec.specificationVersion for spec in specs.values()))
    merged.description.metadata.CopyFrom(default.description.metadata)
    merged.description.metadata.userDefined[KEY] = json.dumps(_told(functions), sort_keys=True)
    merged.description.defaultFunctionName = functions[0].name
    merged.mlProgram.version = default.mlProgram.version
    for key, value in default.mlProgram.attributes.items():
        merged.mlProgram.attributes[key].CopyFrom(value)
    for function in functions:
        spec = specs[function.name]
        merged.mlProgram.functions[function.name].CopyFrom(spec.mlProgram.functions[MAIN])
        merged.description.functions.add(
            name=function.name, input=spec.description.input, output=spec.description.output
        )
    return merged


def _told(functions: tuple[SizedFunction, ...]) -> dict[str, dict[str, list[int]]]:
    return {f.name: {"image_size": list(f.image_size), "latent_shape": list(f.latent_shape)} for f in functions}
