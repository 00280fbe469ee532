"""A finished folder of shards -> its rows, read from mapped files."""

from pathlib import Path

import numpy as np
import torch

from edgestep.artifact import BadInput
from edgestep.distill.data.about import ABOUT, read_about
from edgestep.distill.data.latent_data import LatentData
from edgestep.distill.data.shard_files import Shard, read_shard, shard_path


class ShardData(LatentData):
    """A finished data folder, its rows read from mapped files."""

    def __init__(self, folder: Path):
        about = read_about(folder)
        if not about.get("finished"):
            raise BadInput(f"got unfinished data in {folder}; expected all of it; run its precompute again: it goes on")
        self.about = about
        self.latent_shape, self.prompt_tokens = tuple(about["latent_shape"]), about["prompt_tokens"]
        self.tokenizer_sha256, self.latent_scale = about["tokenizer_sha256"], about["latent_scale"]
        self._shards = [read_shard(shard_path(folder, i)) for i in range(len(about["rows"]))]
        for shard, rows in zip(self._shards, about["rows"], strict=True):
            self._check(shard, rows)
        self._starts = np.cumsum([0, *about["rows"]])
        self._arrays: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def __len__(self) -> int:
        """Number of rows."""
        return int(self._starts[-1])

    def take(self, index: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (latents float32 [B, C, h, w], input_ids int64 [B, T]) of rows `index`."""
        rows = self._rows(index).numpy()
        latents = np.empty((len(rows), *self.latent_shape), np.float32)
        input_ids = np.empty((len(rows), self.prompt_tokens), np.int64)
        shards = self._shard_of(rows)
        for number in np.unique(shards):
            chosen = shards == number
            here = rows[chosen] - self._starts[number]
            stored_latents, stored_ids = self._mapped(int(number))
            latents[chosen], input_ids[chosen] = stored_latents[here], stored_ids[here]
        return torch.from_numpy(latents), torch.from_numpy(input_ids)

    def texts(self, index: torch.Tensor) -> list[str]:
        """Return the prompts of rows `index`."""
        rows = self._rows(index).numpy()
        found = [""] * len(rows)
        shards = self._shard_of(rows)
        for number in np.unique(shards):
            places = np.flatnonzero(shards == number)
            here = (rows[places] - self._starts[number]).tolist()
            for place, text in zip(places, self._shards[number].texts(here), strict=True):
                found[place] = text
        return found

    def _shard_of(self, rows: np.ndarray) -> np.ndarray:
        return np.searchsorted(self._starts, rows, side="right") - 1

    def _mapped(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        if number not in self._arrays:
            shard = self._shards[number]
            self._arrays[number] = shard.array("latents"), shard.array("input_ids")
        return self._arrays[number]

    def _check(self, shard: Shard, rows: int) -> None:
        got = shard.rows, shard.shapes["latents"][1:], shard.shapes["input_ids"][1:]
        if got != (rows, self.latent_shape, (self.prompt_tokens,)):
            raise BadInput(
                f"got {shard.path} with {got[0]} latents {got[1]} and prompts {got[2]}; expected {rows} of "
                f"{self.latent_shape} and {self.prompt_tokens}, as {ABOUT} tells; precompute the data again"
            )
