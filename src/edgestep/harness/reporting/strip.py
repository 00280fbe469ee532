"""Reference, artifact and amplified difference of the worst cases -> one labelled picture, to look at a failure.

Columns are the three pictures, rows the cases, the worst first; every picture is the same size on the strip.
"""

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from edgestep.harness.parity.check import CheckedPictures
from edgestep.harness.reference.bundle import Reference
from edgestep.harness.reporting.picture_data import AMPLIFIED, difference_of, psnr_of

SIDE = 192
"""Pictures are enlarged by a whole factor towards this, and shrunk to it where they are larger."""
MOST = 4
"""Cases on a strip at most."""
LINE, GAP = 20, 8
INK, PAPER = (20, 20, 20), (255, 255, 255)


def strip_from_parity(reference: Reference, checked: CheckedPictures, title: str, most: int = MOST) -> np.ndarray:
    """Return uint8 [H, W, 3]: the `most` worst cases. `checked` must have pictures."""
    rows = [_row(reference, checked, index) for index in worst_cases(reference, checked, most)]
    heads = ("reference", "artifact", f"difference x {AMPLIFIED}")
    wide = max(_text_width(text) for text in (title, *heads, *(label for label, _ in rows)))
    height, width = rows[0][1][0].shape[:2]
    whole = max(GAP + 3 * (width + GAP), wide + 2 * GAP)
    canvas = Image.new("RGB", (whole, 2 * LINE + GAP + len(rows) * (LINE + height + GAP)), PAPER)
    draw = ImageDraw.Draw(canvas)
    _write(draw, GAP, 2, title)
    lefts = [GAP + column * (width + GAP) for column in range(3)]
    for left, head in zip(lefts, heads, strict=True):
        _write(draw, left, LINE + 2, head)
    for number, (label, pictures) in enumerate(rows):
        top = 2 * LINE + GAP + number * (LINE + height + GAP)
        _write(draw, GAP, top + 2, label)
        for left, picture in zip(lefts, pictures, strict=True):
            canvas.paste(Image.fromarray(picture), (left, top + LINE))
    return np.asarray(canvas)


def worst_cases(reference: Reference, checked: CheckedPictures, most: int) -> list[int]:
    """Return up to `most` indices, the lowest PSNR first; cases that a gate in question names go before others."""
    named = {name for g in checked.result.gates if g.passed is not True for name in g.case.split("/")}
    psnr = [psnr_of(case.picture[0], out) for case, out in zip(reference.cases, checked.pictures, strict=True)]
    chosen = sorted(range(len(psnr)), key=lambda i: (reference.cases[i].name not in named, psnr[i]))[:most]
    return sorted(chosen, key=lambda i: psnr[i])


def _row(reference: Reference, checked: CheckedPictures, index: int) -> tuple[str, tuple[np.ndarray, ...]]:
    case, out = reference.cases[index], checked.pictures[index]
    wanted = case.picture[0]
    psnr = psnr_of(wanted, out)
    figure = "equal" if math.isinf(psnr) else f"PSNR {psnr:.1f} dB"
    pictures: Sequence[np.ndarray] = (wanted, out, difference_of(wanted, out))
    return f"{case.name}: {figure}: {_shortened(case.prompt)}", tuple(_scaled(picture) for picture in pictures)


def _scaled(picture: np.ndarray) -> np.ndarray:
    largest = max(picture.shape[:2])
    if largest > SIDE:
        return np.asarray(Image.fromarray(picture).reduce(math.ceil(largest / SIDE)))
    factor = SIDE // largest
    return picture.repeat(factor, axis=0).repeat(factor, axis=1)


def _shortened(text: str, most: int = 60) -> str:
    return text if len(text) <= most else text[: most - 3] + "..."


def _drawable(text: str) -> str:
    """Pillow's own font has no glyphs beyond these, and without FreeType it raises for them."""
    return text.encode("ascii", "replace").decode()


def _text_width(text: str) -> int:
    return math.ceil(ImageFont.load_default().getlength(_drawable(text)))


def _write(draw: ImageDraw.ImageDraw, left: int, top: int, text: str) -> None:
    draw.text((left, top), _drawable(text), fill=INK, font=ImageFont.load_default())
