"""What the latency worker runs for the baselines: PyTorch eager, one step; and the teacher's 50 steps with guidance."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from edgestep.export.source.source import Source
from edgestep.harness.reference.record import more_noise_numbered, noise_numbered
from edgestep.harness.reference.torch_one_step import TorchOneStep, import_torch

TEACHER_STEPS = 50
GUIDANCE = 7.5
PROMPT, NO_PROMPT = "red heart", ""


PATHS = ("folder", "unet", "lora", "decoder")


def source_from_json(raw: Mapping[str, Any]) -> Source:
    """Return the Source of its fields as JSON has them."""
    paths = {key: None if raw.get(key) is None else Path(raw[key]) for key in PATHS}
    pairs = {key: None if raw.get(key) is None else tuple(raw[key]) for key in ("timesteps", "size")}
    return Source(**{**raw, **paths, **pairs})


class OneStepRunner:
    """The checkpoint's own parts in PyTorch eager, fp32, batch 1, on the CPU: its own steps, no guidance.

    `source` has the fields of Source, paths as text.
    """

    def __init__(self, source: Mapping[str, Any], threads: int) -> None:
        self.source, self.threads = source_from_json(source), threads

    def imports(self) -> None:
        """Import PyTorch and the pipeline, and set the number of threads."""
        torch = import_torch()
        from diffusers import StableDiffusionPipeline  # noqa: F401

        torch.set_num_threads(self.threads)

    def load(self) -> float | None:
        """Load the pipeline; eager PyTorch compiles nothing."""
        self.model = TorchOneStep(self.source)
        self.inputs = self.model.inputs(PROMPT)
        self.noise = self.model.torch.from_numpy(noise_numbered(0, self.model.latent_shape))
        more_noise = more_noise_numbered(0, self.model.steps, self.model.latent_shape)
        self.more_noise = None if more_noise is None else self.model.torch.from_numpy(more_noise)
        return None

    def draw(self) -> dict[str, float]:
        """Draw once; return the seconds of each component."""
        seconds: dict[str, float] = {}
        with self.model.torch.inference_mode():
            told = _timed(seconds, "text_encoder", lambda: self.model.conditioning(**self.inputs))
            x0 = _timed(seconds, "unet", lambda: self._x0(told))
            image = _timed(seconds, "vae_decoder", lambda: self.model.decode(x0))
        _ = (image * 255).round().astype("uint8")
        return seconds

    def _x0(self, told: dict[str, Any]) -> Any:
        """Return x0; where it is possible without the pipeline's checks of its inputs, which take time."""
        if self.model.plain:
            return self.model.denoise(self.noise, told["prompt_embeds"])
        return self.model.draw_x0(self.noise, told, self.more_noise)

    def close(self) -> None:
        """Nothing to close: the process ends."""


class TeacherRunner(OneStepRunner):
    """DDIM with classifier-free guidance: `steps` steps, each one UNet call at batch 2, so 100 evaluations for 50.

    The network is `teacher/unet` where the checkpoint carries it, else the generator's own, which has the same shape
    and so the same time (its pictures mean nothing then, and nobody looks at them).
    """

    def __init__(self, source: Mapping[str, Any], threads: int, steps: int = TEACHER_STEPS) -> None:
        super().__init__(source, threads)
        self.steps = steps

    def load(self) -> float | None:
        """Load the pipeline and the teacher's UNet."""
        from diffusers import DDIMScheduler, UNet2DConditionModel

        super().load()
        teacher = self.source.folder / "teacher" / "unet"
        self.unet: Any = self.model.pipe.unet
        if teacher.is_dir():
            self.unet = UNet2DConditionModel.from_pretrained(teacher, local_files_only=True).float().eval()
        config = {**self.model.pipe.scheduler.config, "clip_sample": False, "timestep_spacing": "trailing"}
        self.scheduler: Any = DDIMScheduler.from_config(config)
        tokenizer, most = self.model.pipe.tokenizer, self.model.prompt_tokens
        prompts = tokenizer([NO_PROMPT, PROMPT], padding="max_length", max_length=most, return_tensors="np")
        self.both_ids = prompts.input_ids
        return None

    def draw(self) -> dict[str, float]:
        """Sample once; return the seconds of each component."""
        seconds: dict[str, float] = {}
        with self.model.torch.inference_mode():
            embeds = _timed(seconds, "text_encoder", lambda: self.model.encode(self.both_ids))
            latents = _timed(seconds, "unet", lambda: self.sample(embeds))
            image = _timed(seconds, "vae_decoder", lambda: self.model.decode(latents))
        _ = (image * 255).round().astype("uint8")
        return seconds

    def sample(self, embeds: Any) -> Any:
        """Return the latents after all steps; `embeds` [2, T, D], the empty prompt first."""
        self.scheduler.set_timesteps(self.steps)
        latents = self.noise * self.scheduler.init_noise_sigma
        for t in self.scheduler.timesteps:
            both = self.scheduler.scale_model_input(self.model.torch.cat([latents] * 2), t)
            without, with_prompt = self.unet(both, t, encoder_hidden_states=embeds).sample.chunk(2)
            guided = without + GUIDANCE * (with_prompt - without)
            latents = self.scheduler.step(guided, t, latents).prev_sample
        return latents


def _timed(seconds: dict[str, float], name: str, function: Callable[[], Any]) -> Any:
    start = time.perf_counter_ns()
    value = function()
    seconds[name] = (time.perf_counter_ns() - start) / 1e9
    return value
