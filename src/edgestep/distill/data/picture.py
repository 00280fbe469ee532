"""A picture file -> the square (or the size) that a teacher was trained on: cut around the centre, resized."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError


class UnreadablePicture(Exception):
    """A file that gives no picture; the message says why, and names no path."""


def read_picture(path: Path, size: tuple[int, int]) -> np.ndarray:
    """Return uint8 [H, W, 3] of `size` (H, W): upright, on white where transparent, centre crop, Lanczos."""
    try:
        with Image.open(path) as opened:
            opened.load()
            return _fitted(ImageOps.exif_transpose(opened), size)
    except UnidentifiedImageError as error:
        raise UnreadablePicture("it is in no format that is known") from error
    except FileNotFoundError as error:
        raise UnreadablePicture("there is no such file") from error
    except (OSError, ValueError, SyntaxError, EOFError, MemoryError, Image.DecompressionBombError) as error:
        said = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise UnreadablePicture(said.splitlines()[0].replace(str(path), path.name)) from error


def _fitted(picture: Image.Image, size: tuple[int, int]) -> np.ndarray:
    height, width = size
    fitted = ImageOps.fit(_on_white(picture), (width, height), Image.Resampling.LANCZOS)
    return np.asarray(fitted)


def _on_white(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith("I") or picture.mode == "F":
        raise ValueError(f"mode {picture.mode}, more than 8 bits a channel")
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    over = picture.convert("RGBA")
    page = Image.new("RGBA", over.size, (255, 255, 255, 255))
    page.alpha_composite(over)
    return page.convert("RGB")
