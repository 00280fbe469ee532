"""Ways to draw + real pictures + judge -> every measure of each, in one table, from the same noise on one machine."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgestep.distill.evaluation.classifier import PictureClassifier
from edgestep.distill.evaluation.drawing import judge_latents
from edgestep.distill.evaluation.gathered import Drawn, Gathered
from edgestep.distill.evaluation.grid import draw_columns, save_grid
from edgestep.distill.evaluation.latents import (
    DIVERSE,
    HELD_OUT,
    TRAINING,
    Latents,
    PromptSet,
    draw_all,
    sets_of,
)
from edgestep.distill.evaluation.measures import Row, measure
from edgestep.distill.evaluation.real import judge_real
from edgestep.distill.evaluation.report import table, write_json
from edgestep.distill.evaluation.sizes import Sizes
from edgestep.distill.evaluation.ways import Way, check_ways
from edgestep.distill.evaluation.wordings import Wordings

GRID_ROWS = 12
LATENTS, GATHERED = "latents", "evaluation.safetensors"
MEASURES, TABLE, GRID = "evaluation.json", "evaluation.md", "evaluation.png"
"""What is written: what was drawn (a folder), what was judged, the measures, their table, the picture grid."""


@dataclass(frozen=True)
class Evaluation:
    """The rows, and the device and sizes that they hold for."""

    rows: Sequence[Row]
    about: dict[str, Any]

    @property
    def table(self) -> str:
        """The rows as Markdown."""
        return table(self.rows)


def evaluate(
    ways: Sequence[Way],
    teacher: str,
    work: Path,
    wordings: Wordings,
    judge: PictureClassifier,
    out: Path,
    sizes: Sizes | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> Evaluation:
    """Draw with every way, judge, measure; write the files into `out` as they come.

    `teacher` is the way that diversity is relative to; `work` holds pictures.safetensors and captions.json.
    """
    sizes = sizes or Sizes()
    sizes.check()
    check_ways(ways)
    out.mkdir(parents=True, exist_ok=True)
    drawn = draw_all(ways, wordings, sizes, tell)
    drawn.save(out / LATENTS)
    shown = wordings.training.texts[:: max(1, len(wordings.training) // GRID_ROWS)][:GRID_ROWS]
    save_grid(draw_columns(ways, shown, sizes.seed), shown, out / GRID)
    return judge_and_measure(ways, drawn, teacher, work, wordings, judge, out, sizes)


def judge_and_measure(
    ways: Sequence[Way],
    latents: Latents,
    teacher: str,
    work: Path,
    wordings: Wordings,
    judge: PictureClassifier,
    out: Path,
    sizes: Sizes,
) -> Evaluation:
    """Judge what was drawn, now or before, and take the measures; `sizes` are those that it was drawn with."""
    sets = sets_of(wordings, sizes)
    judge = judge.to(ways[0].device)
    judged = {way.name: _judge(way, latents, sets, judge, sizes) for way in ways}
    real, again = (judge_real(work, judge, sizes.pictures, sizes.seed + seed) for seed in (100, 200))
    gathered = Gathered(real, again, judged)
    out.mkdir(parents=True, exist_ok=True)
    gathered.save(out / GATHERED)
    about = {"sizes": asdict(sizes), "device": latents.device, "judge": _about_judge(judge)}
    return write_measures(gathered, teacher, out, sizes, about)


def _judge(way: Way, latents: Latents, sets: Mapping[str, PromptSet], judge: PictureClassifier, sizes: Sizes) -> Drawn:
    seen = {
        name: judge_latents(
            way, latents.of(way.name, name, len(wanted.prompts)), wanted.prompts.concepts, judge, sizes.batch
        )
        for name, wanted in sets.items()
    }
    diverse = seen[DIVERSE].features.reshape(sizes.diversity_prompts, sizes.diversity_seeds, -1)
    about = latents.ways[way.name]
    return Drawn(about.nfe, about.seconds, seen[TRAINING], seen[HELD_OUT], diverse)


def write_measures(gathered: Gathered, teacher: str, out: Path, sizes: Sizes, about: dict[str, Any]) -> Evaluation:
    """Take the measures of what was gathered, now or before; write the JSON and the table."""
    evaluation = Evaluation(measure(gathered, teacher, sizes), about)
    write_json(out / MEASURES, evaluation.rows, about)
    (out / TABLE).write_text(evaluation.table + "\n")
    return evaluation


def _about_judge(judge: PictureClassifier) -> dict[str, int]:
    parameters = sum(p.numel() for p in judge.parameters())
    return {"concepts": len(judge.config.concepts), "features": judge.config.features, "parameters": parameters}
