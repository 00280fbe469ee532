"""Do quantized artifacts of the emoji generator still draw what the prompt says? Top 1 and top 5, by the bundled judge.

    python benchmarks/concept_accuracy.py FLOAT QUANTIZED [QUANTIZED ...] --styles 2

The prompts are the generator's own, each concept in the first styles of the list; the noise is the same for all
artifacts. The ratio is over the first artifact's accuracy, with a bootstrap interval over the prompts.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

from edgestep.artifact import BadInput
from edgestep.distill.evaluation.accuracy import hits, ranks_of
from edgestep.distill.evaluation.classifier import PictureClassifier, bundled_classifier, load_classifier
from edgestep.export.source.checkpoint import checkpoint_folder
from edgestep.runtimes.drawing import Drawer
from edgestep.runtimes.noise import noise_from_seed
from edgestep.runtimes.tokenizer import inputs_from_prompt

SEED = 9_000_000
"""Far from the seeds of calibration and of reference bundles."""
RESAMPLES = 2_000


def main() -> int:
    """Draw with every artifact, judge, and print one row per artifact."""
    given = _arguments()
    judge = load_classifier(bundled_classifier())
    prompts, concepts = _prompts(judge, given.styles)
    table = Table("artifact", "top 1", "top 5", "top 5 over the first's", "95 % interval")
    first: np.ndarray | None = None
    for folder in given.artifacts:
        ranks = _ranks(folder, prompts, concepts, judge)
        top5 = hits(ranks, 5)
        first = top5 if first is None else first
        low, high = _interval(top5, first)
        shares = (f"{hits(ranks, 1).mean():.1%}", f"{top5.mean():.1%}", f"{top5.mean() / first.mean():.4f}")
        table.add_row(folder.name, *shares, f"{low:.4f} to {high:.4f}")
    console = Console()
    console.print(table)
    console.print(f"{len(prompts)} prompts over {len(set(concepts.tolist()))} concepts, one noise each")
    return 0


def _prompts(judge: PictureClassifier, styles: int) -> tuple[list[str], np.ndarray]:
    """Return prompts, `styles` of each concept, and the number of the concept that each asks for."""
    listed = (checkpoint_folder("emoji") / "prompts.txt").read_text().splitlines()
    names = dict.fromkeys(line.split(" ", 1)[0] for line in listed)
    chosen = list(names)[:styles]
    concepts = judge.config.concepts
    pairs = [(f"{style} {concept}", number) for style in chosen for number, concept in enumerate(concepts)]
    return [prompt for prompt, _ in pairs], np.array([number for _, number in pairs])


def _ranks(folder: Path, prompts: list[str], concepts: np.ndarray, judge: PictureClassifier) -> np.ndarray:
    logits = []
    with Drawer(folder) as drawer:
        contract = drawer.artifact.contract
        for i, prompt in enumerate(track(prompts, folder.name, console=Console(stderr=True))):
            inputs = inputs_from_prompt(folder, contract, prompt)
            picture = drawer.draw(noise=noise_from_seed(SEED + i, contract.latent_shape), **inputs).image
            pixels = torch.from_numpy(picture).permute(0, 3, 1, 2).float() / 127.5 - 1
            logits.append(judge.judge(pixels)[1].numpy())
    return ranks_of(np.concatenate(logits), concepts)


def _interval(top5: np.ndarray, first: np.ndarray) -> tuple[float, float]:
    """Return the 95 % interval of the ratio of means, prompts drawn with replacement, the same for both."""
    rows = np.random.default_rng(0).integers(0, len(top5), (RESAMPLES, len(top5)))
    low, high = np.quantile(top5[rows].mean(1) / first[rows].mean(1), (0.025, 0.975))
    return float(low), float(high)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("artifacts", nargs="+", type=Path, help="artifact folders; ratios are over the first")
    parser.add_argument("--styles", type=int, default=2, help="styles in which each concept is drawn")
    return parser.parse_args()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BadInput as error:
        print(f"concept_accuracy: {error}", file=sys.stderr)
        sys.exit(2)
