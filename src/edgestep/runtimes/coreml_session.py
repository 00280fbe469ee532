"""A Core ML .mlpackage -> Session on Core ML itself, through coremltools' predict: macOS only."""

import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from edgestep.artifact import BadInput, TensorSpec
from edgestep.mlpackage.tools import import_coremltools
from edgestep.runtimes.feeds import feeds_fit, refused

COMPUTE_UNITS = {"all": "ALL", "cpu": "CPU_ONLY", "gpu": "CPU_AND_GPU", "ane": "CPU_AND_NE"}
"""Compute unit -> coremltools' name. Core ML has none without the CPU: it takes what the other cannot do."""


class CoreMLSession:
    """A loaded ML Program; inputs and outputs have the shapes and types that `MilEvaluator` gives them.

    `compute_unit` is a key of COMPUTE_UNITS; `function` one of a multi-function package, "" for its default. `threads`
    is Core ML's own affair. Raises BadInput where this is no Mac, and where Core ML does not load the package.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    def __init__(
        self, file: Path, *, threads: int | None = None, compute_unit: str = "all", function: str = ""
    ) -> None:
        del threads
        if not _is_mac():
            raise BadInput(
                f"got {file.name} for Core ML on {sys.platform}; expected macOS, where Core ML is; take the runtime "
                "mil-evaluator, which executes its program anywhere"
            )
        ct = import_coremltools()
        from edgestep.runtimes.mil.features import features_of
        from edgestep.runtimes.mil.package import read_spec

        features = features_of(read_spec(file), function)
        self.inputs, self.outputs, self._images = features.inputs, features.outputs, features.images
        unit = getattr(ct.ComputeUnit, COMPUTE_UNITS[compute_unit])
        try:
            self._model = ct.models.MLModel(str(file), compute_units=unit, function_name=function or None)
        except Exception as error:
            raise BadInput(
                f"got {file}, which Core ML does not load ({_line(error)}); expected one that it does"
            ) from error

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run once; return every output by name. Feeds that do not fit, or that Core ML refuses, are BadInput."""
        if not feeds_fit(feeds, self.inputs):
            raise BadInput(refused(feeds, self.inputs))
        given = {name: _picture(value) if name in self._images else value for name, value in feeds.items()}
        try:
            found = self._model.predict(given)
        except Exception as error:
            raise BadInput(refused(feeds, self.inputs, _line(error))) from error
        return {spec.name: _array(found[spec.name], spec) for spec in self.outputs}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        del self._model


def _is_mac() -> bool:
    return sys.platform == "darwin"


def _picture(value: np.ndarray) -> Any:
    """uint8 [1, H, W, 3] or [1, H, W] -> Pillow's image, which predict takes."""
    from PIL import Image

    return Image.fromarray(value[0])


def _array(value: Any, spec: TensorSpec) -> np.ndarray:
    """What predict gives -> an array of the output's dtype: a picture uint8 [1, H, W, 3], or [1, H, W] in grey."""
    if isinstance(value, np.ndarray):
        return value.astype(spec.dtype, copy=False)
    if not hasattr(value, "convert"):
        return np.asarray(value, dtype=spec.dtype)
    picture = value.convert("RGB") if len(spec.shape) == 4 else value
    return np.asarray(picture, dtype=spec.dtype)[None]


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
