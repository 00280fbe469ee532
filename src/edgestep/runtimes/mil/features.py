"""A model's description -> the inputs and outputs that a client sees, and how they become a program's values and back.

A picture is a tensor [1, C, H, W] of 0 to 255 inside the program, and uint8 [1, H, W, 3] outside, [1, H, W] in grey.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edgestep.artifact import BadInput, TensorSpec
from edgestep.runtimes.mil.labels import Labels, array_from_labels, label_spec

if TYPE_CHECKING:
    import torch  # a Mac that only predicts may have none

ARRAY_TYPES = {65568: "float32", 65600: "float64", 131104: "int32", 131080: "int8", 65552: "float16"}
"""Core ML's ArrayFeatureType -> numpy dtype name."""
GREY, GREY_HALF, BGR = 10, 40, 30
"""Core ML's colour spaces, beside RGB, 20."""


@dataclass(frozen=True, eq=False)
class Features:
    """The signature of one function: `images` maps the names that are pictures to their colour space."""

    function: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    images: dict[str, int]

    def value_from_input(self, spec: TensorSpec, array: np.ndarray) -> "torch.Tensor":
        """Return what the program's function takes for an input."""
        import torch

        space = self.images.get(spec.name)
        if space is None:
            held = np.float32 if array.dtype.kind == "f" else array.dtype
            return torch.from_numpy(np.array(array, held))
        if space in (GREY, GREY_HALF):
            return torch.from_numpy(array[:, None].astype(np.float32))
        pixels = array[..., ::-1] if space == BGR else array
        return torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)).astype(np.float32))

    def output_from_value(self, spec: TensorSpec, value: "torch.Tensor | Labels") -> np.ndarray:
        """Return an output as a client gets it: a picture's numbers rounded and held within 0 and 255."""
        if isinstance(value, str | int | dict):
            return array_from_labels(value)
        array = value.detach().cpu().numpy()
        space = self.images.get(spec.name)
        if space is None:
            return array.astype(spec.dtype)
        if space == GREY_HALF:
            return array[:, 0].astype(np.float16)
        with np.errstate(invalid="ignore"):
            pixels = np.clip(np.rint(array), 0, 255).astype(np.uint8)
        if space == GREY:
            return pixels[:, 0]
        pixels = pixels.transpose(0, 2, 3, 1)
        return np.ascontiguousarray(pixels[..., ::-1] if space == BGR else pixels)


def features_of(spec: Any, function: str) -> Features:
    """Return the signature of `function`, "" for the default one; raise BadInput where there is none of that name."""
    description = spec.description
    if description.functions:
        name = function or description.defaultFunctionName or "main"
        found = {each.name: each for each in description.functions}
        if name not in found:
            names = ", ".join(sorted(found))
            raise BadInput(f"got function {name!r}; expected one of {names}; choose one of these")
        described = found[name]
    else:
        name, described = function or "main", description
    features = [*described.input, *described.output]
    images = {f.name: f.type.imageType.colorSpace for f in features if f.type.WhichOneof("Type") == "imageType"}
    return Features(name, _specs(described.input), _output_specs(described.output), images)


def _specs(features: Iterable[Any]) -> tuple[TensorSpec, ...]:
    return tuple(_spec(feature) for feature in features)


def _output_specs(features: Iterable[Any]) -> tuple[TensorSpec, ...]:
    return tuple(label_spec(f.name, f.type.WhichOneof("Type")) or _spec(f) for f in features)


def _spec(feature: Any) -> TensorSpec:
    kind = feature.type.WhichOneof("Type")
    if kind == "imageType":
        image = feature.type.imageType
        size = (1, image.height, image.width)
        if image.colorSpace in (GREY, GREY_HALF):
            return TensorSpec(feature.name, "uint8" if image.colorSpace == GREY else "float16", size)
        return TensorSpec(feature.name, "uint8", (*size, 3))
    if kind != "multiArrayType":
        raise BadInput(f"got {feature.name} of {kind}; expected an array or an image; convert the model with tensors")
    array = feature.type.multiArrayType
    dtype = ARRAY_TYPES.get(array.dataType)
    if dtype is None:
        raise BadInput(f"got {feature.name} of Core ML's array type {array.dataType}; expected a known one; report it")
    flexible = array.WhichOneof("ShapeFlexibility") is not None
    return TensorSpec(feature.name, dtype, tuple(-1 for _ in array.shape) if flexible else tuple(array.shape))
