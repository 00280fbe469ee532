"""What the latency worker runs for an artifact: load it, draw one picture again and again. Needs no torch."""

import importlib
from pathlib import Path

import numpy as np

from edgestep.artifact import read_artifact


class ArtifactRunner:
    """One artifact on one runtime, batch 1."""

    def __init__(self, folder: str, runtime: str, threads: int) -> None:
        self.folder, self.runtime, self.threads = Path(folder), runtime, threads

    def imports(self) -> None:
        """Import the runtime, so that loading is timed without it."""
        importlib.import_module(self.runtime)
        importlib.import_module("edgestep.runtimes.drawing")

    def load(self) -> float | None:
        """Open every component; return the seconds spent compiling where the sessions tell, else None."""
        from edgestep.harness.reference import noise_numbered
        from edgestep.runtimes.drawing import Drawer

        # Hashes were checked by the parent: reading every file here would warm the page cache and not be loading.
        self._drawer = Drawer(self.folder, runtime=self.runtime, threads=self.threads, verify=False)
        contract = self._drawer.artifact.contract
        self._ids = short_prompt_ids(self.folder)
        self._noise = noise_numbered(0, contract.latent_shape)
        return getattr(self._drawer, "compile_s", None)

    def draw(self) -> dict[str, float]:
        """Draw once; return the seconds of each component."""
        return self._drawer.draw_timed(self._ids, self._noise)[1]

    def close(self) -> None:
        """Close the sessions."""
        self._drawer.__exit__(None, None, None)


def short_prompt_ids(folder: Path) -> np.ndarray:
    """Return int64 [1, T] of begin, end and padding: a fixed length, so the words do not change the time."""
    contract = read_artifact(folder, verify=False).contract
    ids = np.full((1, contract.prompt_tokens), contract.pad_token_id, dtype=np.int64)
    ids[0, :2] = contract.bos_token_id, contract.eos_token_id
    return ids
