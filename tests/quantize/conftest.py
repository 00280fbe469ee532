"""Real tiny artifacts, exported once, and what their components are fed in drawings."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgestep.artifact import OneStep
from edgestep.runtimes.drawing import Drawer
from tests.exports import Exports
from tests.made_once import made_once, session_folder

FORMS = [("onnx", "split"), ("onnx", "fused"), ("openvino", "split"), ("openvino", "fused")]


def cases(contract: OneStep, count: int, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return `count` pairs of input_ids, of two to eight words, and noise."""
    random = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        words = random.integers(0, contract.bos_token_id, random.integers(2, 9))
        ids = np.full((1, contract.prompt_tokens), contract.pad_token_id, np.int64)
        ids[0, 0] = contract.bos_token_id
        ids[0, 1 : len(words) + 1] = words
        made.append((ids, random.standard_normal((1, *contract.latent_shape)).astype(np.float32)))
    return made


def feeds_of(folder: Path, count: int = 6, seed: int = 0) -> dict[str, list[dict[str, np.ndarray]]]:
    """Return what each component is fed when the artifact draws `count` pictures."""
    feeds: dict[str, list[dict[str, np.ndarray]]] = {}
    with Drawer(folder, threads=1) as drawer:
        for case in cases(drawer.artifact.contract, count, seed):
            for component, fed in drawer.feeds(*case).items():
                feeds.setdefault(component, []).append(fed)
    return feeds


@pytest.fixture(scope="session")
def float_artifact(tiny_exports: Exports) -> Exports:
    """(format, layout, precision) -> the folder of the tiny checkpoint's export, made when first asked for."""
    return tiny_exports


@pytest.fixture(scope="session")
def w8a8(float_artifact, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Return (format, layout) -> the folder of its w8a8, made when first asked for."""
    from edgestep.quantize.run import quantize

    root = session_folder(tmp_path_factory) / "quantized"

    def folder(form: str, layout: str) -> Path:
        parent = float_artifact(form, layout)
        return made_once(
            root / f"{form}-{layout}", lambda out: quantize(parent, scheme="w8a8", out=out, feeds=feeds_of(parent))
        )

    return folder


def picture_psnr(one: np.ndarray, other: np.ndarray) -> float:
    """Return 10 log10(1 / mean squared difference) of uint8 pictures, peak 1."""
    error = np.mean(((one.astype(float) - other) / 255) ** 2)
    return float(10 * np.log10(1 / max(error, 1e-12)))


def sqnr(reference: np.ndarray, out: np.ndarray) -> float:
    """Return 10 log10(sum ref^2 / sum (ref - out)^2)."""
    return float(10 * np.log10(np.sum(reference.astype(float) ** 2) / np.sum((reference - out.astype(float)) ** 2)))
