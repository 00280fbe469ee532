"""Text -> a file, written aside and renamed, so that nobody reads half of it."""

from contextlib import suppress
from pathlib import Path

from edgestep.artifact import BadInput


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 beside `path`, then move it there; raise BadInput where it cannot be written."""
    aside = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        aside.write_text(text, encoding="utf-8")
        aside.replace(path)
    except OSError as error:
        with suppress(OSError):
            aside.unlink(missing_ok=True)
        raise BadInput(f"got {path}, which cannot be written ({error.strerror}); choose another file") from error


def add_text(path: Path, text: str) -> None:
    """Append UTF-8 to `path`; raise BadInput where it cannot be written."""
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise BadInput(f"got {path}, which cannot be written ({error.strerror}); choose another file") from error
