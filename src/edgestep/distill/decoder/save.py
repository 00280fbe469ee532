"""Trained tiny decoder -> a diffusers folder that `edgestep export --decoder` takes: fp16 safetensors, no pickle."""

import copy
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from edgestep.artifact import written_aside
from edgestep.distill.decoder.measure import DecoderMeasures
from edgestep.distill.decoder.recipe import DecoderRecipe

MEASURES = "measures.json"


def as_stored(tiny: Any) -> Any:
    """Return a float32 copy whose weights have been rounded to the float16 that is stored: what is measured."""
    return copy.deepcopy(tiny).half().float().eval()


def save_decoder(final: Path, tiny: Any, card: str, measures: DecoderMeasures, recipe: DecoderRecipe) -> None:
    """Write config.json, weights, README.md and measures.json aside, then move the folder into place."""
    with written_aside(final) as folder:
        copy.deepcopy(tiny).to("cpu", torch.float16).save_pretrained(folder, safe_serialization=True)
        (folder / "README.md").write_text(card)
        figures = {"recipe": asdict(recipe), "measures": asdict(measures)}
        (folder / MEASURES).write_text(json.dumps(figures, indent=1) + "\n")
