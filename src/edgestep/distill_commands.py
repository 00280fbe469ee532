"""`edgestep distill …`: data, training, the tiny decoder, evaluation, and the bundled generator's own recipe."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from edgestep.artifact import BadInput
from edgestep.distill.command import train
from edgestep.distill.data.command import precompute
from edgestep.progress import teller

app = typer.Typer(help="Train one-step generators: distribution matching, a tiny decoder, and what they are worth.")
app.command()(precompute)
app.command()(train)

Cpu = Annotated[bool, typer.Option("--cpu", help="Keep to the CPU where there is a GPU.")]
Out = Annotated[Path, typer.Option("--out", help="Where to write; new or empty.")]
Work = Annotated[Path, typer.Option(help="Where states and data are kept; an earlier run is gone on with.")]


def _workers(cpu: bool, log_folder: Path | None = None) -> tuple[Any, Callable[[str], None]]:
    """Join the other processes; only the main one tells."""
    from edgestep.distill.workers import Workers

    workers = Workers.of(cpu=cpu, log_folder=log_folder)
    return workers, teller() if workers.is_main else lambda _: None


@app.command()
def emoji(
    work: Work,
    out: Annotated[Path | None, typer.Option("--out", help="Where to write the finished checkpoint.")] = None,
    icons: Annotated[Path | None, typer.Option(help="Folder with the icon packages' tarballs; npm by default.")] = None,
    until: Annotated[str, typer.Option(help="Stop after: data, autoencoder, teacher or student.")] = "student",
    recipe: Annotated[Path | None, typer.Option(help="A JSON file of the recipe's fields, over the defaults.")] = None,
    cpu: Cpu = False,
) -> None:
    """Train the bundled emoji generator: pictures, autoencoder, teacher, student. Resumable."""
    from edgestep.distill.emoji.recipe import recipe_from_json
    from edgestep.distill.emoji.stages import distill_emoji

    chosen = None if recipe is None else recipe_from_json(recipe)
    workers, tell = _workers(cpu, work)
    distill_emoji(work, out=out, icons=icons, until=until, recipe=chosen, workers=workers, tell=tell)


@app.command("decoder")
def train_decoder(
    checkpoint: Annotated[str, typer.Argument(help="A diffusers folder of a one-step generator, or emoji.")],
    out: Out,
    data: Annotated[Path | None, typer.Option(help="Folder of precomputed latents to train on as well.")] = None,
    prompts: Annotated[Path | None, typer.Option(help="Prompts, one a line, instead of prompts.txt.")] = None,
    judge: Annotated[Path | None, typer.Option(help="Folder of a classifier for the Fréchet distance.")] = None,
    work: Annotated[Path | None, typer.Option(help="Where a stopped run's state is kept; OUT.work by default.")] = None,
    timestep: Annotated[int, typer.Option(help="t of the generator's single step.")] = 999,
    steps: Annotated[int, typer.Option(help="Training steps.")] = 6000,
    batch: Annotated[int, typer.Option(help="Latents of a step, over all processes.")] = 64,
    lr: Annotated[float, typer.Option(help="The highest learning rate.")] = 4e-3,
    flops: Annotated[float, typer.Option(help="At most this share of the VAE decoder's operations.")] = 0.25,
    channels: Annotated[int, typer.Option(help="Width; 0 takes the widest that keeps to --flops.")] = 0,
    blocks: Annotated[str, typer.Option(help="Residual blocks on each level, from the latents' size up.")] = "6,4,1,0",
    measured: Annotated[int, typer.Option(help="Pictures that the result is measured on.")] = 1024,
    seed: Annotated[int, typer.Option(help="Seed of everything drawn.")] = 0,
    cpu: Cpu = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write the measures to this file.")] = None,
) -> None:
    """Train a tiny decoder in place of the VAE's: an approximation, for 'export --decoder'. Resumable."""
    from edgestep.distill.decoder.command import blocks_from_text, distill_decoder
    from edgestep.distill.decoder.recipe import DecoderRecipe
    from edgestep.export.source.checkpoint import checkpoint_folder

    recipe = DecoderRecipe(
        seed=seed, channels=channels, blocks=blocks_from_text(blocks), flops=flops, steps=steps, batch=batch, lr=lr,
        measured=measured,
    )  # fmt: skip
    workers, tell = _workers(cpu)
    measures = distill_decoder(
        checkpoint_folder(checkpoint), out, data=data, prompts=prompts, judge=judge, work=work,
        conditioning_t=timestep, recipe=recipe, workers=workers, tell=tell,
    )  # fmt: skip
    if json_file is not None and measures is not None:
        json_file.write_text(json.dumps(asdict(measures), indent=1) + "\n")


@app.command()
def evaluate(
    checkpoint: Annotated[str, typer.Argument(help="The student's diffusers folder, or emoji.")],
    teacher: Annotated[Path, typer.Option(help="The teacher's diffusers folder.")],
    data: Annotated[Path, typer.Option(help="Work folder of 'distill emoji', or a folder of captioned pictures.")],
    out: Annotated[Path, typer.Option("--out", help="Where the table, JSON, grid and latents go.")],
    other: Annotated[list[str] | None, typer.Option(help="NAME=FOLDER of another student; may be repeated.")] = None,
    judge: Annotated[Path | None, typer.Option(help="The judge's folder; the bundled one by default.")] = None,
    guidance: Annotated[float, typer.Option(help="The teacher's guidance scale.")] = 2.0,
    teacher_steps: Annotated[
        str, typer.Option(help="The teacher's steps; diversity is relative to the first.")
    ] = "50,25,1",
    timestep: Annotated[str, typer.Option(help="The student's timesteps; T - 1 by default.")] = "",
    pictures: Annotated[int, typer.Option(help="Pictures per way for the distances.")] = 2048,
    timed_batch: Annotated[int, typer.Option(help="Pictures drawn at once where time is taken.")] = 1,
    clip_score: Annotated[Path | None, typer.Option(help="Folder of a CLIP model.")] = None,
    inception_fid: Annotated[Path | None, typer.Option(help="File of Inception weights.")] = None,
    cpu: Cpu = False,
) -> None:
    """Compare a student with its teacher: distances, concepts, diversity, evaluations, time."""
    from edgestep.distill.evaluation.command import evaluate_folders
    from edgestep.distill.evaluation.sizes import Sizes
    from edgestep.export.source.checkpoint import checkpoint_folder

    workers, tell = _workers(cpu)
    table = evaluate_folders(
        checkpoint_folder(checkpoint), teacher, data, out, others=other or (), judge=judge, guidance=guidance,
        teacher_steps=_numbers(teacher_steps, "--teacher-steps"), times=_numbers(timestep, "--timestep"),
        sizes=Sizes(pictures=pictures, timed_batch=timed_batch), clip_score=clip_score, inception_fid=inception_fid,
        device=workers.device, tell=tell,
    )  # fmt: skip
    print(table)


def _numbers(text: str, option: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(",") if part.strip())
    except ValueError:
        raise BadInput(f"got {option} {text!r}; expected whole numbers with commas between; correct it") from None
