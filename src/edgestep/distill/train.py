"""`edgestep distill train TEACHER --data D`: a one-step generator in a diffusers folder, from a teacher in another."""

import copy
import json
from collections.abc import Callable
from dataclasses import asdict, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from edgestep.artifact import BadInput, check_writable
from edgestep.distill.checkpoint import save_checkpoint
from edgestep.distill.config import PUBLISHED, Config, check_config
from edgestep.distill.data.latent_data import LatentData, check_data
from edgestep.distill.data.open_data import open_data
from edgestep.distill.data.tokenizing import sha256_of_tokenizer
from edgestep.distill.estimate import Estimate, estimate
from edgestep.distill.evaluation.grid import draw_columns, save_grid
from edgestep.distill.evaluation.ways import one_step_way
from edgestep.distill.folders import Parts, decoded, read_parts
from edgestep.distill.matching import Matching
from edgestep.distill.pairs import Pairs
from edgestep.distill.run import Look, distill
from edgestep.distill.workers import Workers

FIXED_PROMPTS = 8


def train(
    teacher: Path,
    data: Path,
    work: Path,
    out: Path,
    config: Config,
    workers: Workers,
    *,
    look: Look | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> Any:
    """Distill the folder `teacher` on `data`; keep states in `work`, write the finished folder `out`; return its UNet.

    `look` replaces the picture grid of fixed prompts that is drawn into `work`/grids. Raises BadInput.
    """
    check_config(config)
    check_writable(out)
    parts = read_parts(teacher, workers.device)
    rows = open_data(data, parts.teacher.ids)
    _check_rows(rows, parts)
    _keep_config(work, config, workers)
    watch = look or grid_look(work, parts, rows, config)
    student = distill(work, parts.teacher, rows, config, workers, watch, partial(decoded, parts.vae))
    if workers.is_main:
        save_student(out, parts, student.unet, config)
        tell(f"written: {out}")
    workers.wait()
    return student


def grid_look(work: Path, parts: Parts, rows: LatentData, config: Config) -> Look:
    """Return what draws the data's first few prompts into `work`/grids, one picture a look."""
    prompts = rows.texts(torch.arange(min(FIXED_PROMPTS, len(rows))))

    def look(stage: str, unet: Any, done: int) -> None:
        way = one_step_way(f"{stage} {done}", parts.teacher, unet, parts.vae, config.conditioning_t)
        (work / "grids").mkdir(parents=True, exist_ok=True)
        save_grid(draw_columns([way], prompts, config.seed), prompts, work / "grids" / f"{stage}-{done:06d}.png")

    return look


def save_student(out: Path, parts: Parts, unet: Any, config: Config) -> None:
    """Write the student beside copies of its teacher's other parts; diffusers draws it with LCMScheduler, one step."""
    from diffusers import LCMScheduler

    teacher = parts.teacher
    scheduler = LCMScheduler.from_config(teacher.scheduler.config, original_inference_steps=50)
    text_encoder, vae, network = (copy.deepcopy(module).cpu() for module in (teacher.text_encoder, parts.vae, unet))
    said = json.dumps(asdict(config), indent=1)
    save_checkpoint(
        out,
        tokenizer=teacher.tokenizer,
        text_encoder=text_encoder,
        unet=network,
        vae=vae,
        scheduler=scheduler,
        card=CARD.format(method=config.method.upper(), t=config.conditioning_t, config=said),
    )


def config_from_json(path: Path | None, method: str | None = None) -> Config:
    """Read the fields of `Config` that differ from what is published of its method; `method` is over the file's."""
    if path is None:
        return _published(method or "dmd")
    try:
        values = json.loads(path.read_text())
        known = {field.name for field in fields(Config)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise BadInput(
                f"got {', '.join(unknown)} in {path}; expected some of {', '.join(sorted(known))}; correct it"
            )
        values = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
        wanted = method or values.get("method", "dmd")
        return replace(_published(wanted), **(values | {"method": wanted}))
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise BadInput(f"got {path}, no config ({error}); expected a JSON object of its fields; correct it") from error


def config_from_options(path: Path | None, method: str | None) -> Config:
    """Return the config of a file over the method's published shape, checked; the command line's method wins."""
    config = config_from_json(path, method)
    check_config(config)
    return config


def _published(method: str) -> Config:
    if method not in PUBLISHED:
        raise BadInput(f"got method {method!r}; expected one of {', '.join(PUBLISHED)}; choose one of these")
    return PUBLISHED[method]


def estimate_training(teacher: Path, data: Path, config: Config, workers: Workers) -> Estimate:
    """Take a few steps of the matching stage on the real data, and tell what all of them would take."""
    parts = read_parts(teacher, workers.device)
    rows = open_data(data, parts.teacher.ids)
    latents, ids = rows.take(torch.arange(min(len(rows), config.batch)))
    pairs = Pairs(torch.randn_like(latents), ids, latents) if config.regression_weight else None
    matching = Matching(parts.teacher, parts.teacher.unet, rows, pairs, config, workers)
    return estimate(matching.step, config.matching_steps, workers)


def _keep_config(work: Path, config: Config, workers: Workers) -> None:
    """Refuse a work folder begun with another config; else write it down, when every process has looked."""
    path, text = work / "config.json", json.dumps(asdict(config), indent=1) + "\n"
    differ = _differing(path, text) if path.exists() else []
    if differ:
        raise BadInput(
            f"got {work}, begun with another config ({', '.join(differ)}); expected {path}'s; choose another folder, "
            "or remove it"
        )
    workers.wait()
    if workers.is_main:
        work.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    workers.wait()


def _check_rows(rows: LatentData, parts: Parts) -> None:
    """Refuse data that was not made for this teacher."""
    teacher, size = parts.teacher, parts.teacher.unet.config.sample_size
    height, width = (size, size) if isinstance(size, int) else size
    check_data(
        rows,
        latent_shape=(teacher.unet.config.in_channels, height, width),
        prompt_tokens=teacher.text_encoder.config.max_position_embeddings,
        tokenizer_sha256=sha256_of_tokenizer(teacher.tokenizer),
        latent_scale=parts.vae.config.scaling_factor,
    )


CARD = """---
library_name: diffusers
pipeline_tag: text-to-image
---

# One-step generator

Distilled with edgestep ({method}). Draw with LCMScheduler, one step at t = {t}, no guidance. Its licence is its
teacher's.

```json
{config}
```
"""


def _differing(path: Path, text: str) -> list[str]:
    """Return the fields in which a config's JSON differs from the file; one that the file lacks has its default there:
    it came later."""
    defaults = json.loads(json.dumps(asdict(Config())))
    try:
        begun = defaults | json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError) as error:
        raise BadInput(f"got {path}, which cannot be read ({error}); expected a config's JSON; remove it") from error
    return [name for name, value in json.loads(text).items() if begun[name] != value]
