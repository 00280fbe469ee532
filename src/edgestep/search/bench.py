"""A float artifact held open: trials of it -> how far their pictures are from its own.

Everything runs on one thread, so that a trial gives the same figures in whatever process it runs. Of a trial only the
graphs that it changes are written, to a scratch folder, and opened.
"""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from edgestep.artifact import Artifact, BadInput, Component
from edgestep.harness.parity.measures import psnr_db, sqnr_db, ssim, unit_from_picture
from edgestep.harness.reference.bundle import ReferenceCase
from edgestep.harness.reference.record import case_plan
from edgestep.runtimes.drawing import Drawer, Drawing, picture_from_unit
from edgestep.runtimes.noise import more_noise_from_seed, noise_from_seed
from edgestep.runtimes.registry import open_session, runtime_for
from edgestep.runtimes.session import Session
from edgestep.runtimes.tokenizer import inputs_from_prompt
from edgestep.search.fused import X0, FusedSession
from edgestep.search.trials import Figures, Setting, Trial
from edgestep.search.writers import writer_for

NOISE_SEED = 9_000_000
"""Neither what parity is judged on nor what calibration draws."""
CALIBRATION_SEED = 7_000_000
"""As ship's calibration: the same prompts give the same feeds."""
THREADS = 1


class TrialDrawer(Drawer):
    """A drawer whose graphs can be replaced for a while, and that shows the x0 of a fused artifact."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, threads=THREADS)
        self.runtime = runtime_for(self.artifact)
        if self.artifact.layout == "fused":
            component = self.artifact.component("generator")
            self._sessions[component.name] = self.opened(component, folder / component.file)

    def opened(self, component: Component, file: Path) -> Session:
        """Open a graph of the artifact from another file."""
        if self.artifact.layout == "fused":
            return FusedSession(self.runtime, file, component, self.artifact.contract, THREADS)
        return open_session(self.runtime, file, threads=THREADS)

    @contextmanager
    def replaced(self, files: Mapping[str, Path]) -> Iterator[None]:
        """Draw with these graphs, component name -> file, in place of the artifact's own."""
        own = dict(self._sessions)
        with ExitStack() as stack:
            for name, file in files.items():
                self._sessions[name] = stack.enter_context(self.opened(self.artifact.component(name), file))
            try:
                yield
            finally:
                self._sessions.update(own)

    def _draw(self, inputs: dict[str, np.ndarray], fed: dict, seconds: dict[str, float]) -> Drawing:
        if self.artifact.layout != "fused":
            return super()._draw(inputs, fed, seconds)
        outputs = self._run("generator", inputs, fed, seconds)
        image = outputs["image"]
        return Drawing(None, outputs.get(X0), None, image if image.dtype == np.uint8 else picture_from_unit(image))


class Bench:
    """The float artifact of a setting, its pictures, and what its graphs are calibrated on; a context manager.

    Raises BadInput where the artifact is not the one of the setting's key, or is not float ONNX or OpenVINO.
    """

    def __init__(self, setting: Setting) -> None:
        self.setting, self.folder = setting, Path(setting.artifact)
        self.drawer = TrialDrawer(self.folder)
        artifact = self.drawer.artifact
        if artifact.key != setting.key:
            raise BadInput(
                f"got {self.folder} of key {artifact.key[:12]}; expected {setting.key[:12]}, which the search was "
                "begun on; put that artifact back, or begin again"
            )
        self.cases = tuple(_drawn_case(self.drawer, *planned) for planned in _plan(self.folder, artifact, setting))
        self._feeds: dict[str, list[Mapping[str, np.ndarray]]] = {}

    @property
    def feeds(self) -> Mapping[str, Sequence[Mapping[str, np.ndarray]]]:
        """Component name -> what it is fed in each drawing of the calibration, drawn when first asked for."""
        if not self._feeds:
            for i in range(self.setting.calibration):
                prompt = self.setting.prompts[i * max(1, len(self.setting.prompts) // self.setting.calibration)
                                              % len(self.setting.prompts)]  # fmt: skip
                inputs = _inputs(self.folder, self.drawer.artifact, prompt, CALIBRATION_SEED + i)
                for component, fed in self.drawer.feeds(**inputs).items():
                    self._feeds.setdefault(component, []).append(fed)
        return self._feeds

    def run(self, trial: Trial) -> Figures:
        """Write the trial's graphs, draw every case with them, and measure."""
        with tempfile.TemporaryDirectory(prefix="edgestep-trial-", ignore_cleanup_errors=True) as scratch:
            return self.measured(self.written(trial, Path(scratch)))

    def measured(self, files: Mapping[str, Path]) -> Figures:
        """Draw every case with these graphs, component name -> file, in place of the artifact's own, and measure."""
        with self.drawer.replaced(files):
            drawings = [self.drawer.draw(**case.inputs) for case in self.cases]
        return figures_from(self.cases, drawings, self._bytes(files))

    def written(self, trial: Trial, folder: Path) -> dict[str, Path]:
        """Write the graphs that a trial changes into `folder`; return component name -> file."""
        files = {}
        for name, changes in groupby(sorted(trial.changes, key=lambda c: c.component), lambda c: c.component):
            component, widths = self.drawer.artifact.component(name), {c.layer: c.width for c in changes}
            files[name] = folder / component.file
            files[name].parent.mkdir(parents=True, exist_ok=True)
            write = writer_for(self.drawer.artifact.format, set(widths.values())).write
            write(self.folder / component.file, files[name], self.feeds[name], widths)
        return files

    def _bytes(self, files: Mapping[str, Path]) -> int:
        """Return the bytes of all graphs with their weights, of which `files` are in place of the artifact's own."""
        artifact = self.drawer.artifact
        kept = [c for c in artifact.components if c.name not in files]
        written = (path for file in files.values() for path in file.parent.glob(f"{file.stem}.*"))
        return graph_bytes(artifact, kept) + sum(path.stat().st_size for path in written)

    def __enter__(self) -> "Bench":
        return self

    def __exit__(self, *_: Any) -> None:
        self.drawer.__exit__(None, None, None)


def graph_bytes(artifact: Artifact, components: Sequence[Component] | None = None) -> int:
    """Return the bytes of the graphs of an artifact, or of some of its components, and of the weights beside them."""
    stems = [c.file.rpartition(".")[0] for c in (artifact.components if components is None else components)]
    return sum(file.bytes for file in artifact.files if any(file.path.startswith(f"{stem}.") for stem in stems))


def figures_from(cases: Sequence[ReferenceCase], drawings: Sequence[Drawing], size: int) -> Figures:
    """Return the worst of each measure and the mean noises; a NaN anywhere is NaN."""
    pairs = list(zip(cases, drawings, strict=True))
    units = [(unit_from_picture(case.picture[0]), unit_from_picture(drawn.image[0])) for case, drawn in pairs]
    x0 = [(case.x0, drawn.x0) for case, drawn in pairs if drawn.x0 is not None]
    return Figures(
        x0_sqnr_db=_least([sqnr_db(*pair) for pair in x0]) if x0 else float("nan"),
        image_psnr_db=_least([psnr_db(*pair) for pair in units]),
        image_ssim=_least([ssim(*pair) for pair in units]),
        x0_noise=float(np.mean([noise_over_signal(*pair) for pair in x0])) if x0 else float("nan"),
        image_noise=float(np.mean([_image_noise(case, drawn) for case, drawn in pairs])),
        bytes=size,
    )


def _least(values: Sequence[float]) -> float:
    return float(np.min(values))  # NaN is the least of all


def noise_over_signal(reference: np.ndarray, output: np.ndarray) -> float:
    """Return sum (ref - out)^2 / sum ref^2."""
    wide = reference.astype(np.float64)
    return float(np.sum((wide - output) ** 2) / max(np.sum(wide**2), 1e-30))


def _image_noise(case: ReferenceCase, drawn: Drawing) -> float:
    """Return the mean squared error, peak 1, before rounding to 8 bits where the artifact shows that."""
    if drawn.sample is not None:
        unit = drawn.sample.astype(np.float64) / 2 + 0.5
        return float(np.mean((np.clip(unit, 0, 1).transpose(0, 2, 3, 1) - case.image) ** 2))
    return float(np.mean((unit_from_picture(drawn.image) - case.image) ** 2))


def _plan(folder: Path, artifact: Artifact, setting: Setting) -> Iterator[tuple[str, str, dict[str, np.ndarray]]]:
    for i, (prompt, noise) in enumerate(case_plan(setting.cases, len(setting.prompts))):
        text = setting.prompts[prompt]
        yield f"case-{i:02d}", text, _inputs(folder, artifact, text, NOISE_SEED + noise)


def _inputs(folder: Path, artifact: Artifact, prompt: str, seed: int) -> dict[str, np.ndarray]:
    contract = artifact.contract
    inputs = dict(inputs_from_prompt(folder, contract, prompt))
    return inputs | {"noise": noise_from_seed(seed, contract.latent_shape)} | more_noise_from_seed(seed, contract)


def _drawn_case(drawer: TrialDrawer, name: str, prompt: str, inputs: dict[str, np.ndarray]) -> ReferenceCase:
    """Return what the float artifact draws as a case that others are held against."""
    drawn = drawer.draw(**inputs)
    nothing = np.zeros(0, np.float32)
    image = unit_from_picture(drawn.image)
    if drawn.sample is not None:
        image = np.clip(drawn.sample.astype(np.float64) / 2 + 0.5, 0, 1).transpose(0, 2, 3, 1)
    if not np.isfinite(image).all() or (drawn.x0 is not None and not np.isfinite(drawn.x0).all()):
        raise BadInput(
            f"got NaN or infinity from {drawer.artifact.name} for {prompt!r}; expected finite numbers; check it with "
            "'edgestep parity' first"
        )
    return ReferenceCase(
        name,
        prompt,
        prompt_embeds=nothing if drawn.prompt_embeds is None else drawn.prompt_embeds,
        x0=nothing if drawn.x0 is None else drawn.x0,
        image=image,
        picture=drawn.image,
        **inputs,
    )
