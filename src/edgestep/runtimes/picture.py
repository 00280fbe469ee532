"""uint8 picture -> image file."""

import os
from pathlib import Path

import numpy as np

from edgestep.artifact import BadInput

SUFFIXES = (".png", ".webp")
"""Lossless formats: what is written is what was drawn."""


def write_picture(image: np.ndarray, path: Path) -> None:
    """Write uint8 [H, W, 3] aside and move it to `path` (.png or .webp, lossless), replacing a file that is there.

    Raises BadInput for another array or suffix, and where the file cannot be written.
    """
    from PIL import Image

    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise BadInput(f"got a picture {image.dtype} {list(image.shape)}; expected uint8 [H, W, 3]; convert it first")
    if path.suffix.lower() not in SUFFIXES:
        raise BadInput(f"got {path}; expected a name that ends in {' or '.join(SUFFIXES)}; choose such a name")
    aside = path.with_name(f".{path.stem}.partial-{os.getpid()}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            Image.fromarray(image).save(aside, lossless=True)
            os.replace(aside, path)
        finally:
            aside.unlink(missing_ok=True)
    except OSError as error:
        raise BadInput(f"got {path}, which cannot be written ({error.strerror or error}); choose another") from error
