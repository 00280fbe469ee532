"""Warm start: a copy of the teacher that is taught the teacher's own pairs in one step; also the ablation's control."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from edgestep.distill.average import Average
from edgestep.distill.config import Config
from edgestep.distill.generator import Predict, generator_of
from edgestep.distill.loop import Losses, Training, cosine_lr, run
from edgestep.distill.lora import merged, trained_copy
from edgestep.distill.losses.regression import regression_of
from edgestep.distill.pairs import Pairs
from edgestep.distill.teacher import Teacher
from edgestep.distill.workers import Workers, adamw


def train_regression(
    work: Path,
    teacher: Teacher,
    pairs: Pairs,
    config: Config,
    workers: Workers,
    look: Callable[[Any, int], None] | None = None,
    decode: Callable[[torch.Tensor], torch.Tensor] | None = None,
) -> Any:
    """Return the averaged student after `config.regression_steps` of mse(G(z, c), y).

    `look` and `decode` as in matching.
    """
    regression_loss = regression_of(config.regression_kind, decode)
    unet = trained_copy(teacher.unet, config.lora_rank)
    student = workers.module(Predict(unet))
    average, optimizer = Average(unet, config.average), adamw(unet, config.regression_lr)
    parts = {"unet": unet, "average": average, "optimizer": optimizer}
    training = Training(work, "regression", config.regression_steps, parts, config.seed + 5, workers)
    if look is not None:
        training.look_every, training.look = config.look_every, lambda done: look(average.module, done)
    draw = generator_of(student, teacher.schedule(), config.conditioning_t)

    def step(i: int, generator: torch.Generator) -> Losses:
        cosine_lr(optimizer, i, config.regression_steps, config.regression_lr)
        noise, ids, x0 = workers.share(*pairs.draw(config.batch, generator))
        with workers.autocast():
            x = draw(noise, teacher.embeds(ids))
        loss = regression_loss(x, x0)
        norm = workers.update(loss, unet, optimizer, config.clip)
        average.update()
        return {"regression": loss, "norm": norm}

    run(training, step)
    return merged(average.module)
