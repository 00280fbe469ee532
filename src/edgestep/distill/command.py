"""`edgestep distill train`: a teacher's folder and data -> a one-step generator's folder."""

from pathlib import Path
from typing import Annotated

import typer

from edgestep.progress import teller


def train(
    teacher: Annotated[Path, typer.Argument(help="The teacher's diffusers folder, shaped like Stable Diffusion.")],
    data: Annotated[Path, typer.Option(help="Latents and prompts, from 'distill precompute', .tar or .parquet.")],
    work: Annotated[Path, typer.Option(help="Where states are kept; an earlier run is gone on with.")],
    out: Annotated[Path, typer.Option("--out", help="Where to write the finished checkpoint; new or empty.")],
    config: Annotated[Path | None, typer.Option(help="A JSON file of the trainer's fields.")] = None,
    method: Annotated[str | None, typer.Option(help="dmd or dmd2; over the config's.")] = None,
    estimate: Annotated[bool, typer.Option("--estimate", help="Only tell memory and time of the training.")] = False,
    cpu: Annotated[bool, typer.Option("--cpu", help="Keep to the CPU where there is a GPU.")] = False,
) -> None:
    """Distill a teacher into one step by distribution matching. Resumable; runs under 'accelerate launch'."""
    from edgestep.distill.train import config_from_options, estimate_training
    from edgestep.distill.train import train as run_training
    from edgestep.distill.workers import Workers

    chosen = config_from_options(config, method)
    workers = Workers.of(cpu=cpu, log_folder=None if estimate else work)
    tell = teller() if workers.is_main else lambda _: None
    if estimate:
        tell(str(estimate_training(teacher, data, chosen, workers)))
        return
    run_training(teacher, data, work, out, chosen, workers, tell=tell)
