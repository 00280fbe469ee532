"""What the latency worker runs for an artifact: load it, draw one picture again and again. Needs no torch."""

import importlib
from pathlib import Path

import numpy as np

from edgestep.artifact import OneStep, Tokens


class ArtifactRunner:
    """One artifact on one runtime, batch 1."""

    def __init__(self, folder: str, runtime: str, threads: int) -> None:
        self.folder, self.runtime, self.threads = Path(folder), runtime, threads

    def imports(self) -> None:
        """Import the runtime, so that loading is timed without it."""
        from edgestep.runtimes.registry import PACKAGES

        importlib.import_module(PACKAGES[self.runtime])
        importlib.import_module("edgestep.runtimes.drawing")

    def load(self) -> float | None:
        """Open every component; return the seconds spent compiling where the sessions tell, else None."""
        from edgestep.harness.reference.record import more_noise_numbered, noise_numbered
        from edgestep.runtimes.drawing import Drawer

        # Hashes were checked by the parent: reading every file here would warm the page cache and not be loading.
        self._drawer = Drawer(self.folder, runtime=self.runtime, threads=self.threads, verify=False)
        contract = self._drawer.artifact.contract
        self._inputs = {**short_prompt(contract), "noise": noise_numbered(0, contract.latent_shape)}
        more_noise = more_noise_numbered(0, 1 + len(contract.next_steps), contract.latent_shape)
        if more_noise is not None:
            self._inputs["more_noise"] = more_noise
        return getattr(self._drawer, "compile_s", None)

    def draw(self) -> dict[str, float]:
        """Draw once; return the seconds of each component."""
        return self._drawer.draw_timed(**self._inputs)[1]

    def close(self) -> None:
        """Close the sessions."""
        self._drawer.__exit__(None, None, None)


def short_prompt(contract: OneStep) -> dict[str, np.ndarray]:
    """Return int64 [1, T] of begin, end and padding by name: a fixed length, so the words do not change the time."""
    found = {"input_ids": _short(contract)}
    found |= {tokens.input: _short(tokens) for tokens in contract.more_tokenizers}
    if contract.base in ("pixart", "sana"):
        found["attention_mask"] = (np.arange(contract.prompt_tokens)[None] < 2).astype(np.int64)
    return found


def _short(tokens: OneStep | Tokens) -> np.ndarray:
    ids = np.full((1, tokens.prompt_tokens), tokens.pad_token_id, dtype=np.int64)
    ids[0, :2] = max(tokens.bos_token_id, 0), tokens.eos_token_id  # T5 begins with nothing
    return ids
