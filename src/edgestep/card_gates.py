"""The section of an artifact's README.md that says which gates it passed; the manifest, which has its hash, follows."""

import os
import re
from dataclasses import replace
from pathlib import Path

from edgestep.artifact import Artifact, File, read_artifact, sha256_of_file, write_manifest

CARD = "README.md"
HEAD = "## Gates"
NOT_CHECKED = "Not checked yet: `edgestep parity` compares this folder with its checkpoint in PyTorch."


def gates_section(gates: str = "") -> str:
    """Return the section, `NOT_CHECKED` where nothing is said."""
    return f"{HEAD}\n\n{gates.strip() or NOT_CHECKED}\n"


def card_with_gates(text: str, gates: str = "") -> str:
    """Return a card with what its section says replaced; one without the section as it is."""
    return re.sub(rf"^{HEAD}\n.*?(?=^## |\Z)", lambda _: f"{gates_section(gates)}\n", text, flags=re.M | re.S)


def record_gates(folder: Path, gates: str) -> Artifact:
    """Write what an artifact passed into its card, and return its manifest; nothing is written where it says so."""
    artifact, card = read_artifact(folder, verify=False), folder / CARD
    text = card.read_text() if card.is_file() else ""
    said = card_with_gates(text, gates)
    if said == text:
        return artifact
    aside = folder / f".{CARD}.partial"
    aside.write_text(said)
    listed = File(CARD, sha256_of_file(aside), aside.stat().st_size)
    artifact = replace(artifact, files=tuple(listed if file.path == CARD else file for file in artifact.files))
    os.replace(aside, card)
    write_manifest(folder, artifact)
    return artifact
