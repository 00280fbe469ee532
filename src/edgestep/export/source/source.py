"""What a user hands over: a base folder, and what goes over it or is said by hand."""

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
