"""Every way's drawn latents, kept on disk: another judge or another decoder can look at them without drawing again."""

import json
import os
import platform
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from edgestep.artifact import BadInput
from edgestep.distill.evaluation.drawing import draw_latents
from edgestep.distill.evaluation.prompts import Prompts, noise_of
from edgestep.distill.evaluation.sizes import Sizes
from edgestep.distill.evaluation.timing import Seconds, time_ways
from edgestep.distill.evaluation.ways import Way
from edgestep.distill.evaluation.wordings import Wordings

TRAINING, HELD_OUT, DIVERSE = "training", "held_out", "diverse"
"""The three sets that are drawn."""


@dataclass(frozen=True)
class PromptSet:
    """Prompts, and the seed of the noise that they are drawn from."""

    prompts: Prompts
    seed: int


@dataclass(frozen=True)
class About:
    """Network evaluations and seconds of one picture."""

    nfe: int
    seconds: Seconds


@dataclass(frozen=True)
class Latents:
    """x0 [N, C, h, w] by "way/set"; how the ways draw; the device that they were drawn and timed on."""

    x0: Mapping[str, torch.Tensor]
    ways: Mapping[str, About]
    device: str

    def of(self, way: str, name: str, count: int) -> torch.Tensor:
        """Return a set's x0; BadInput where it is not there or of another size."""
        x0 = self.x0.get(f"{way}/{name}")
        if x0 is None or len(x0) != count:
            got = "no latents" if x0 is None else f"{len(x0)} latents"
            raise BadInput(f"got {got} of {way!r}, {name}; expected {count}; give the sizes that it was drawn with")
        return x0

    def save(self, folder: Path) -> None:
        """Write a safetensors file (fp16) per way, `file_of_way` its name, aside, then move it into place."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, way in self.ways.items():
            metadata = {"way": name, "nfe": str(way.nfe), "seconds": json.dumps(asdict(way.seconds))}
            mine = {key.rpartition("/")[2]: x0 for key, x0 in self.x0.items() if key.rpartition("/")[0] == name}
            path = folder / file_of_way(name)
            aside = path.with_name(f".{path.name}.{os.getpid()}")
            halves = {key: x0.to(torch.float16).contiguous() for key, x0 in mine.items()}
            save_file(halves, aside, metadata | {"device": self.device})
            os.replace(aside, path)


def file_of_way(name: str) -> str:
    """Return the file name of a way's latents: "teacher, 50 steps" -> "teacher-50-steps.safetensors"."""
    return re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-") + ".safetensors"


def read_latents(*paths: Path) -> Latents:
    """Return what `Latents.save` wrote into these files, as fp16 holds it."""
    x0, ways, devices = {}, {}, []
    for path in paths:
        try:
            with safe_open(path, "pt") as file:
                metadata = file.metadata() or {}
                name = metadata["way"]
                ways[name] = About(int(metadata["nfe"]), Seconds(**json.loads(metadata["seconds"])))
                x0 |= {f"{name}/{key}": file.get_tensor(key).float() for key in (TRAINING, HELD_OUT, DIVERSE)}
                devices.append(metadata["device"])
        except (OSError, KeyError, ValueError, TypeError, SafetensorError) as error:
            raise BadInput(
                f"got {path}, no drawn latents ({error}); expected an evaluation's; evaluate again"
            ) from error
    return Latents(x0, ways, ", ".join(dict.fromkeys(devices)))


def sets_of(wordings: Wordings, sizes: Sizes) -> dict[str, PromptSet]:
    """Return the prompts of each set; they follow from the wordings, the sizes and the seed."""
    few = wordings.training.pick(sizes.diversity_prompts, sizes.seed + 3)
    return {
        TRAINING: PromptSet(wordings.training.pick(sizes.pictures, sizes.seed + 1), sizes.seed + 5),
        HELD_OUT: PromptSet(wordings.held_out.pick(sizes.held_out, sizes.seed + 2), sizes.seed + 6),
        DIVERSE: PromptSet(few.repeated(sizes.diversity_seeds), sizes.seed + 4),
    }


def draw_all(
    ways: Sequence[Way], wordings: Wordings, sizes: Sizes, tell: Callable[[str], None] = lambda _: None
) -> Latents:
    """Time every way, then draw every set with every way: the same prompts and noise for all."""
    shape, device = ways[0].latent_shape, ways[0].device
    seconds = time_ways(ways, wordings.training.texts[0], noise_of(sizes.timed_batch, shape, sizes.seed), sizes.turns)
    x0 = {}
    for name, wanted in sets_of(wordings, sizes).items():
        noise = noise_of(len(wanted.prompts), shape, wanted.seed)
        for way in ways:
            x0[f"{way.name}/{name}"] = draw_latents(way, wanted.prompts, noise, sizes.batch, name.replace("_", "-"))
    for way in ways:
        seconds_each = f"{seconds[way.name].total:.4f} s a picture at batch {sizes.timed_batch}"
        tell(f"{way.name}: {way.nfe} network evaluations, {seconds_each}")
    return Latents(x0, {way.name: About(way.nfe, seconds[way.name]) for way in ways}, device_name(device))


def device_name(device: torch.device) -> str:
    """Return the GPU's name, or the processor's architecture and how many threads torch uses."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{platform.machine()} CPU, {torch.get_num_threads()} threads"
