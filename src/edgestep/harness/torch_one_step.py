"""A diffusers folder -> one step drawn by diffusers' own parts: text encoder, UNet, the scheduler's own step, VAE.

The formula of the export room is not used here, so that a mistake in it cannot hide on both sides.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgestep.artifact import BadInput


@dataclass(frozen=True, eq=False)
class TorchDrawing:
    """`prompt_embeds` float32 [B, T, D], `x0` float32 [B, C, h, w], `image` float32 [B, H, W, 3] in [0, 1],
    `picture` uint8 [B, H, W, 3], rounded by diffusers' own image processor.
    """

    prompt_embeds: np.ndarray
    x0: np.ndarray
    image: np.ndarray
    picture: np.ndarray


class TorchOneStep:
    """A pipeline loaded on `device` ("cpu", "cuda") in `precision` ("fp32", "fp16", "bf16").

    Raises BadInput where torch or diffusers is not installed, CUDA is asked for and not there, or the folder does
    not load.
    """

    def __init__(
        self, folder: Path, *, device: str = "cpu", precision: str = "fp32", allow_pickle: bool = False
    ) -> None:
        self.torch = import_torch()
        check_device(self.torch, device)
        self.folder, self.device, self.precision, self.allow_pickle = folder, device, precision, allow_pickle
        self.dtype = {"fp32": self.torch.float32, "fp16": self.torch.float16, "bf16": self.torch.bfloat16}[precision]
        self.pipe = load_pipeline(folder, allow_pickle)
        for part in (self.pipe.text_encoder, self.pipe.unet, self.pipe.vae):
            part.to(device, self.dtype)

    def again(self, *, device: str | None = None, precision: str = "fp32") -> "TorchOneStep":
        """Return the same pipeline loaded once more, in another precision or on another device."""
        return TorchOneStep(
            self.folder, device=device or self.device, precision=precision, allow_pickle=self.allow_pickle
        )

    @property
    def timestep(self) -> float:
        """The t of the single step, from the scheduler itself."""
        self.pipe.scheduler.set_timesteps(1, device=self.device)
        return float(self.pipe.scheduler.timesteps[0])

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """(C, h, w) of the UNet's config."""
        size = self.pipe.unet.config.sample_size
        height, width = (size, size) if isinstance(size, int) else size
        return int(self.pipe.unet.config.in_channels), int(height), int(width)

    @property
    def prompt_tokens(self) -> int:
        """T: what the tokenizer pads to, at most what the text encoder has positions for."""
        return min(self.pipe.tokenizer.model_max_length, self.pipe.text_encoder.config.max_position_embeddings)

    @property
    def image_size(self) -> tuple[int, int]:
        """(H, W) that the VAE makes of the latents."""
        _, height, width = self.latent_shape
        return height * self.pipe.vae_scale_factor, width * self.pipe.vae_scale_factor

    def input_ids(self, prompt: str) -> np.ndarray:
        """Return int64 [1, T] by the pipeline's tokenizer; BadInput for an empty or over-long prompt, never cut."""
        if not prompt.strip():
            raise BadInput("got an empty prompt; expected some words; name what to draw")
        most = self.prompt_tokens
        ids = self.pipe.tokenizer(prompt, padding="max_length", max_length=most, truncation=False).input_ids
        if len(ids) > most:
            raise BadInput(f"got a prompt of {len(ids)} tokens ({prompt[:40]!r}); expected at most {most}; shorten it")
        return np.array([ids], dtype=np.int64)

    def draw(self, input_ids: np.ndarray, noise: np.ndarray) -> TorchDrawing:
        """Draw one step without guidance from int64 [B, T] and float32 standard normal [B, C, h, w]."""
        with self.torch.inference_mode():
            embeds = self.encode(input_ids)
            latents = self.torch.from_numpy(noise).to(self.device, self.dtype)
            x0 = self.denoise(latents, embeds)
            image = self.decode(x0)
        picture = (image * 255).round().astype(np.uint8)  # as diffusers' numpy_to_pil
        return TorchDrawing(embeds.float().cpu().numpy(), x0.float().cpu().numpy(), image, picture)

    def encode(self, input_ids: np.ndarray) -> Any:
        """Return the prompt embeddings as a tensor."""
        return self.pipe.text_encoder(self.torch.from_numpy(input_ids).to(self.device))[0]

    def denoise(self, noise: Any, embeds: Any) -> Any:
        """Return x0 as a tensor: the scheduler's own step, whose last step adds no noise."""
        scheduler = self.pipe.scheduler
        scheduler.set_timesteps(1, device=self.device)
        t = scheduler.timesteps[0]
        latents = noise * scheduler.init_noise_sigma
        predicted = self.pipe.unet(scheduler.scale_model_input(latents, t), t, encoder_hidden_states=embeds).sample
        return scheduler.step(predicted, t, latents).prev_sample

    def decode(self, x0: Any) -> np.ndarray:
        """Return float32 [B, H, W, 3] in [0, 1] by the VAE and diffusers' image processor."""
        sample = self.pipe.vae.decode(x0 / self.pipe.vae.config.scaling_factor).sample
        return self.pipe.image_processor.postprocess(sample, output_type="np").astype(np.float32)


def import_torch() -> Any:
    """Return torch; raise BadInput naming the extra where it or diffusers is not installed."""
    try:
        import diffusers  # noqa: F401
        import torch
    except ImportError as error:
        raise BadInput(
            f"got no {error.name}; expected PyTorch and diffusers; pip install 'edgestep[export]', or carry a bundle "
            "that was recorded elsewhere"
        ) from error
    return torch


def check_device(torch: Any, device: str) -> None:
    """Raise BadInput for a device that is neither cpu nor cuda, or for CUDA where there is none."""
    if device not in ("cpu", "cuda"):
        raise BadInput(f"got device {device!r}; expected cpu or cuda; choose one of these")
    if device == "cuda" and not torch.cuda.is_available():
        raise BadInput("got device 'cuda' on a machine without it; expected an NVIDIA GPU; use --device cpu")


def load_pipeline(folder: Path, allow_pickle: bool = False) -> Any:
    """Return the StableDiffusionPipeline in fp32 on the CPU, without a safety checker, from local files only."""
    from diffusers import StableDiffusionPipeline

    half = any(folder.glob("unet/*.fp16.safetensors")) and not any(folder.glob("unet/*model.safetensors"))
    with _quiet():
        try:
            pipe = StableDiffusionPipeline.from_pretrained(
                folder,
                variant="fp16" if half else None,
                safety_checker=None,
                requires_safety_checker=False,
                local_files_only=True,
                use_safetensors=None if allow_pickle else True,  # None: .bin where there is nothing else, weights only
            )
        except Exception as error:  # diffusers raises a dozen unrelated classes for a folder that does not fit
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise BadInput(
                f"got {folder}, which diffusers cannot load ({reason}); expected a Stable Diffusion 1.5 folder"
            ) from error
    for part in (pipe.text_encoder, pipe.unet, pipe.vae):
        part.float().eval()  # published weights are often stored in fp16
    return pipe


@contextmanager
def _quiet() -> Iterator[None]:
    """Within the block diffusers and transformers log errors only; their levels and bars are put back afterwards."""
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    both = (diffusers_logging, transformers_logging)
    levels = [log.get_verbosity() for log in both]
    for log in both:
        log.set_verbosity_error()
        log.disable_progress_bar()
    try:
        yield
    finally:
        for log, level in zip(both, levels, strict=True):
            log.set_verbosity(level)
            log.enable_progress_bar()


@contextmanager
def exact_float32(torch: Any) -> Iterator[None]:
    """Within the block no float32 is computed as TF32; the switches are put back afterwards."""
    matmul, cudnn = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = matmul, cudnn
