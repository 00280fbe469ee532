"""Prompts -> calibration feeds: what each component is really fed at the checkpoint's own t, from real prompts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgestep.artifact import BadInput, sha256_of_json
from edgestep.runtimes.drawing import Drawer
from edgestep.runtimes.noise import more_noise_from_seed, noise_from_seed
from edgestep.runtimes.tokenizer import inputs_from_prompt

SEED = 7_000_000
"""Far from the reference bundle's seeds: calibration never sees the noise that parity is judged on."""


@dataclass(frozen=True)
class Calibration:
    """`count` prompts, evenly taken from a list, each with a noise of its own.

    `strict`: the user named the prompts, one that does not fit the tokenizer is an error; else it is left out.
    """

    prompts: tuple[str, ...]
    strict: bool = True

    @property
    def sha256(self) -> str:
        """Name of this calibration set: equal hash, equal feeds for equal artifacts."""
        return sha256_of_json({"prompts": self.prompts, "seed": SEED, "noise": "numpy PCG64 standard_normal float32"})

    def feeds(self, folder: Path) -> Mapping[str, Sequence[Mapping[str, np.ndarray]]]:
        """Draw every prompt with the artifact in `folder`; return component name -> what it was fed, one per prompt."""
        fed: dict[str, list[Mapping[str, np.ndarray]]] = {}
        with Drawer(folder) as drawer:
            contract = drawer.artifact.contract
            for i, prompt in enumerate(self.prompts):
                try:
                    inputs = inputs_from_prompt(folder, contract, prompt)
                except BadInput:
                    if self.strict:
                        raise
                    continue
                noise = noise_from_seed(SEED + i, contract.latent_shape)
                inputs |= more_noise_from_seed(SEED + i, contract)
                for component, arrays in drawer.feeds(noise=noise, **inputs).items():
                    fed.setdefault(component, []).append(arrays)
        return fed


class Lazy:
    """The feeds of one artifact, drawn when they are first asked for: a run that keeps everything draws none."""

    def __init__(self, calibration: Calibration, folder: Path):
        self._draw = lambda: calibration.feeds(folder)
        self._feeds: Mapping[str, Sequence[Mapping[str, np.ndarray]]] | None = None

    def __call__(self) -> Mapping[str, Sequence[Mapping[str, np.ndarray]]]:
        """Return component name -> what it was fed, one per prompt."""
        if self._feeds is None:
            self._feeds = self._draw()
        return self._feeds


def calibration_from_prompts(prompts: Sequence[str], count: int, *, strict: bool = True) -> Calibration:
    """Take `count` prompts, evenly spaced over the list, repeating it where it is shorter."""
    chosen = [prompts[(i * max(1, len(prompts) // count)) % len(prompts)] for i in range(count)]
    return Calibration(tuple(chosen), strict)
