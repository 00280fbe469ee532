"""What a user hands over: a base folder, and what goes over it or is said by hand."""

import re
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Source:
    """A diffusers folder and how it is changed; nothing here is checked yet.

    `unet`: weights of the denoiser alone (.safetensors, .bin), over the folder's own. `lora`: a LoRA to fuse, times
    `lora_scale`. `decoder`: a folder with an AutoencoderTiny in place of the VAE. `family`: a row of FAMILIES, found
    out where None. `timestep`, `prediction_type`, `alpha_bar`: override the family's or the scheduler's. `steps`: 1, 2
    or 4; `timesteps` names them. `guidance_embedding`: the scale told to a network with time_cond_proj_dim. `size`:
    (H, W) of the picture where it is not the checkpoint's own.
    """

    folder: Path
    unet: Path | None = None
    lora: Path | None = None
    lora_scale: float = 1.0
    decoder: Path | None = None
    family: str | None = None
    timestep: float | None = None
    prediction_type: str | None = None
    alpha_bar: float | None = None
    steps: int = 1
    timesteps: tuple[float, ...] | None = None
    guidance_embedding: float | None = None
    size: tuple[int, int] | None = None
    allow_pickle: bool = False

    @property
    def name(self) -> str:
        """What artifacts are called after: what goes over the base, else the folder; plain characters only."""
        over = self.unet or self.lora
        name = self.folder.resolve().name if over is None else _stem(over)
        tiny = f"-{self.decoder.resolve().name}" if self.decoder else ""
        return re.sub(r"[^a-z0-9.-]+", "-", f"{name}{tiny}".lower()).strip(".-") or "checkpoint"


GENERIC = ("pytorch_model", "diffusion_pytorch_model", "pytorch_lora_weights", "model", "adapter_model")
"""Names of files that say nothing; their folder's does, or the one above unet/ and transformer/."""


def _stem(path: Path) -> str:
    """Return the name of a weight file without suffixes, or of the folder that it lies in."""
    stem = path.name.split(".safetensors")[0].removesuffix(".bin").removesuffix(".pt").removesuffix(".fp16")
    if stem not in GENERIC:
        return stem
    folder = path.resolve().parent
    return (folder.parent if folder.name in ("unet", "transformer") else folder).name
