"""Artifact folder -> Drawer: input_ids and noise -> picture, split or fused, on any runtime.

Outside the graphs there are two formulas only: latent = x0 / latent_scale + latent_shift, and the rounding of a
decoded sample to a uint8 picture. The one-step formula itself is inside the denoiser.
"""

import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from edgestep.artifact import BadInput, OneStep, TensorSpec, read_artifact
from edgestep.runtimes.registry import open_session, runtime_for
from edgestep.runtimes.session import Session


@dataclass(frozen=True)
class Drawing:
    """What was drawn. The fused form gives the image alone, the rest is None.

    `prompt_embeds` float32 [B, T, D], `x0` float32 [B, C, h, w] (before the latent scale), `sample` float32
    [B, 3, H, W] in about [-1, 1], `image` uint8 [B, H, W, 3].
    """

    prompt_embeds: np.ndarray | None
    x0: np.ndarray | None
    sample: np.ndarray | None
    image: np.ndarray


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
                session = open_session(runtime, folder / component.file, threads=threads, **options)
                self._sessions[component.name] = stack.enter_context(session)
            self._open = stack.pop_all()
        told = [getattr(session, "compile_s", None) for session in self._sessions.values()]
        self.compile_s = sum(t for t in told if t is not None) if any(t is not None for t in told) else None

    def draw(self, input_ids: np.ndarray, noise: np.ndarray) -> Drawing:
        """Draw. `input_ids` int64 [B, T], `noise` float32 [B, C, h, w], standard normal; BadInput for others."""
        return self._draw(input_ids, noise, {}, {})

    def draw_timed(self, input_ids: np.ndarray, noise: np.ndarray) -> tuple[Drawing, dict[str, float]]:
        """Draw; return also the seconds of each component by name, and of what lies between them as `rest`."""
        seconds: dict[str, float] = {}
        start = time.perf_counter_ns()
        drawing = self._draw(input_ids, noise, {}, seconds)
        whole = (time.perf_counter_ns() - start) / 1e9
        return drawing, {**seconds, "rest": whole - sum(seconds.values())}

    def feeds(self, input_ids: np.ndarray, noise: np.ndarray) -> dict[str, dict[str, np.ndarray]]:
        """Draw; return what each component was fed: component name -> input name -> array."""
        fed: dict[str, dict[str, np.ndarray]] = {}
        self._draw(input_ids, noise, fed, {})
        return fed

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._sessions.clear()
        self._open.close()

    def _draw(self, input_ids: np.ndarray, noise: np.ndarray, fed: dict, seconds: dict[str, float]) -> Drawing:
        contract = self.artifact.contract
        check_inputs(contract, input_ids, noise)
        given: dict[str, np.ndarray] = {"input_ids": input_ids, "noise": noise}
        if self.artifact.layout == "fused":
            image = self._run("generator", given, fed, seconds)["image"]
            return Drawing(None, None, None, image)
        embeds = self._run("text_encoder", given, fed, seconds)["last_hidden_state"]
        given |= {"sample": noise, "encoder_hidden_states": embeds, "timestep": np.array(contract.timestep)}
        x0 = self._run("unet", given, fed, seconds)["out_sample"].astype(np.float32, copy=False)
        latent = x0 / np.float32(contract.latent_scale) + np.float32(contract.latent_shift)
        sample = self._run("vae_decoder", {"latent_sample": latent}, fed, seconds)["sample"]
        sample = sample.astype(np.float32, copy=False)
        return Drawing(embeds.astype(np.float32, copy=False), x0, sample, picture_from_sample(sample))

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


def check_inputs(contract: OneStep, input_ids: np.ndarray, noise: np.ndarray) -> None:
    """Raise BadInput where `input_ids` or `noise` has another dtype, shape or batch than the contract, or NaN."""
    batch = input_ids.shape[0] if input_ids.ndim else 0
    for name, value, dtype, shape in (
        ("input_ids", input_ids, "int64", (contract.prompt_tokens,)),
        ("noise", noise, "float32", contract.latent_shape),
    ):
        if value.dtype != dtype or value.shape != (batch, *shape) or batch < 1:
            raise BadInput(
                f"got {name} {value.dtype} {list(value.shape)}; expected {dtype} {[max(batch, 1), *shape]}; "
                "make them for this artifact's contract"
            )
    if not np.isfinite(noise).all():
        raise BadInput("got noise with NaN or infinity; expected standard normal numbers; make the noise again")


def picture_from_sample(sample: np.ndarray) -> np.ndarray:
    """float32 [B, 3, H, W] in about [-1, 1] -> uint8 [B, H, W, 3], rounded half to even as numpy does."""
    unit = np.clip(sample.astype(np.float32, copy=False) / 2 + 0.5, 0, 1)
    return np.ascontiguousarray(np.round(unit * 255).astype(np.uint8).transpose(0, 2, 3, 1))


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
