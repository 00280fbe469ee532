"""A Checkpoint -> its family, and which of its keys decided that."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgestep.artifact import BadInput
from edgestep.export.recipe.families import FAMILIES, PLAIN, TRIGFLOW, Family
from edgestep.export.source.checkpoint import Checkpoint

FILES: tuple[tuple[str, str, str], ...] = (
    (r"dmd2?[-_]sdxl", "dmd2-sdxl", "sdxl"),
    (r"sdxl[-_]lightning", "sdxl-lightning", "sdxl"),
    (r"hyper-sdxl-1-?step-unet", "hyper-sdxl", "sdxl"),
    (r"hyper-sdxl-1-?step-lora", "hyper-sdxl-lora", "sdxl"),
    (r"hyper-sd15-1-?step-lora", "hyper-sd15", "sd"),
    (r"hyper-sdxl-\d+-?steps?-lora", "hyper-nsteps", "sdxl"),
    (r"hyper-sd15-\d+-?steps?-lora", "hyper-nsteps", "sd"),
    (r"lcm[-_]lora", "lcm-lora", "sd"),
    (r"lcm[-_]lora", "lcm-lora", "sdxl"),
    (r"pixart.*[-_]dmd", "pixart-dmd", "pixart"),
    (r"swiftbrush", "swiftbrush", "sd"),
    (r"instaflow", "instaflow", "sd"),
    (r"sid[-_]lsg", "sid-lsg", "sd"),
)
"""Pattern of a published file or folder name -> family, and the base that it goes over."""
SD_WIDTHS = {768: "sd15", 1024: "sd21"}
"""Width of the text embeddings -> what a plain family of base sd is called after."""


@dataclass(frozen=True)
class Detected:
    """`row` is what decides the recipe, `name` what the artifact says, `why` which keys decided."""

    row: Family
    name: str
    why: str


def family_of(checkpoint: Checkpoint) -> Detected:
    """Return the family: the one given by hand, else by file names, classes and config keys, else the plain scheduler.

    Raises BadInput for a family that there is not, or that is another base's.
    """
    given = checkpoint.source.family
    if given is not None:
        return _given(checkpoint, given)
    card = checkpoint.card.get("family")
    if card in FAMILIES and checkpoint.base in FAMILIES[card].bases:
        return Detected(FAMILIES[card], card, f"README.md says family: {card}")
    for name, why in (_by_file(checkpoint), _by_config(checkpoint), _by_folder(checkpoint)):
        if name:
            return Detected(FAMILIES[name], name, why)
    why = f"no row fits ({looked_at(checkpoint)}): the folder's own scheduler"
    return Detected(PLAIN, card or _plain_name(checkpoint), f"README.md says family: {card}" if card else why)


def looked_at(checkpoint: Checkpoint) -> str:
    """Return the keys that decide, with their values, for messages."""
    scheduler, denoiser = checkpoint.configs["scheduler"], checkpoint.configs[checkpoint.denoiser]
    names = [path.name for path in (checkpoint.source.unet, checkpoint.source.lora) if path]
    keys = {
        "pipeline": checkpoint.pipeline_class,
        "scheduler": checkpoint.scheduler_class,
        "timestep_spacing": scheduler.get("timestep_spacing"),
        "prediction_type": scheduler.get("prediction_type"),
        "time_cond_proj_dim": denoiser.get("time_cond_proj_dim"),
        "use_linear_projection": denoiser.get("use_linear_projection"),
        "files": "+".join(names) or None,
    }
    return ", ".join(f"{key} {value}" for key, value in keys.items() if value is not None)


def _given(checkpoint: Checkpoint, name: str) -> Detected:
    if name == PLAIN.name:
        return Detected(PLAIN, _plain_name(checkpoint), "family plain was given")
    if name not in FAMILIES:
        known = ", ".join([*FAMILIES, PLAIN.name])
        raise BadInput(f"got family {name!r}; expected one of {known}; choose one, or leave it out")
    row = FAMILIES[name]
    if checkpoint.base not in row.bases:
        fitting = ", ".join(n for n, r in FAMILIES.items() if checkpoint.base in r.bases)
        raise BadInput(
            f"got family {name!r}, of base {' or '.join(row.bases)}, for a checkpoint of base {checkpoint.base} "
            f"({checkpoint.pipeline_class}); expected one of {fitting}; choose one, or another base folder"
        )
    return Detected(row, name, f"family {name} was given")


def _by_file(checkpoint: Checkpoint) -> tuple[str, str]:
    found: dict[str, Path] = {}
    for path in (checkpoint.source.unet, checkpoint.source.lora):
        name = _by_name(_published_name(path).lower(), checkpoint.base) if path is not None else ""
        if path is not None and name:
            found.setdefault(name, path)
    if len(found) > 1:
        told = " and ".join(f"{path.name} of {name}" for name, path in found.items())
        raise BadInput(f"got {told}; expected one family; leave one out, or say which recipe to draw by with --family")
    return next(((name, f"the file's name, {_published_name(path)}") for name, path in found.items()), ("", ""))


def steps_by_file(checkpoint: Checkpoint) -> tuple[int, str]:
    """Return how many steps a published file's name says, and the name: 4 of sdxl_lightning_4step_unet; else 0."""
    for path in (checkpoint.source.unet, checkpoint.source.lora):
        match = re.search(r"(?<!\d)(\d{1,2})[-_]?steps?(?![a-z])", path.name.lower()) if path else None
        if path is not None and match:
            return int(match[1]), path.name
    return 0, ""


def _by_folder(checkpoint: Checkpoint) -> tuple[str, str]:
    folder = checkpoint.folder.resolve()
    hub = folder.parent.parent.name if folder.parent.name == "snapshots" else ""
    name = _by_name((hub or folder.name).lower(), checkpoint.base)
    return (name, f"the folder's name, {hub or folder.name}") if name else ("", "")


def _by_name(text: str, base: str) -> str:
    found = (name for pattern, name, of_base in FILES if of_base == base and re.search(pattern, text))
    return next(found, "")


def _published_name(path: Path) -> str:
    """Return the file's name with its folder's: `lcm-lora-sdxl/pytorch_lora_weights.safetensors`."""
    parent = path.parent.parent if path.parent.name in ("unet", "transformer") else path.parent
    return f"{parent.name}/{path.name}"


def _by_config(checkpoint: Checkpoint) -> tuple[str, str]:
    denoiser, scheduler = checkpoint.configs[checkpoint.denoiser], checkpoint.configs["scheduler"]
    kind, base = checkpoint.scheduler_class, checkpoint.base
    if checkpoint.pipeline_class == "RectifiedFlowPipeline":
        return "instaflow", "pipeline class RectifiedFlowPipeline"
    if base == "sana" and kind == TRIGFLOW:
        return "sana-sprint", "pipeline class SanaSprintPipeline, scheduler SCMScheduler"
    if base == "pixart" and kind == "DDPMScheduler":
        return "pixart-dmd", "pipeline class PixArtAlphaPipeline with scheduler DDPMScheduler"
    if denoiser.get("time_cond_proj_dim") is not None:
        return "lcm", f"time_cond_proj_dim {denoiser['time_cond_proj_dim']} in the UNet's config"
    return _turbo(kind, base, scheduler, denoiser)


def _turbo(kind: str, base: str, scheduler: Mapping[str, Any], denoiser: Mapping[str, Any]) -> tuple[str, str]:
    if (scheduler.get("timestep_spacing"), scheduler.get("prediction_type", "epsilon")) != ("trailing", "epsilon"):
        return "", ""
    if kind == "EulerDiscreteScheduler" and base == "sd" and denoiser.get("use_linear_projection"):
        return "sd-turbo", "EulerDiscreteScheduler, timestep_spacing trailing, a UNet of SD2.1 (use_linear_projection)"
    if kind == "EulerAncestralDiscreteScheduler" and base == "sdxl":
        return "sdxl-turbo", "EulerAncestralDiscreteScheduler, timestep_spacing trailing, a UNet of SDXL"
    return "", ""


def _plain_name(checkpoint: Checkpoint) -> str:
    """Return base and scheduler: `sd15-lcm`, `sd21-euler`, `sd-like-tcd`, `sdxl-ddim`."""
    width = checkpoint.configs["text_encoder"].get("hidden_size", 0)
    base = SD_WIDTHS.get(width, "sd-like") if checkpoint.base == "sd" else checkpoint.base
    scheduler = checkpoint.scheduler_class.removesuffix("Scheduler").removesuffix("Discrete")
    return f"{base}-{scheduler.lower()}"
