"""A Source -> pictures drawn by diffusers' own pipeline, scheduler and VAE: what every artifact is compared with.

The formula of the export room is not used here, so that a mistake in it cannot hide on both sides; where diffusers has
no scheduler for it, `formula_by` says "contract".
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgestep.artifact import BadInput, OneStep
from edgestep.export.source.source import Source
from edgestep.harness.reference.torch_pipeline import denoiser_of, load_pipeline, models_of, quiet
from edgestep.harness.reference.torch_prompts import IDS, INPUTS, conditioning, inputs_from_prompt, prompt_tokens
from edgestep.harness.reference.torch_scheduler import exact_noises, schedule_from_contract


@dataclass(frozen=True, eq=False)
class TorchDrawing:
    """`prompt_embeds` float32 [B, T, D], `x0` float32 [B, C, h, w], `image` float32 [B, H, W, 3] in [0, 1],
    `picture` uint8 [B, H, W, 3], rounded by diffusers' own image processor; `pooled` float32 [B, E] for sdxl.
    """

    prompt_embeds: np.ndarray
    x0: np.ndarray
    image: np.ndarray
    picture: np.ndarray
    pooled: np.ndarray | None = None


class TorchOneStep:
    """A source, or a plain folder, loaded on `device` ("cpu", "cuda", "mps") in `precision` ("fp32", "fp16", "bf16").

    `contract` says which family it is and at which timesteps it draws; None reads it from the source. Raises BadInput
    where torch or diffusers is not installed, a GPU is asked for and not there, or the source does not load.
    """

    def __init__(
        self,
        source: Source | Path,
        *,
        contract: OneStep | None = None,
        device: str = "cpu",
        precision: str = "fp32",
        allow_pickle: bool = False,
    ) -> None:
        self.torch = import_torch()
        check_device(self.torch, device)
        self.source = source if isinstance(source, Source) else Source(source, allow_pickle=allow_pickle)
        self.contract = contract or contract_from_source(self.source)
        self.device, self.precision = device, precision
        self.dtype = {"fp32": self.torch.float32, "fp16": self.torch.float16, "bf16": self.torch.bfloat16}[precision]
        self.pipe = load_pipeline(self.source, self.contract.base)
        for part in models_of(self.pipe):
            part.to(device, self.dtype)
        if self.contract.base == "sdxl" and precision == "fp16" and self.pipe.vae.config.get("force_upcast"):
            self.pipe.vae.float()  # SDXL's VAE overflows in fp16; its pipeline does the same
        with quiet():
            schedule = schedule_from_contract(self.contract, self.pipe.scheduler, alpha_bar=self.source.alpha_bar)
        self.pipe.scheduler, self.formula_by, self._schedule = schedule.scheduler, schedule.formula_by, schedule.call

    def again(self, *, device: str | None = None, precision: str = "fp32") -> "TorchOneStep":
        """Return the same source loaded once more, in another precision or on another device."""
        return TorchOneStep(self.source, contract=self.contract, device=device or self.device, precision=precision)

    @property
    def folder(self) -> Path:
        """The base folder."""
        return self.source.folder

    @property
    def timestep(self) -> float:
        """The t of the first step."""
        return self.contract.timestep

    @property
    def steps(self) -> int:
        """How many steps the loop has."""
        return 1 + len(self.contract.next_steps)

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """(C, h, w): the network's channels, and the size that the contract says."""
        return int(denoiser_of(self.pipe).config.in_channels), *self.contract.latent_shape[1:]

    @property
    def prompt_tokens(self) -> int:
        """T: what the pipeline pads a prompt to."""
        return prompt_tokens(self.pipe, self.contract.base)

    @property
    def image_size(self) -> tuple[int, int]:
        """(H, W) that the VAE makes of the latents."""
        _, height, width = self.latent_shape
        return height * self.pipe.vae_scale_factor, width * self.pipe.vae_scale_factor

    def inputs(self, prompt: str) -> dict[str, np.ndarray]:
        """Return what the prompt becomes, int64 [1, T] by name; BadInput for an empty or over-long prompt."""
        return inputs_from_prompt(self.pipe, self.contract.base, prompt)

    def input_ids(self, prompt: str) -> np.ndarray:
        """Return the first tokenizer's ids alone, int64 [1, T]."""
        return self.inputs(prompt)[IDS]

    def draw(
        self, input_ids: np.ndarray, noise: np.ndarray, *, more_noise: np.ndarray | None = None, **inputs: np.ndarray
    ) -> TorchDrawing:
        """Draw without guidance from int64 [B, T] and float32 standard normal [B, C, h, w].

        `inputs`: `input_ids_2` (sdxl), `attention_mask` (pixart, sana). `more_noise` float32 [n-1, B, C, h, w] is what
        a loop of n steps adds after each step but the last, exactly.
        """
        with self.torch.inference_mode():
            told = self.conditioning(input_ids, **inputs)
            x0 = self.draw_x0(self._tensor(noise), told, None if more_noise is None else self._tensor(more_noise))
            image = self.decode(x0)
        picture = (image * 255).round().astype(np.uint8)  # as diffusers' numpy_to_pil
        embeds, pooled = told["prompt_embeds"], told.get("pooled_prompt_embeds")
        return TorchDrawing(_numpy(embeds), _numpy(x0), image, picture, None if pooled is None else _numpy(pooled))

    def conditioning(self, input_ids: np.ndarray, **inputs: np.ndarray) -> dict[str, Any]:
        """Return the pipeline's conditioning as tensors by the names of its call."""
        given = {IDS: input_ids, **inputs}
        if set(given) != set(INPUTS[self.contract.base]):
            expected = ", ".join(INPUTS[self.contract.base])
            raise BadInput(f"got the inputs {', '.join(given)}; expected {expected}; make them with this tokenizer")
        tensors = {name: self.torch.from_numpy(array).to(self.device) for name, array in given.items()}
        return conditioning(self.pipe, self.contract.base, tensors)

    def encode(self, input_ids: np.ndarray, **inputs: np.ndarray) -> Any:
        """Return the prompt embeddings as a tensor."""
        return self.conditioning(input_ids, **inputs)["prompt_embeds"]

    def draw_x0(self, noise: Any, told: dict[str, Any], more_noise: Any | None = None) -> Any:
        """Return x0 as a tensor by the pipeline's own call; `told` is the conditioning."""
        with exact_noises(self.pipe.scheduler, more_noise):
            return self.pipe(**told, **self._call(), latents=noise, output_type="latent").images

    @property
    def plain(self) -> bool:
        """Whether `denoise` can: one step on sd without a guidance embedding, by diffusers' scheduler."""
        told = self.contract.guidance_embedding
        return self.contract.base == "sd" and self.steps == 1 and told is None and self.formula_by == "scheduler"

    def denoise(self, noise: Any, embeds: Any) -> Any:
        """Return x0 of one step on sd by the same parts without the pipeline's checks, which take time: for timing."""
        if not self.plain:
            got = f"{self.contract.family} of {self.steps} steps on {self.contract.base}"
            raise BadInput(f"got {got}; expected one step on sd without a guidance embedding; call draw_x0")
        scheduler, custom = self.pipe.scheduler, self._schedule.get("timesteps")
        scheduler.set_timesteps(**({"timesteps": custom} if custom else {"num_inference_steps": 1}), device=self.device)
        t, latents = scheduler.timesteps[0], noise * scheduler.init_noise_sigma
        predicted = self.pipe.unet(scheduler.scale_model_input(latents, t), t, encoder_hidden_states=embeds).sample
        return scheduler.step(predicted, t, latents, return_dict=False)[0]

    def decode(self, x0: Any) -> np.ndarray:
        """Return float32 [B, H, W, 3] in [0, 1] by the VAE and diffusers' image processor."""
        vae = self.pipe.vae
        sample = vae.decode((x0 / vae.config.scaling_factor).to(vae.dtype)).sample
        return self.pipe.image_processor.postprocess(sample, output_type="np").astype(np.float32)

    def _call(self) -> dict[str, Any]:
        """Return what the pipeline is called with beside prompt and latents; a scale of 1 is no guidance."""
        height, width = self.image_size
        told = self.contract.guidance_embedding
        size = {"height": height, "width": width, "guidance_scale": 1.0 if told is None else told}
        whole = {"use_resolution_binning": False} if self.contract.base in ("pixart", "sana") else {}
        return {**size, **whole, **self._schedule}

    def _tensor(self, array: np.ndarray) -> Any:
        return self.torch.from_numpy(array).to(self.device, self.dtype)


def _numpy(tensor: Any) -> np.ndarray:
    return tensor.float().cpu().numpy()


def contract_from_source(source: Source) -> OneStep:
    """Return the contract that the export room reads from the source."""
    from edgestep.export.recipe.contract import contract_from_checkpoint
    from edgestep.export.source.checkpoint import open_source

    return contract_from_checkpoint(open_source(source))


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
    """Raise BadInput for a device that is not cpu, cuda or mps, or for a GPU where there is none of its kind."""
    if device not in ("cpu", "cuda", "mps"):
        raise BadInput(f"got device {device!r}; expected cpu, cuda or mps; choose one of these")
    if device == "cuda" and not torch.cuda.is_available():
        raise BadInput("got device 'cuda' on a machine without it; expected an NVIDIA GPU; use --device cpu")
    if device == "mps" and not torch.backends.mps.is_available():
        raise BadInput("got device 'mps' on a machine without it; expected an Apple GPU; use --device cpu")


@contextmanager
def exact_float32(torch: Any) -> Iterator[None]:
    """Within the block no float32 is computed as TF32; the switches are put back afterwards."""
    matmul, cudnn = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = matmul, cudnn
