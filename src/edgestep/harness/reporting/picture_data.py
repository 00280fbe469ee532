"""PNG files beside the report -> data URIs: reference, every artifact's picture, and the difference times 10.

Files are checked before they are read: inside the report's folder, of a sane size, really pictures. One that is not
leaves a gap in the page, never a broken page.
"""

import base64
import io
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from edgestep.artifact import BadInput, inside
from edgestep.harness.reporting.summary import Row
from edgestep.harness.results import Results

AMPLIFIED = 10
WIDEST = 256
"""Larger pictures are shrunk to at most this for the page, after the difference was taken at full size."""
LARGEST = 4096


@dataclass(frozen=True)
class Drawn:
    """One artifact's picture in a case. `picture` and `difference` are data URIs, "" where there is none."""

    row: Row
    picture: str
    difference: str
    psnr: float


@dataclass(frozen=True)
class CaseView:
    """One case: its name, its prompt, the reference as a data URI and (width, height), what the artifacts drew."""

    case: str
    prompt: str
    reference: str
    size: tuple[int, int]
    drawn: tuple[Drawn, ...]

    @property
    def shape(self) -> str:
        """Width over height for CSS: `64 / 64`; square where there is no reference."""
        return f"{self.size[0] or 1} / {self.size[1] or 1}"


def case_views(results: Results, rows: tuple[Row, ...], folder: Path) -> tuple[CaseView, ...]:
    """Return the cases with their pictures, paths read relative to `folder`."""
    views = []
    for index, case in enumerate(results.cases):
        reference = read_picture(folder, case.picture)
        drawn = []
        for row in rows:
            paths = row.artifact.pictures
            picture = read_picture(folder, paths[index]) if index < len(paths) else None
            if picture is not None:
                drawn.append(_drawn(row, picture, reference))
        size = (reference.shape[1], reference.shape[0]) if reference is not None else (0, 0)
        uri = data_uri(reference) if reference is not None else ""
        if uri or drawn:
            views.append(CaseView(case.case, case.prompt, uri, size, tuple(drawn)))
    return tuple(views)


def read_picture(folder: Path, path: str) -> np.ndarray | None:
    """Return uint8 [H, W, 3], or None where there is no such picture inside `folder`."""
    if not path:
        return None
    try:
        with Image.open(inside(folder, path)) as image:
            if max(image.size) > LARGEST:
                return None
            return np.asarray(image.convert("RGB"))
    except (BadInput, OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None


def _drawn(row: Row, picture: np.ndarray, reference: np.ndarray | None) -> Drawn:
    if reference is None or reference.shape != picture.shape:
        return Drawn(row, data_uri(picture), "", math.nan)
    return Drawn(row, data_uri(picture), data_uri(difference_of(reference, picture)), psnr_of(reference, picture))


def difference_of(reference: np.ndarray, picture: np.ndarray) -> np.ndarray:
    """Return |reference - picture| times 10, clipped at 255: uint8 [H, W, 3], black where they agree."""
    gap = np.abs(reference.astype(np.int16) - picture.astype(np.int16))
    return np.minimum(gap * AMPLIFIED, 255).astype(np.uint8)


def psnr_of(reference: np.ndarray, picture: np.ndarray) -> float:
    """Return the PSNR in dB of two uint8 pictures, peak 255; infinite where they are equal."""
    mean = float(np.mean((reference.astype(np.float64) - picture.astype(np.float64)) ** 2))
    return math.inf if mean == 0 else 10 * math.log10(255**2 / mean)


def data_uri(picture: np.ndarray) -> str:
    """Return a uint8 [H, W, 3] picture as a PNG data URI, shrunk by a whole factor where it is wider than `WIDEST`."""
    image = Image.fromarray(picture)
    factor = math.ceil(max(image.size) / WIDEST)
    if factor > 1:
        image = image.reduce(factor)
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
