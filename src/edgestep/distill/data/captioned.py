"""A folder of pictures -> (file, caption) in a fixed order.

Captions stand in `captions.jsonl` ({"file": "a/1.png", "text": "..."} a line), or in a NAME.txt beside each picture.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgestep.artifact import BadInput, inside

CAPTIONS = "captions.jsonl"
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp"})
NAMED = 5
"""Files without a caption that a refusal names."""


@dataclass(frozen=True)
class Captioned:
    """A picture's POSIX path inside the folder, and its caption in one line."""

    file: str
    text: str


def list_captioned(folder: Path, allow_empty: bool = False) -> list[Captioned]:
    """Return every picture of `folder` with its caption, in the order of the file or of the paths.

    Raises BadInput where there is no picture, a line of captions.jsonl cannot be read, a path leaves the folder, or,
    unless `allow_empty`, a caption is empty or missing.
    """
    if not folder.is_dir():
        raise BadInput(f"got {folder}, no folder; expected one with pictures and captions; check the path")
    listed = folder / CAPTIONS
    found = _from_lines(folder, listed) if listed.is_file() else _from_neighbours(folder)
    if not found:
        raise BadInput(
            f"got no picture in {folder}; expected {', '.join(sorted(SUFFIXES))}, each with its NAME.txt, or {CAPTIONS}"
        )
    empty = [picture.file for picture in found if not picture.text]
    if empty and not allow_empty:
        more = f" and {len(empty) - NAMED} more" if len(empty) > NAMED else ""
        raise BadInput(
            f"got no caption for {', '.join(empty[:NAMED])}{more}; expected a text for each; write them, or give "
            "--allow-empty to train these without a prompt"
        )
    return found


def _from_lines(folder: Path, listed: Path) -> list[Captioned]:
    found = []
    with listed.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                file, text = _row(line, f"line {number} of {listed}")
                inside(folder, file)
                found.append(Captioned(file, " ".join(text.split())))
    return found


def _row(line: bytes, what: str) -> tuple[str, str]:
    try:
        row: Any = json.loads(line.decode("utf-8"))
        file, text = row["file"], row["text"]
    except (ValueError, KeyError, TypeError) as error:
        raise BadInput(f'got {what} broken ({error}); expected {{"file": "…", "text": "…"}}; mend it') from error
    if not isinstance(file, str) or not isinstance(text, str) or not file:
        raise BadInput(f"got {what} with a file or text that is no string; expected strings; mend it")
    return file, text


def _from_neighbours(folder: Path) -> list[Captioned]:
    paths = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES)
    return [Captioned(file, _caption_beside(folder, file)) for file in paths]


def _caption_beside(folder: Path, file: str) -> str:
    inside(folder, file)
    path = inside(folder, Path(file).with_suffix(".txt").as_posix())
    if not path.is_file():
        return ""
    try:
        return " ".join(path.read_text(encoding="utf-8").split())
    except UnicodeDecodeError as error:
        raise BadInput(f"got {path} in another encoding ({error}); expected UTF-8; convert it") from error
