"""Logs of the bundled generator's training -> docs/distillation/curves.svg: losses of every stage, measures over steps.

pip install matplotlib
python training/emoji/draw_curves.py
"""

import argparse
import json
from pathlib import Path

from matplotlib import pyplot

HERE = Path(__file__).parent
MEASURES = {
    "frechet": "Fréchet distance",
    "top5": "top-5 concept accuracy",
    "recall": "recall",
    "spread": "spread of one prompt",
}
"""Row of curve.jsonl -> its name. Each is of 512 pictures, so distances lie above those of the card's 2,048."""
LOSSES = {
    "autoencoder": ("loss",),
    "teacher": ("loss",),
    "regression": ("regression",),
    "matching": ("matching", "fake", "regression"),
}
"""Stage -> the losses that are drawn of its log."""


def main() -> None:
    """Draw the panels, losses above and measures below, into one file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--logs", type=Path, default=HERE / "logs")
    parser.add_argument("--out", type=Path, default=HERE.parents[1] / "docs" / "distillation" / "curves.svg")
    given = parser.parse_args()
    pyplot.rcParams["svg.hashsalt"] = "edgestep"  # the same bytes for the same logs
    figure, panels = pyplot.subplots(2, 4, figsize=(14, 6), layout="constrained")
    for panel, (stage, names) in zip(panels[0], LOSSES.items(), strict=True):
        _draw_losses(panel, stage, names, _rows(given.logs / f"{stage}.log.jsonl"))
    curve = _rows(given.logs / "curve.jsonl")
    for panel, (name, title) in zip(panels[1], MEASURES.items(), strict=True):
        _draw_measure(panel, name, title, curve)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(given.out, metadata={"Date": None})
    print(f"written: {given.out}")


def _rows(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def _draw_losses(panel, stage: str, names: tuple[str, ...], rows: list[dict]) -> None:
    for name in names:
        drawn = [(row["step"], row[name]) for row in rows if name in row]
        panel.plot(*zip(*drawn, strict=True), label=name)
    panel.set(title=f"{stage}: losses", xlabel="step", yscale="log")
    panel.legend()


def _draw_measure(panel, name: str, title: str, rows: list[dict]) -> None:
    """One line a stage; matching goes on where regression ended."""
    start = 0
    for stage in dict.fromkeys(row["stage"] for row in rows):
        mine = [row for row in rows if row["stage"] == stage]
        taken = [row for row in mine if name in row]
        panel.plot([start + row["step"] for row in taken], [row[name] for row in taken], marker=".", label=stage)
        start += mine[-1]["step"]
    panel.set(title=title, xlabel="step of the student")
    panel.legend()


if __name__ == "__main__":
    main()
