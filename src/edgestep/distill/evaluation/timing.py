"""Wall time per picture, split into text, network and decoder: all ways in turns, so that drifts hit all."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch

from edgestep.distill.evaluation.ways import Way

T = TypeVar("T")


@dataclass(frozen=True)
class Seconds:
    """Medians over the turns, in seconds, of one picture."""

    text: float
    network: float
    decoder: float
    total: float


@torch.no_grad()
def time_ways(ways: Sequence[Way], prompt: str, noise: torch.Tensor, turns: int) -> dict[str, Seconds]:
    """Draw a batch of `prompt` with every way in `turns` turns, after one turn of warm-up. `noise` [B, C, h, w].

    One picture of a batch of many takes less time than one alone; a phone draws one.
    """
    samples: dict[str, list[tuple[float, float, float]]] = {way.name: [] for way in ways}
    for turn in range(turns + 1):
        for way in ways:
            sample = _once(way, prompt, noise)
            if turn:
                samples[way.name].append(sample)
    return {name: _medians(rows, len(noise)) for name, rows in samples.items()}


def _once(way: Way, prompt: str, noise: torch.Tensor) -> tuple[float, float, float]:
    there = noise.to(way.device)
    text, embeds = _timed(lambda: way.embeds([prompt] * len(noise)), way.device)
    network, x0 = _timed(lambda: way.latents(there, embeds), way.device)
    decoder, _ = _timed(lambda: way.decode(x0), way.device)
    return text, network, decoder


def _timed(call: Callable[[], T], device: torch.device) -> tuple[float, T]:
    _wait(device)
    start = time.perf_counter_ns()
    result = call()
    _wait(device)
    return (time.perf_counter_ns() - start) / 1e9, result


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _medians(rows: list[tuple[float, float, float]], pictures: int) -> Seconds:
    text, network, decoder = (statistics.median(column) / pictures for column in zip(*rows, strict=True))
    return Seconds(text, network, decoder, statistics.median(sum(row) for row in rows) / pictures)
