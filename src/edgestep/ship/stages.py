"""Finished stages, kept by the hash of what they were made from, so that a second run only does what changed."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from edgestep.artifact import Artifact, BadInput, check_writable, read_artifact
from edgestep.harness.plain import from_plain, plain_from
from edgestep.progress import Tell

MARK = "ship.json"
T = TypeVar("T")


class Stages:
    """The output folder of one `ship`; `tell` hears what is reused."""

    def __init__(self, out: Path, tell: Tell):
        self.out, self.tell = out, tell
        if not (out / MARK).is_file():
            check_writable(out)
            out.mkdir(exist_ok=True)
            (out / MARK).write_text(json.dumps({"schema": "edgestep.ship/1"}) + "\n")
        if not os.access(out, os.W_OK):
            raise BadInput(f"got {out}, which cannot be written; expected a writable folder; choose another --out")

    def kept(self, name: str, key: str, kind: type[T], make: Callable[[], T]) -> T:
        """Return the result of stage `name`: the one kept under this `key`, or `make()`, which is then kept."""
        path = self.out / "stages" / f"{name}.json"
        if path.is_file():
            try:
                raw = json.loads(path.read_text())
                if raw["key"] == key:
                    value = from_plain(kind, raw["value"])
                    self.tell(f"{name}: kept from the last run (same inputs)")
                    return value
            except (ValueError, KeyError, TypeError):
                self.tell(f"{name}: the kept result cannot be read, doing it again")
        value = make()
        if getattr(value, "failure", ""):
            return value  # reported, but tried again next time
        path.parent.mkdir(exist_ok=True)
        aside = path.with_suffix(".partial")
        aside.write_text(json.dumps({"key": key, "value": plain_from(value)}, allow_nan=False))
        os.replace(aside, path)
        return value

    def forget(self, name: str) -> None:
        """Drop what is kept of stage `name`: its output is gone."""
        (self.out / "stages" / f"{name}.json").unlink(missing_ok=True)

    def kept_artifact(self, folder: Path, key: str, make: Callable[[], Artifact]) -> Artifact:
        """Return the artifact in `folder` if it has this key and its files have their hashes, else `make()`."""
        if folder.exists():
            try:
                artifact = read_artifact(folder)
            except BadInput as error:
                self.tell(f"{folder.name}: made again ({error})")
            else:
                if artifact.key == key:
                    self.tell(f"{folder.name}: kept from the last run (same inputs, hashes checked)")
                    return artifact
            shutil.rmtree(folder)
        folder.parent.mkdir(exist_ok=True)
        return make()
