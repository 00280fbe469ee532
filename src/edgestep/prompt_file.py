"""A text file of prompts, one a line, as commands take it; and an artifact's own where none is named."""

from pathlib import Path

from edgestep.artifact import BadInput


def lines_of(path: Path | None) -> tuple[str, ...] | None:
    """Return the lines that are not empty, None for no file; BadInput where it cannot be read, or has none."""
    if path is None:
        return None
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"got {path}, which cannot be read ({error}); expected UTF-8 text, one prompt a line") from error
    if not any(lines):
        raise BadInput(f"got no prompt in {path}; expected one a line; write some")
    return tuple(line for line in lines if line)


def calibration_prompts(path: Path | None, artifact: Path) -> tuple[str, ...]:
    """Return the file's lines, else those of the checkpoint that the artifact was made from, else the built-in list.

    Raises BadInput for a file with fewer than two different prompts: one gives the ranges that one picture happens to
    have.
    """
    from edgestep.harness.reference.prompts import prompts_for

    lines = lines_of(path)
    if lines is not None and len(set(lines)) < 2:
        raise BadInput(f"got one prompt in {path}; expected 2 or more to calibrate on, better 16; add some")
    return lines or prompts_for(artifact)
