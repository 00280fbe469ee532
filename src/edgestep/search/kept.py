"""Finished trials as lines of a file, so that a run that was stopped goes on: JSONL, one trial a line.

A line says what it is of, in words, beside its key; a last line that a kill cut short is dropped.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from edgestep.artifact import BadInput
from edgestep.harness.plain import from_plain, plain_from
from edgestep.search.trials import Figures, Setting, Trial

Run = Callable[[Sequence[Trial]], Iterator[tuple[Trial, Figures]]]
"""Trials -> each with its figures, in any order, as they are finished."""


class Kept:
    """The file of finished trials; BadInput where it cannot be read or written, or holds something else."""

    def __init__(self, file: Path, setting: Setting) -> None:
        self._file, self._setting = file, setting
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            text = file.read_text(encoding="utf-8") if file.exists() else ""
            whole = text[: text.rfind("\n") + 1]
            if whole != text:
                file.write_text(whole, encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise BadInput(f"got {file}, which cannot be used ({error}); choose another folder") from error
        self._found = dict(self._read(number, line) for number, line in enumerate(whole.splitlines(), 1))

    def get(self, trial: Trial) -> Figures | None:
        """Return the figures of a finished trial."""
        return self._found.get(trial.key(self._setting))

    def put(self, trial: Trial, figures: Figures) -> None:
        """Add a line."""
        key = trial.key(self._setting)
        said = {"key": key, "cases": self._setting.cases, "figures": plain_from(figures)}
        said |= {"changes": plain_from(trial.changes)} if len(trial.changes) == 1 else {"layers": len(trial.changes)}
        with self._file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(said, allow_nan=False) + "\n")
        self._found[key] = figures

    def _read(self, number: int, line: str) -> tuple[str, Figures]:
        try:
            raw = json.loads(line)
            return str(raw["key"]), from_plain(Figures, raw["figures"])
        except (ValueError, KeyError, TypeError) as error:
            raise BadInput(
                f"got line {number} of {self._file}, which is no finished trial ({error}); expected what an earlier "
                "run wrote; remove the file"
            ) from error


def run_kept(
    trials: Sequence[Trial], kept: Kept, run: Run, tell: Callable[[str], None] = lambda _: None, every: int = 20
) -> list[Figures]:
    """Return the figures of the trials in their order; those that the file holds are not run again."""
    missing = [trial for trial in dict.fromkeys(trials) if kept.get(trial) is None]
    if len(missing) < len(trials):
        tell(f"{len(trials) - len(missing)} of {len(trials)} trials are finished already")
    for number, (trial, figures) in enumerate(run(missing) if missing else (), 1):
        kept.put(trial, figures)
        if number % every == 0 or number == len(missing):
            tell(f"{number} of {len(missing)} trials done")
    found = [kept.get(trial) for trial in trials]
    return [figures for figures in found if figures is not None]
