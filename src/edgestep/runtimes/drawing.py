"""Artifact folder -> Drawer: token ids and noise -> picture, split or fused, on any runtime.

Outside the graphs there are three formulas only: what lies between the steps of a loop (see NextStep), latent = x0 /
latent_scale + latent_shift, and the rounding of a decoded sample to a uint8 picture. The one-step formula itself is
inside the denoiser, but for Apple's layout of Core ML (see apple_layout.py), whose denoiser returns F.
"""

import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from edgestep.artifact import Artifact, BadInput, Component, TensorSpec, read_artifact
from edgestep.runtimes.apple_layout import denoiser_feeds, x0_from_noise_pred
from edgestep.runtimes.chain import Chain
from edgestep.runtimes.conditioning import conditioning
from edgestep.runtimes.registry import open_session, runtime_for
from edgestep.runtimes.session import Session


@dataclass(frozen=True)
class Drawing:
    """What was drawn. The fused form gives the image alone, the rest is None.

    `prompt_embeds` float32 [B, T, D], `x0` float32 [B, C, h, w] (before the latent scale), `sample` float32
    [B, 3, H, W] in about [-1, 1], `image` uint8 [B, H, W, 3]. `decoded`, like `image`, is what the decoder made of
    another x0 that it was handed, None where it was handed none. `notes` are lines that the runtime told of this
    drawing: where float16 overflowed.
    """

    prompt_embeds: np.ndarray | None
    x0: np.ndarray | None
    sample: np.ndarray | None
    image: np.ndarray
    decoded: np.ndarray | None = None
    notes: tuple[str, ...] = ()


class Drawer:
    """A loaded artifact that draws; a context manager.

    `runtime` is a key of SESSIONS, None for the artifact's own; `threads` None for the runtime's choice; `verify`
    checks every file's hash first; `options` go to `open_session`. Raises BadInput where any of that fails.
    """

    def __init__(
        self,
        folder: Path,
        *,
        runtime: str | None = None,
        threads: int | None = None,
        verify: bool = True,
        **options: Any,
    ) -> None:
        self.artifact = read_artifact(folder, verify=verify)
        runtime = runtime or runtime_for(self.artifact)
        self._sessions: dict[str, Session] = {}
        with ExitStack() as stack:  # what was opened is closed where a later component cannot be
            for component in self.artifact.components:
                session = _opened(component, folder, runtime, threads, options)
                self._sessions[component.name] = stack.enter_context(session)
            self._open = stack.pop_all()
        told = [getattr(session, "compile_s", None) for session in self._sessions.values()]
        self.compile_s = sum(t for t in told if t is not None) if any(t is not None for t in told) else None

    def draw(
        self, input_ids: np.ndarray, noise: np.ndarray, *, more_noise: np.ndarray | None = None, **inputs: np.ndarray
    ) -> Drawing:
        """Draw. `input_ids` int64 [B, T], `noise` float32 [B, C, h, w], standard normal; BadInput for others.

        `inputs`: `input_ids_2` (sdxl), `attention_mask` (pixart, sana), int64 [B, T]. `more_noise` float32
        [n-1, B, C, h, w] is what a loop of n steps adds after each step but the last, where it adds any.
        """
        drawing = self._draw(_together(input_ids, noise, more_noise, inputs), {}, {})
        notes = tuple(f"{name}: {overflow}" for name, overflow in self.overflows.items())
        return replace(drawing, notes=notes) if notes else drawing

    def draw_timed(
        self, input_ids: np.ndarray, noise: np.ndarray, *, more_noise: np.ndarray | None = None, **inputs: np.ndarray
    ) -> tuple[Drawing, dict[str, float]]:
        """Draw; return also the seconds of each component by name, and of what lies between them as `rest`."""
        seconds: dict[str, float] = {}
        start = time.perf_counter_ns()
        drawing = self._draw(_together(input_ids, noise, more_noise, inputs), {}, seconds)
        whole = (time.perf_counter_ns() - start) / 1e9
        return drawing, {**seconds, "rest": whole - sum(seconds.values())}

    def feeds(
        self, input_ids: np.ndarray, noise: np.ndarray, *, more_noise: np.ndarray | None = None, **inputs: np.ndarray
    ) -> dict[str, dict[str, np.ndarray]]:
        """Draw; return what each component was fed: component name -> input name -> array."""
        fed: dict[str, dict[str, np.ndarray]] = {}
        self._draw(_together(input_ids, noise, more_noise, inputs), fed, {})
        return fed

    @property
    def overflows(self) -> dict[str, Any]:
        """Return component name -> where float16 overflowed first in its last run, of those in which it did.

        Only the evaluator of Core ML tells: see `MilEvaluator.overflow`.
        """
        told = {name: getattr(session, "overflow", None) for name, session in self._sessions.items()}
        return {name: overflow for name, overflow in told.items() if overflow is not None}

    def decode(self, x0: np.ndarray) -> np.ndarray:
        """Return the decoder's picture, uint8 [B, H, W, 3], of float32 [B, C, h, w]; BadInput for the fused form."""
        return picture_from_sample(self._decoded(x0, {}, {}))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._sessions.clear()
        self._open.close()

    def _draw(self, inputs: dict[str, np.ndarray], fed: dict, seconds: dict[str, float]) -> Drawing:
        contract = self.artifact.contract
        check_inputs(self.artifact, inputs)
        if self.artifact.layout == "fused":
            image = self._run("generator", inputs, fed, seconds)["image"]
            return Drawing(None, None, None, image if image.dtype == np.uint8 else picture_from_unit(image))
        told = conditioning(contract, inputs, lambda name, given: self._run(name, given, fed, seconds))
        x0 = self._looped(inputs, told, fed, seconds)
        sample = self._decoded(x0, fed, seconds)
        embeds = told["encoder_hidden_states"].astype(np.float32, copy=False)
        return Drawing(embeds, x0, sample, picture_from_sample(sample))

    def _decoded(self, x0: np.ndarray, fed: dict, seconds: dict[str, float]) -> np.ndarray:
        contract = self.artifact.contract
        latent = x0 / np.float32(contract.latent_scale) + np.float32(contract.latent_shift)
        outputs = self._run("vae_decoder", {"latent_sample": latent, "z": latent}, fed, seconds)
        sample = outputs["sample"] if "sample" in outputs else outputs["image"]
        return sample.astype(np.float32, copy=False)

    def _looped(
        self, inputs: Mapping[str, np.ndarray], told: Mapping[str, np.ndarray], fed: dict, seconds: dict[str, float]
    ) -> np.ndarray:
        """Return x0 of the last step."""
        contract, names = self.artifact.contract, denoisers_of(self.artifact)
        z = inputs["noise"]
        x0 = self._denoised(names[0], z, contract.timestep, told, fed, seconds)
        for i, (name, step) in enumerate(zip(names[1:], contract.next_steps, strict=True)):
            z = np.float32(step.m_z) * z + np.float32(step.m_x) * x0
            if step.m_n:
                z = z + np.float32(step.m_n) * inputs["more_noise"][i]
            x0 = self._denoised(name, z, step.timestep, told, fed, seconds)
        return x0

    def _denoised(
        self, name: str, z: np.ndarray, timestep: float, told: Mapping[str, np.ndarray], fed: dict, seconds: dict
    ) -> np.ndarray:
        contract, session = self.artifact.contract, self._sessions[name]
        given = {"sample": z, "hidden_states": z, "timestep": np.array(timestep), **told}
        if returns_f := "noise_pred" in {spec.name for spec in session.outputs}:
            given |= denoiser_feeds(contract, z, told)
        outputs = self._run(name, given, fed, seconds)
        x0 = x0_from_noise_pred(contract, z, outputs["noise_pred"]) if returns_f else outputs["out_sample"]
        return x0.astype(np.float32, copy=False)

    def _run(
        self, name: str, given: Mapping[str, np.ndarray], fed: dict, seconds: dict[str, float]
    ) -> dict[str, np.ndarray]:
        session = self._sessions[self.artifact.component(name).name]
        feeds = {spec.name: _as_fed(name, spec, given) for spec in session.inputs}
        start = time.perf_counter_ns()
        outputs = session.run(feeds)
        seconds[name] = (time.perf_counter_ns() - start) / 1e9
        fed[name] = feeds
        return outputs


def _opened(
    component: Component, folder: Path, runtime: str, threads: int | None, options: Mapping[str, Any]
) -> Session:
    """Open a component; one in pieces as a chain of them."""
    with ExitStack() as stack:
        sessions = [
            stack.enter_context(open_session(runtime, folder / file, threads=threads, **options))
            for file in component.files
        ]
        stack.pop_all()
    return sessions[0] if len(sessions) == 1 else Chain(sessions)


def denoisers_of(artifact: Artifact) -> tuple[str, ...]:
    """Return the names of the denoiser's graphs, one a step, in the order in which they run."""
    return tuple(c.name for c in artifact.components if c.name.split("_")[0] in ("unet", "transformer"))


def inputs_of(artifact: Artifact) -> tuple[TensorSpec, ...]:
    """Return what `draw` is given for an artifact; -1 is any size: the batch, and a dynamic resolution."""
    contract = artifact.contract
    prompt = [TensorSpec("input_ids", "int64", (-1, contract.prompt_tokens))]
    prompt += [TensorSpec(tokens.input, "int64", (-1, tokens.prompt_tokens)) for tokens in contract.more_tokenizers]
    if contract.base in ("pixart", "sana"):
        prompt.append(TensorSpec("attention_mask", "int64", (-1, contract.prompt_tokens)))
    first = artifact.component((*denoisers_of(artifact), "generator")[0])
    latents = next(spec.shape for spec in first.inputs if spec.name in ("sample", "hidden_states", "noise"))
    noise = [TensorSpec("noise", "float32", (-1, *latents[1:]))]
    if any(step.m_n for step in contract.next_steps):
        noise.append(TensorSpec("more_noise", "float32", (len(contract.next_steps), -1, *latents[1:])))
    return (*prompt, *noise)


def check_inputs(artifact: Artifact, inputs: Mapping[str, np.ndarray]) -> None:
    """Raise BadInput where an input is missing, or has another dtype, shape or batch than the artifact's, or NaN."""
    batch = inputs["input_ids"].shape[0] if inputs["input_ids"].ndim else 0
    specs = inputs_of(artifact)
    for spec in specs:
        if spec.name not in inputs:
            raise BadInput(
                f"got the inputs {', '.join(inputs)}; expected {', '.join(s.name for s in specs)}; make them for this "
                "artifact's contract"
            )
        value, axis = inputs[spec.name], 1 if spec.name == "more_noise" else 0
        expected = (*spec.shape[:axis], max(batch, 1), *spec.shape[axis + 1 :])
        if value.dtype != spec.dtype or batch < 1 or not _fits(value.shape, expected):
            raise BadInput(
                f"got {spec.name} {value.dtype} {list(value.shape)}; expected {spec.dtype} {list(expected)}; "
                "make them for this artifact's contract"
            )
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            raise BadInput(
                f"got {spec.name} with NaN or infinity; expected standard normal numbers; make the noise again"
            )


def _fits(shape: tuple[int, ...], expected: tuple[int, ...]) -> bool:
    return len(shape) == len(expected) and all(e in (-1, s) for s, e in zip(shape, expected, strict=True))


def _together(
    input_ids: np.ndarray, noise: np.ndarray, more_noise: np.ndarray | None, inputs: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    more = {} if more_noise is None else {"more_noise": more_noise}
    return {"input_ids": input_ids, **inputs, "noise": noise, **more}


def picture_from_unit(image: np.ndarray) -> np.ndarray:
    """float32 [B, H, W, 3] in [0, 1] -> uint8, rounded half to even as numpy does."""
    return np.round(np.clip(image.astype(np.float32, copy=False), 0, 1) * 255).astype(np.uint8)


def picture_from_sample(sample: np.ndarray) -> np.ndarray:
    """float32 [B, 3, H, W] in about [-1, 1] -> uint8 [B, H, W, 3], rounded half to even as numpy does."""
    return np.ascontiguousarray(
        picture_from_unit(sample.astype(np.float32, copy=False) / 2 + 0.5).transpose(0, 2, 3, 1)
    )


def _as_fed(component: str, spec: TensorSpec, given: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return the array for one input in the dtype and rank that the graph takes."""
    if spec.name not in given:
        raise BadInput(
            f"got the input {spec.name!r} of {component}; expected one of {', '.join(given)}; export the artifact again"
        )
    value = given[spec.name]
    if spec.name == "timestep":
        value = value.reshape((1,) * len(spec.shape))
    return np.asarray(value, dtype=spec.dtype, order="C")  # ascontiguousarray would give a scalar one dimension
