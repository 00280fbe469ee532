"""The parent's README.md -> the quantized artifact's: its name, scheme and sizes, and what was left float."""

import re

from edgestep.artifact import Artifact, File
from edgestep.card_gates import card_with_gates


def card_from_parent(text: str, parent: Artifact, artifact: Artifact, files: tuple[File, ...]) -> str:
    """Return the parent's text with the name, scheme and sizes of `artifact`, and a section on the quantization."""
    sizes = {file.path: file.bytes for file in files}
    text = card_with_gates(text).replace(parent.name, artifact.name)  # what the parent passed is not its own
    text = text.replace(f"{parent.format}, {parent.scheme},", f"{artifact.format}, {artifact.scheme},")
    text = re.sub(
        r"^- `(.+)`: [\d,]+ bytes$",
        lambda line: f"- `{line[1]}`: {sizes[line[1]]:,} bytes" if line[1] in sizes else line[0],
        text,
        flags=re.MULTILINE,
    )
    notes = "\n".join(f"- {note}" for note in artifact.notes if note not in parent.notes)
    return f"{text.rstrip()}\n\n## Quantization\n\nMade from {parent.name} (key {parent.key}).\n\n{notes}\n"
