"""The options by which a command is told a Source: what goes over the checkpoint's folder, and what is said by hand.

    @app.command()
    @takes_source
    def export(source: Source, out: Out) -> None: ...

`source` becomes the argument CHECKPOINT and every option below, the same for each command.
"""

import functools
import inspect
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from edgestep.artifact import BadInput

OVER, BY_HAND = "Over the folder", "Said by hand"

OPTIONS: dict[str, tuple[Any, Any]] = {
    "unet": (
        Annotated[
            Path | None,
            typer.Option(help="Weights of the denoiser alone (.safetensors, .bin).", rich_help_panel=OVER),
        ],
        None,
    ),
    "lora": (Annotated[Path | None, typer.Option(help="A LoRA to fuse.", rich_help_panel=OVER)], None),
    "lora_scale": (Annotated[float, typer.Option(help="What the LoRA is multiplied by.", rich_help_panel=OVER)], 1.0),
    "decoder": (
        Annotated[
            str | None,
            typer.Option(
                help="An AutoencoderTiny's folder, or 'emoji-tiny', in place of the VAE: faster, not the same.",
                rich_help_panel=OVER,
            ),
        ],
        None,
    ),
    "family": (
        Annotated[
            str | None, typer.Option(help="A family, as in the README; found where not given.", rich_help_panel=BY_HAND)
        ],
        None,
    ),
    "timestep": (Annotated[float | None, typer.Option(help="t of the single step.", rich_help_panel=BY_HAND)], None),
    "prediction_type": (
        Annotated[str | None, typer.Option(help="epsilon, v_prediction or sample.", rich_help_panel=BY_HAND)],
        None,
    ),
    "alpha_bar": (
        Annotated[
            float | None, typer.Option(help="alpha_bar at t, where training had another.", rich_help_panel=BY_HAND)
        ],
        None,
    ),
    "steps": (Annotated[int, typer.Option(min=1, help="1, 2 or 4.", rich_help_panel=BY_HAND)], 1),
    "timesteps": (
        Annotated[str | None, typer.Option(help="t of every step: 999,749,499,249.", rich_help_panel=BY_HAND)],
        None,
    ),
    "guidance_embedding": (
        Annotated[
            float | None,
            typer.Option(help="The guidance scale that an LCM's network is told.", rich_help_panel=BY_HAND),
        ],
        None,
    ),
    "size": (
        Annotated[str | None, typer.Option(help="The picture, HEIGHTxWIDTH: 512x768.", rich_help_panel=BY_HAND)],
        None,
    ),
    "allow_pickle": (
        Annotated[bool, typer.Option("--allow-pickle", help="Accept .bin weights, read with weights_only.")],
        False,
    ),
}
"""Field of Source -> its option, and its default."""

CHECKPOINT = Annotated[str, typer.Argument(help="A diffusers folder, a hub id, or 'emoji' (bundled).")]


def takes_source(command: Callable[..., Any]) -> Callable[..., Any]:
    """Return `command` with its first parameter, `source`, spread over CHECKPOINT and OPTIONS."""
    own = list(inspect.signature(command, eval_str=True).parameters.values())[1:]
    spread = [inspect.Parameter("checkpoint", inspect.Parameter.KEYWORD_ONLY, annotation=CHECKPOINT)]
    spread += [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own]
    spread += [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=option, default=default)
        for name, (option, default) in OPTIONS.items()
    ]

    @functools.wraps(command)
    def spread_command(**given: Any) -> Any:
        said = {name: given.pop(name) for name in OPTIONS}
        return command(source_from_options(given.pop("checkpoint"), **said), **given)

    spread_command.__signature__ = inspect.Signature(spread)  # type: ignore[attr-defined]
    spread_command.__annotations__ = {p.name: p.annotation for p in spread}
    del spread_command.__wrapped__  # else the signature of what it wraps would be looked at
    return spread_command


def source_from_options(checkpoint: str, **said: Any) -> Any:
    """Return the Source of a command line; BadInput where the checkpoint is none, or an option cannot be read."""
    from edgestep.export.source.checkpoint import checkpoint_folder, decoder_folder
    from edgestep.export.source.source import Source

    said["timesteps"] = None if said["timesteps"] is None else _numbers(said["timesteps"])
    said["decoder"] = None if said["decoder"] is None else decoder_folder(said["decoder"])
    said["size"] = None if said["size"] is None else _size(said["size"])
    return Source(checkpoint_folder(checkpoint), **said)


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise BadInput(f"got --timesteps {text}; expected numbers with commas between: 999,749,499,249") from error


def sizes_from_options(texts: Iterable[str], option: str) -> tuple[tuple[int, int], ...]:
    """Return (H, W) of each; BadInput, which names the option, where one is no size."""
    return tuple(_size(text, option) for text in texts)


def _size(text: str, option: str = "--size") -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)x(\d+)", text.strip().lower())
    if match is None:
        raise BadInput(f"got {option} {text}; expected HEIGHTxWIDTH in pixels, such as 512x768")
    return int(match[1]), int(match[2])
