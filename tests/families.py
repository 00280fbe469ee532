"""Every family that edgestep knows: a small random model as it is published, and its published recipe in diffusers.

    source = FAMILIES["dmd2-sdxl-1step"].make(folder)
    drawn = FAMILIES["dmd2-sdxl-1step"].recipe(source, "a cat", noise)

Nothing of edgestep is used to draw: pipelines and schedulers are diffusers' own, set up as the model cards say.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from diffusers import (
    AutoencoderTiny,
    DDIMScheduler,
    DDPMScheduler,
    EulerDiscreteScheduler,
    LatentConsistencyModelPipeline,
    LCMScheduler,
    PixArtAlphaPipeline,
    SanaSprintPipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    TCDScheduler,
)
from safetensors.torch import load_file

from edgestep.artifact import NextStep, OneStep
from edgestep.export.source.source import Source
from tests.family_models import (
    EULER_LEADING,
    EULER_TRAILING,
    PNDM,
    new_sd_unet,
    new_sdxl_unet,
    write_kohya_lora,
    write_lcm,
    write_scheduler,
    write_sd15,
    write_sd21,
    write_sdxl,
    write_tiny_decoder,
    write_weights,
)
from tests.family_transformers import LINEAR_BETAS, human_instruction, new_pixart, write_pixart, write_sana_sprint

GUIDED_BY_LCM = 8.5
"""The guidance scale that LatentConsistencyModelPipeline tells its network by default."""
GUIDED_BY_SANA = 4.5
"""The guidance scale that SanaSprintPipeline tells its network by default."""


TOKENS = {"sd": 77, "sdxl": 77, "pixart": 120, "sana": 206 + 300 - 2}
"""Base -> how many tokens a prompt is padded to; sana's instruction has 206 with the small tokenizer."""


@dataclass(frozen=True, eq=False)
class Drawn:
    """`x0` float32 [B, C, h, w], before it is divided by the VAE's scale; `image` float32 [B, H, W, 3] in [0, 1]."""

    x0: torch.Tensor
    image: np.ndarray


@dataclass(frozen=True)
class FamilyCase:
    """One published way to draw.

    `family` is what edgestep calls it; `base` as in OneStep; `k` is (k_in, k_z, k_e) of the first step, to the digits
    that are known; `timesteps` are what the network is given, one per step.
    `make(folder)` writes the files and returns the Source with what a user has to say. `load(source)` returns
    diffusers' pipeline with everything applied; `draw(pipe, prompt, noise)` draws with it.
    """

    family: str
    base: str
    prediction_type: str
    timesteps: tuple[float, ...]
    k: tuple[float, float, float]
    latent_scale: float
    make: Callable[[Path], Source]
    load: Callable[[Source], Any]
    draw: Callable[[Any, str, torch.Tensor], Drawn]
    latent_shape: tuple[int, int, int] = (4, 8, 8)
    guidance_embedding: float | None = None

    def recipe(self, source: Source, prompt: str, noise: torch.Tensor, more_noise: torch.Tensor | None = None) -> Drawn:
        """Draw as published: float32 [1, C, h, w] standard normal; `more_noise` [n-1, 1, C, h, w] for a loop."""
        assert more_noise is None or len(more_noise) == len(self.timesteps) - 1
        pipe = self.load(source)
        with torch.inference_mode(), exactly(pipe.scheduler, more_noise):
            return self.draw(pipe, prompt, noise)

    def contract(self) -> OneStep:
        """Return what the row says, as a contract; what lies between the steps of a loop is not said (NaN)."""
        k_in, k_z, k_e = self.k
        _, height, width = self.latent_shape
        factor = 4 if self.base == "sana" else 2
        unknown = (float("nan"),) * 6
        return OneStep(
            family=self.family,
            timestep=self.timesteps[0],
            prediction_type=self.prediction_type,
            k_in=k_in,
            k_z=k_z,
            k_e=k_e,
            latent_scale=self.latent_scale,
            latent_shift=0.0,
            latent_shape=self.latent_shape,
            image_size=(factor * height, factor * width),
            prompt_tokens=TOKENS[self.base],
            bos_token_id=-1,
            eos_token_id=-1,
            pad_token_id=-1,
            tokenizer_sha256="",
            base=self.base,
            guidance_embedding=self.guidance_embedding,
            next_steps=tuple(NextStep(t, *unknown) for t in self.timesteps[1:]),
        )

    def noise(self, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
        """Return `noise` and `more_noise` for this case, standard normal."""
        random = torch.Generator().manual_seed(seed)
        all_steps = torch.randn((len(self.timesteps), 1, *self.latent_shape), generator=random)
        return all_steps[0], all_steps[1:]


@contextmanager
def exactly(scheduler, more_noise: torch.Tensor | None) -> Iterator[None]:
    """Within the block the scheduler adds `more_noise[i]` after step i, instead of drawing new noise."""
    module = type(scheduler).__module__

    def this_noise(shape, **_):
        step = getattr(scheduler, "step_index", None) or 0
        # Some schedulers also draw at the last step, where they multiply by zero.
        last = more_noise is None or step >= len(more_noise)
        return torch.zeros(shape) if last else more_noise[step]

    if not hasattr(import_module(module), "randn_tensor"):
        yield
        return
    with patch(f"{module}.randn_tensor", this_noise):
        yield


def _called(**how: Any) -> Callable[[Any, str, torch.Tensor], Drawn]:
    """The pipeline's own call, once for its latents and once for its picture."""

    def draw(pipe, prompt: str, noise: torch.Tensor) -> Drawn:
        x0 = pipe(prompt, latents=noise.clone(), output_type="latent", **how).images
        return Drawn(x0, pipe(prompt, latents=noise.clone(), output_type="np", **how).images)

    return draw


def _closed(t: float, k_in: float, k_z: float, k_e: float) -> Callable[[Any, str, torch.Tensor], Drawn]:
    """What no scheduler of diffusers does, as the authors' own scripts have it."""

    def draw(pipe, prompt: str, noise: torch.Tensor) -> Drawn:
        x0 = k_z * noise - k_e * network(pipe, prompt, k_in * noise, t)
        sample = pipe.vae.decode(x0 / pipe.vae.config.scaling_factor).sample
        return Drawn(x0, pipe.image_processor.postprocess(sample, output_type="np"))

    return draw


def network(pipe, prompt: str, x_in: torch.Tensor, t: float) -> torch.Tensor:
    """Return F(x_in, t, prompt) of the raw module, with the conditioning that its pipeline gives it."""
    if isinstance(pipe, PixArtAlphaPipeline):
        embeds, mask, *_ = pipe.encode_prompt(prompt, False, clean_caption=False)
        told = {"encoder_attention_mask": mask, "added_cond_kwargs": {"resolution": None, "aspect_ratio": None}}
        return pipe.transformer(x_in, embeds, torch.tensor([t]), **told).sample.chunk(2, dim=1)[0]
    if isinstance(pipe, SanaSprintPipeline):
        embeds, mask = pipe.encode_prompt(prompt, complex_human_instruction=human_instruction())
        told = torch.tensor([GUIDED_BY_SANA * pipe.transformer.config.guidance_embeds_scale])
        return pipe.transformer(x_in, embeds, torch.tensor([t]), told, encoder_attention_mask=mask).sample
    if isinstance(pipe, StableDiffusionXLPipeline):
        embeds, _, pooled, _ = pipe.encode_prompt(prompt, do_classifier_free_guidance=False)
        height, width = (side * pipe.vae_scale_factor for side in x_in.shape[-2:])
        added = {"text_embeds": pooled, "time_ids": torch.tensor([[height, width, 0, 0, height, width]]).float()}
        return pipe.unet(x_in, t, encoder_hidden_states=embeds, added_cond_kwargs=added).sample
    embeds, _ = pipe.encode_prompt(prompt, "cpu", 1, False)
    condition = None
    if pipe.unet.config.time_cond_proj_dim is not None:
        told = torch.tensor([GUIDED_BY_LCM - 1])
        condition = pipe.get_guidance_scale_embedding(told, pipe.unet.config.time_cond_proj_dim)
    return pipe.unet(x_in, t, timestep_cond=condition, encoder_hidden_states=embeds).sample


def _loaded(pipeline: type, source: Source, **more: Any):
    half = any(source.folder.glob("*/*.fp16.safetensors"))
    pipe = pipeline.from_pretrained(
        source.folder, variant="fp16" if half else None, torch_dtype=torch.float32, local_files_only=True, **more
    )
    if source.unet:
        state = torch.load(source.unet, weights_only=True) if source.unet.suffix == ".bin" else load_file(source.unet)
        (pipe.transformer if hasattr(pipe, "transformer") else pipe.unet).load_state_dict(state)
    if source.lora:
        pipe.load_lora_weights(source.lora.parent, weight_name=source.lora.name)
        pipe.fuse_lora(lora_scale=source.lora_scale)
    if source.decoder:
        pipe.vae = AutoencoderTiny.from_pretrained(source.decoder)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def _sd(scheduler: type | None = None, **config: Any) -> Callable[[Source], Any]:
    return lambda source: _rescheduled(_loaded(StableDiffusionPipeline, source), scheduler, config)


def _sdxl(scheduler: type | None = None, **config: Any) -> Callable[[Source], Any]:
    return lambda source: _rescheduled(
        _loaded(StableDiffusionXLPipeline, source, add_watermarker=False), scheduler, config
    )


def _lcm(source: Source):
    return _loaded(LatentConsistencyModelPipeline, source)


def _pixart(source: Source):
    assert source.unet is not None
    pipe = _loaded(PixArtAlphaPipeline, source)
    pipe.scheduler = DDPMScheduler.from_pretrained(source.unet.parent.parent, subfolder="scheduler")
    return pipe


def _sana(source: Source):
    return _loaded(SanaSprintPipeline, source)


def _rescheduled(pipe, scheduler: type | None, config: dict[str, Any]):
    if scheduler is not None:
        pipe.scheduler = scheduler.from_config(pipe.scheduler.config, **config)
    return pipe


def _over_sd15(folder: Path, file: str, **said: Any) -> Source:
    write_sd15(folder / "base")
    return Source(folder / "base", unet=write_weights(folder / file, new_sd_unet(1)), **said)


def _over_sdxl(folder: Path, file: str, **said: Any) -> Source:
    write_sdxl(folder / "base", scheduler="EulerDiscreteScheduler", config=EULER_LEADING)
    return Source(folder / "base", unet=write_weights(folder / file, new_sdxl_unet(1), half=True), **said)


def _over_pixart(folder: Path) -> Source:
    """The DMD repository holds transformer/ and scheduler/ alone; the rest comes from PixArt-XL-2-512x512."""
    write_pixart(folder / "base")
    own = folder / "PixArt-Alpha-DMD-XL-2-512x512"
    write_scheduler(own, "DDPMScheduler", {**LINEAR_BETAS, "clip_sample": False, "prediction_type": "epsilon"})
    weights = write_weights(own / "transformer" / "diffusion_pytorch_model.safetensors", new_pixart(1))
    return Source(folder / "base", unet=weights, family="pixart-dmd")


def _sd15_lora(folder: Path, file: str, **said: Any) -> Source:
    write_sd15(folder / "base")
    return Source(folder / "base", lora=write_kohya_lora(folder / file, new_sd_unet(0), seed=1), **said)


def _sdxl_lora(folder: Path, file: str, **said: Any) -> Source:
    write_sdxl(folder / "base", scheduler="EulerDiscreteScheduler", config=EULER_LEADING)
    return Source(folder / "base", lora=write_kohya_lora(folder / file, new_sdxl_unet(0), seed=1), **said)


def _folder(write: Callable[..., None], how: dict[str, Any] | None = None, **said: Any) -> Callable[[Path], Source]:
    def make(folder: Path) -> Source:
        write(folder / "model", **(how or {}))
        return Source(folder / "model", **said)

    return make


EPSILON = "epsilon"
AT_999 = (1.0, 14.6488, 14.6146)
TURBO = (0.997667, 14.6146, 14.6146)
SD_SCALE, SDXL_SCALE, DC_SCALE = 0.18215, 0.13025, 0.41407
SMALL_SANA = {"height": 32, "width": 32, "use_resolution_binning": False}
PNDM_FOLDER = {"scheduler": "PNDMScheduler", "config": PNDM}
ROOT_BAR = 0.0047**0.5  # SwiftBrush's script has this alpha_bar for t = 999
UNGUIDED = {"num_inference_steps": 1, "guidance_scale": 0}
FOUR_STEPS = (999, 749, 499, 249)

FAMILIES: dict[str, FamilyCase] = {
    "dmd2-sd15": FamilyCase(
        "dmd2-sd15",
        "sd",
        EPSILON,
        (999,),
        AT_999,
        SD_SCALE,
        lambda folder: _over_sd15(folder, "pytorch_model.bin", family="dmd2-sd15", allow_pickle=True),
        _sd(LCMScheduler),
        _called(**UNGUIDED, timesteps=[999]),
    ),
    "dmd2-sdxl-1step": FamilyCase(
        "dmd2-sdxl",
        "sdxl",
        EPSILON,
        (399,),
        (1.0, 1.53197, 1.16058),
        SDXL_SCALE,
        lambda folder: _over_sdxl(folder, "dmd2_sdxl_1step_unet_fp16.bin", allow_pickle=True),
        _sdxl(LCMScheduler),
        _called(**UNGUIDED, timesteps=[399]),
    ),
    "dmd2-sdxl-4step": FamilyCase(
        "dmd2-sdxl",
        "sdxl",
        EPSILON,
        FOUR_STEPS,
        AT_999,
        SDXL_SCALE,
        lambda folder: _over_sdxl(folder, "dmd2_sdxl_4step_unet_fp16.bin", steps=4, allow_pickle=True),
        _sdxl(LCMScheduler),
        _called(num_inference_steps=4, guidance_scale=0, timesteps=list(FOUR_STEPS)),
    ),
    "dmd2-sdxl-4step-lora": FamilyCase(
        "dmd2-sdxl",
        "sdxl",
        EPSILON,
        FOUR_STEPS,
        AT_999,
        SDXL_SCALE,
        lambda folder: _sdxl_lora(folder, "dmd2_sdxl_4step_lora_fp16.safetensors", steps=4),
        _sdxl(LCMScheduler),
        _called(num_inference_steps=4, guidance_scale=0, timesteps=list(FOUR_STEPS)),
    ),
    "sd-turbo": FamilyCase(
        "sd-turbo",
        "sd",
        EPSILON,
        (999,),
        TURBO,
        SD_SCALE,
        _folder(write_sd21, {"scheduler": "EulerDiscreteScheduler", "config": EULER_TRAILING}),
        _sd(),
        _called(**UNGUIDED),
    ),
    "sd-turbo-taesd": FamilyCase(
        "sd-turbo",
        "sd",
        EPSILON,
        (999,),
        TURBO,
        1.0,
        lambda folder: replace(FAMILIES["sd-turbo"].make(folder), decoder=write_tiny_decoder(folder / "taesd")),
        _sd(),
        _called(**UNGUIDED),
    ),
    "sdxl-turbo": FamilyCase(
        "sdxl-turbo",
        "sdxl",
        EPSILON,
        (999,),
        TURBO,
        SDXL_SCALE,
        _folder(write_sdxl, {"scheduler": "EulerAncestralDiscreteScheduler", "config": EULER_TRAILING, "half": True}),
        _sdxl(),
        _called(**UNGUIDED),
    ),
    "sdxl-turbo-4step": FamilyCase(
        "sdxl-turbo",
        "sdxl",
        EPSILON,
        FOUR_STEPS,
        TURBO,
        SDXL_SCALE,
        _folder(write_sdxl, {"scheduler": "EulerAncestralDiscreteScheduler", "config": EULER_TRAILING}, steps=4),
        _sdxl(),
        _called(num_inference_steps=4, guidance_scale=0),
    ),
    "sdxl-lightning-1step": FamilyCase(
        "sdxl-lightning",
        "sdxl",
        "sample",
        (999,),
        (0.997667, 0.0, -1.0),
        SDXL_SCALE,
        lambda folder: _over_sdxl(folder, "sdxl_lightning_1step_unet_x0.safetensors"),
        _sdxl(EulerDiscreteScheduler, timestep_spacing="trailing", prediction_type="sample"),
        _called(**UNGUIDED),
    ),
    "sdxl-lightning-2step": FamilyCase(
        "sdxl-lightning",
        "sdxl",
        EPSILON,
        (999, 499),
        TURBO,
        SDXL_SCALE,
        lambda folder: _over_sdxl(folder, "sdxl_lightning_2step_unet.safetensors", steps=2),
        _sdxl(EulerDiscreteScheduler, timestep_spacing="trailing"),
        _called(num_inference_steps=2, guidance_scale=0),
    ),
    "sdxl-lightning-4step": FamilyCase(
        "sdxl-lightning",
        "sdxl",
        EPSILON,
        FOUR_STEPS,
        TURBO,
        SDXL_SCALE,
        lambda folder: _over_sdxl(folder, "sdxl_lightning_4step_unet.safetensors", steps=4),
        _sdxl(EulerDiscreteScheduler, timestep_spacing="trailing"),
        _called(num_inference_steps=4, guidance_scale=0),
    ),
    "hyper-sdxl": FamilyCase(
        "hyper-sdxl",
        "sdxl",
        EPSILON,
        (800,),
        (1.0, 5.2079, 5.1110),
        SDXL_SCALE,
        lambda folder: _over_sdxl(folder, "Hyper-SDXL-1step-Unet.safetensors"),
        _sdxl(LCMScheduler),
        _called(**UNGUIDED, timesteps=[800]),
    ),
    "hyper-sd15": FamilyCase(
        "hyper-sd15",
        "sd",
        EPSILON,
        (999,),
        (1.0, 14.6426, 14.5793),
        SD_SCALE,
        lambda folder: _sd15_lora(folder, "Hyper-SD15-1step-lora.safetensors"),
        _sd(TCDScheduler),
        _called(**UNGUIDED, eta=1.0),
    ),
    "hyper-sd15-2steps": FamilyCase(
        "hyper-nsteps",
        "sd",
        EPSILON,
        (999, 499),
        AT_999,
        SD_SCALE,
        lambda folder: _sd15_lora(folder, "Hyper-SD15-2steps-lora.safetensors", steps=2),
        _sd(DDIMScheduler, timestep_spacing="trailing"),
        _called(num_inference_steps=2, guidance_scale=0),
    ),
    "hyper-sdxl-lora": FamilyCase(
        "hyper-sdxl-lora",
        "sdxl",
        EPSILON,
        (999,),
        (1.0, 14.6426, 14.5793),
        SDXL_SCALE,
        lambda folder: _sdxl_lora(folder, "Hyper-SDXL-1step-lora.safetensors"),
        _sdxl(TCDScheduler),
        _called(**UNGUIDED, eta=1.0),
    ),
    "lcm-lora-sd15": FamilyCase(
        "lcm-lora",
        "sd",
        EPSILON,
        (999,),
        AT_999,
        SD_SCALE,
        lambda folder: _sd15_lora(folder, "pytorch_lora_weights.safetensors", family="lcm-lora"),
        _sd(LCMScheduler),
        _called(**UNGUIDED),
    ),
    "lcm-lora-sdxl": FamilyCase(
        "lcm-lora",
        "sdxl",
        EPSILON,
        (999,),
        AT_999,
        SDXL_SCALE,
        lambda folder: _sdxl_lora(folder, "pytorch_lora_weights.safetensors", family="lcm-lora"),
        _sdxl(LCMScheduler),
        _called(**UNGUIDED),
    ),
    "lcm": FamilyCase(
        "lcm",
        "sd",
        EPSILON,
        (999,),
        AT_999,
        SD_SCALE,
        _folder(write_lcm),
        _lcm,
        _called(num_inference_steps=1, guidance_scale=GUIDED_BY_LCM),
        guidance_embedding=GUIDED_BY_LCM,
    ),
    "lcm-4step": FamilyCase(
        "lcm",
        "sd",
        EPSILON,
        (999, 759, 499, 259),
        AT_999,
        SD_SCALE,
        _folder(write_lcm, steps=4),
        _lcm,
        _called(num_inference_steps=4, guidance_scale=GUIDED_BY_LCM),
        guidance_embedding=GUIDED_BY_LCM,
    ),
    "swiftbrush": FamilyCase(
        "swiftbrush",
        "sd",
        EPSILON,
        (999,),
        (1.0, 14.5865, 14.5522),
        SD_SCALE,
        _folder(write_sd21, PNDM_FOLDER, family="swiftbrush"),
        _sd(),
        _closed(999, 1.0, 1 / ROOT_BAR, (1 - 0.0047) ** 0.5 / ROOT_BAR),
    ),
    "sid-lsg": FamilyCase(
        "sid-lsg",
        "sd",
        EPSILON,
        (625,),
        (0.928564, 2.50170, 2.50170),
        SD_SCALE,
        _folder(write_sd15, family="sid-lsg"),
        _sd(EulerDiscreteScheduler, timestep_spacing="trailing"),
        _called(**UNGUIDED, timesteps=[625]),
    ),
    "instaflow": FamilyCase(
        "instaflow",
        "sd",
        "velocity",
        (1000.0,),
        (1.0, 1.0, -1.0),
        SD_SCALE,
        _folder(write_sd15, family="instaflow"),
        _sd(),
        _closed(1000.0, 1.0, 1.0, -1.0),
    ),
    "pixart-dmd": FamilyCase(
        "pixart-dmd",
        "pixart",
        EPSILON,
        (400,),
        (1.0, 2.27289, 2.04109),
        SD_SCALE,
        _over_pixart,
        _pixart,
        _called(
            num_inference_steps=1,
            guidance_scale=1,
            timesteps=[400],
            use_resolution_binning=False,
            clean_caption=False,
        ),
    ),
    "sana-sprint": FamilyCase(
        "sana-sprint",
        "sana",
        "trigflow",
        (1.0000037,),
        (1.0000037, 1.0000037, 1.0000037),
        DC_SCALE,
        _folder(write_sana_sprint),
        _sana,
        _called(num_inference_steps=1, intermediate_timesteps=None, **SMALL_SANA),
        guidance_embedding=GUIDED_BY_SANA,
    ),
    "sana-sprint-2step": FamilyCase(
        "sana-sprint",
        "sana",
        "trigflow",
        (1.0000037, 0.782708),
        (1.0000037, 1.0000037, 1.0000037),
        DC_SCALE,
        _folder(write_sana_sprint, steps=2),
        _sana,
        _called(num_inference_steps=2, **SMALL_SANA),
        guidance_embedding=GUIDED_BY_SANA,
    ),
}
"""Row -> how it is published and drawn."""
