"""`edgestep distill precompute`: pictures and captions -> what the trainer reads."""

from pathlib import Path
from typing import Annotated, Any

import typer


def precompute(
    pictures: Annotated[
        Path,
        typer.Argument(
            help="A folder of .png, .jpg or .webp, each with its caption in NAME.txt; or one with captions.jsonl, "
            '{"file": "…", "text": "…"} a line.'
        ),
    ],
    teacher: Annotated[Path, typer.Option(help="A diffusers folder: its VAE and its tokenizer encode.")],
    out: Annotated[Path, typer.Option("--out", help="The data folder; an earlier run is gone on with.")],
    batch: Annotated[int, typer.Option(min=1, help="Pictures that are encoded together.")] = 8,
    shard_rows: Annotated[
        int, typer.Option(min=1, help="Pictures in a file: what a killed run loses at the most.")
    ] = 256,
    allow_empty: Annotated[bool, typer.Option("--allow-empty", help="Take pictures without a caption too.")] = False,
    cpu: Annotated[bool, typer.Option("--cpu", help="Keep to the CPU where there is a GPU.")] = False,
) -> None:
    """Encode pictures and captions once, by the teacher's VAE and tokenizer, so that training need not."""
    from edgestep.distill.data.precompute import precompute as run_precompute
    from edgestep.distill.workers import Workers

    workers = Workers.of(cpu=cpu)
    told = run_precompute(pictures, teacher, out, workers, batch=batch, shard_rows=shard_rows, allow_empty=allow_empty)
    if workers.is_main:
        print(text_from_about(told, out))


def text_from_about(told: dict[str, Any], out: Path) -> str:
    """Return what was made and what was left out, in lines."""
    rows, skipped = sum(told["rows"]), told["skipped"]
    shape = " x ".join(map(str, told["latent_shape"]))
    lines = [f"{out}: {rows} of {told['items']} pictures as latents of {shape}, {len(told['rows'])} shards"]
    if told["truncated"]:
        lines.append(f"captions cut to {told['prompt_tokens']} tokens: {told['truncated']}")
    if skipped:
        lines.append(f"pictures skipped: {len(skipped)}")
        lines += [f"  {row['file']}: {row['reason']}" for row in skipped]
    return "\n".join(lines)
