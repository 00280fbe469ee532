"""w8a8 on a processor that adds 8-bit products in 16 bits: QEMU's user emulation of one, where it is installed.

What saturates there was only computed by `quantize` before; here the kernels themselves run that such a processor gets.
"""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgestep.harness.reference.prompts import PROMPTS
from edgestep.quantize.quantizers import Options
from edgestep.quantize.run import quantize
from edgestep.runtimes.drawing import Drawer
from edgestep.ship.calibration import calibration_from_prompts
from tests.quantize.conftest import feeds_of, picture_psnr

QEMU = shutil.which("qemu-x86_64")
DRAW = """
import sys, numpy as np
from pathlib import Path
from edgestep.runtimes.drawing import Drawer
cases = np.load(sys.argv[2])
with Drawer(Path(sys.argv[1]), threads=1) as drawer:
    images = [drawer.draw(ids, noise).image for ids, noise in zip(cases["ids"], cases["noise"])]
np.save(sys.argv[3], np.stack(images))
"""
pytestmark = [pytest.mark.slow, pytest.mark.skipif(QEMU is None, reason="needs qemu-x86_64 (Debian: qemu-user)")]


def drawn_by_a(processor: str, folder: Path, cases: list, scratch: Path) -> np.ndarray:
    """Return the pictures, uint8 [cases, 1, H, W, 3], that the artifact draws there."""
    np.savez(scratch / "cases.npz", ids=[ids for ids, _ in cases], noise=[noise for _, noise in cases])
    command = [str(QEMU), "-cpu", processor, sys.executable, "-c", DRAW, str(folder)]
    command += [str(scratch / "cases.npz"), str(scratch / "drawn.npy")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == 0, done.stderr[-2000:]
    return np.load(scratch / "drawn.npy")


@pytest.fixture(scope="module")
def cases(emoji_exports) -> list:
    """Return four pairs of input_ids and noise, of general prompts."""
    feeds = calibration_from_prompts(PROMPTS, 4, strict=False).feeds(emoji_exports("onnx", "fused"))["generator"]
    return [(feed["input_ids"], feed["noise"]) for feed in feeds]


def drawn_here(folder: Path, cases: list) -> np.ndarray:
    with Drawer(folder, threads=1) as drawer:
        return np.stack([drawer.draw(*case).image for case in cases])


def worst(references: np.ndarray, images: np.ndarray) -> float:
    return min(picture_psnr(one, other) for one, other in zip(references, images, strict=True))


@pytest.mark.parametrize("processor", ["Nehalem", "Haswell"])
def test_openvino_w8a8_draws_there(emoji_exports, cases, tmp_path, processor):
    parent = emoji_exports("openvino", "fused")
    quantize(parent, scheme="w8a8", out=tmp_path / "w8a8", feeds=feeds_of(parent, 24))
    assert worst(drawn_here(parent, cases), drawn_by_a(processor, tmp_path / "w8a8", cases, tmp_path)) > 28


def test_onnx_loses_there_what_quantize_says_and_only_in_its_types(emoji_exports, cases, tmp_path):
    parent = emoji_exports("onnx", "split")
    floats, feeds, said = drawn_here(parent, cases), feeds_of(parent, 24), {}
    lost = {}
    for types in ("u8s7", "u8s8"):
        folder, lines = tmp_path / types, []
        quantize(parent, scheme="w8a8", out=folder, feeds=feeds, options=Options(types=types), tell=lines.append)
        said[types] = "saturate" in " ".join(lines)
        here = worst(floats, drawn_here(folder, cases))
        lost[types] = here - worst(floats, drawn_by_a("Haswell", folder, cases, tmp_path))
    assert said == {"u8s7": False, "u8s8": True}
    assert abs(lost["u8s7"]) < 2
    assert lost["u8s8"] > 4
