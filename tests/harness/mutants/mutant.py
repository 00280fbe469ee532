"""What a mutant is, and a good artifact -> the damaged one, whose manifest vouches for every byte of it.

The hashes are renewed, so that nothing but the drawing can give the mutant away.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgestep.artifact import MANIFEST, files_in, read_artifact, sha256_of_file, write_manifest

SPLIT, FUSED, OPENVINO, COREML = "onnx split", "onnx fused", "openvino split", "coreml split"
FORMS = (SPLIT, FUSED, OPENVINO, COREML)
"""The artifacts that are damaged, all fp32."""


@dataclass(frozen=True)
class Mutant:
    """`what` is wrong, in words; `make(folder)` damages a copy in place; `forms`: the artifacts it can be made of."""

    what: str
    make: Callable[[Path], None]
    forms: tuple[str, ...] = (SPLIT, FUSED)


@contextmanager
def damaged(artifact: Path, mutant: Mutant, to: Path) -> Iterator[Path]:
    """Yield `artifact` with the mutant's damage at `to`; it is gone when the block ends: each is tens of MB."""
    shutil.copytree(artifact, to, copy_function=os.link)
    try:
        mutant.make(to)
        _vouch(artifact, to)
        yield to
    finally:
        shutil.rmtree(to)


def replace_bytes(path: Path, data: bytes) -> None:
    """Write a new file in place of a hard link: the good artifact's bytes stay as they are."""
    path.unlink()
    path.write_bytes(data)


def change_contract(folder: Path, **changed: Any) -> None:
    """Change constants of the manifest's contract."""
    raw = json.loads((folder / MANIFEST).read_text())
    raw["contract"] |= changed
    replace_bytes(folder / MANIFEST, json.dumps(raw).encode())


def adopt_tokenizer(folder: Path) -> None:
    """Let the contract vouch for whatever tokenizer.json is in the folder."""
    change_contract(folder, tokenizer_sha256=sha256_of_file(folder / "tokenizer" / "tokenizer.json"))


def _vouch(artifact: Path, folder: Path) -> None:
    """List every file's hash and size anew; a manifest that the mutant did not touch is still the good one's link."""
    (folder / MANIFEST).rename(folder / f"{MANIFEST}.old")
    raw = json.loads((folder / f"{MANIFEST}.old").read_text())
    (folder / f"{MANIFEST}.old").unlink()
    good = read_artifact(artifact, verify=False)
    contract = replace(good.contract, **{k: v for k, v in raw["contract"].items() if isinstance(v, (int, float, str))})
    write_manifest(folder, replace(good, contract=contract, files=files_in(folder)))
