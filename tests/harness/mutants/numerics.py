"""Mutants of numbers: flipped bits, coarse types, overflow, saturation, lost bytes."""

from pathlib import Path

import numpy as np
from onnx import TensorProto

from tests.harness.mutants.layers import BLOCK, RESIDUAL
from tests.harness.mutants.mutant import replace_bytes
from tests.harness.mutants.onnx_graph import FILES, Graph, edited

CONV = f"{RESIDUAL}.conv1/Conv"
HALF_MAX = 65504


def lowest_bit_flipped(folder: Path) -> None:
    """The lowest bit of one weight of 8.5 million is flipped."""
    _flip(folder, 0)


def sign_bit_flipped(folder: Path) -> None:
    """The sign of one weight is flipped, the largest of its layer."""
    _flip(folder, 31)


def exponent_bit_flipped(folder: Path) -> None:
    """The highest bit of one weight's exponent is flipped: it grows by 2^128, or near to it."""
    _flip(folder, 30)


def weights_bfloat16(folder: Path) -> None:
    """The denoiser's convolution weights keep 8 bits of mantissa."""
    with edited(folder, "unet") as graph:
        for node in graph.nodes("Conv", "unet."):
            bits = graph.weight(node.name, 1).view(np.uint32)
            graph.set_weight(node.name, 1, ((bits + 0x8000) & 0xFFFF0000).view(np.float32))


def weights_int4(folder: Path) -> None:
    """The denoiser's convolution weights are rounded to 15 levels of one scale per tensor."""
    with edited(folder, "unet") as graph:
        for node in graph.nodes("Conv", "unet."):
            weight = graph.weight(node.name, 1)
            scale = np.abs(weight).max() / 7
            graph.set_weight(node.name, 1, (np.round(weight / scale) * scale).astype(np.float32))


def half_overflow(folder: Path) -> None:
    """One layer's output goes through float16 in which its largest values overflow."""
    factor = np.float32(HALF_MAX)  # the layer's values reach beyond 1
    with edited(folder, "unet") as graph:
        graph.after(
            f"{BLOCK}.ff.net.0/Mul",
            ("Mul", (factor,), {}),
            ("Cast", (), {"to": TensorProto.FLOAT16}),
            ("Cast", (), {"to": TensorProto.FLOAT}),
            ("Mul", (1 / factor,), {}),
        )


def int8_saturated(folder: Path) -> None:
    """Activations of the denoiser go through INT8 with a scale that saturates at 1, below what they reach."""
    _quantized(folder, np.float32(1 / 127), 0)


def int8_wrong_zero_point(folder: Path) -> None:
    """Activations go through UINT8 whose zero point is 128 when written and 127 when read."""
    _quantized(folder, np.float32(8 / 127), 1)


def tail_of_a_weight_lost(folder: Path) -> None:
    """The last quarter of one weight's bytes is zero, as after a cut copy."""
    with edited(folder, "unet") as graph:
        weight = graph.weight(CONV, 1)
        weight.reshape(-1)[-weight.size // 4 :] = 0
        graph.set_weight(CONV, 1, weight)


def file_cut_in_half(folder: Path) -> None:
    """The model file's second half is missing."""
    fused = folder / "generator.onnx"
    path = fused if fused.is_file() else folder / FILES["unet"]
    whole = path.read_bytes()
    replace_bytes(path, whole[: len(whole) // 2])


def _flip(folder: Path, bit: int) -> None:
    with edited(folder, "unet") as graph:
        weight = graph.weight(CONV, 1)
        at = np.abs(weight).argmax()
        weight.reshape(-1).view(np.uint32)[at] ^= np.uint32(1 << bit)
        graph.set_weight(CONV, 1, weight)


def _quantized(folder: Path, scale: np.float32, off: int) -> None:
    with edited(folder, "unet") as graph:
        for node in _activations(graph):
            graph.after(
                node,
                ("QuantizeLinear", (scale, np.uint8(128)), {}),
                ("DequantizeLinear", (scale, np.uint8(128 - off)), {}),
            )


def _activations(graph: Graph) -> list[str]:
    """Return the nodes that give SiLU's result to a residual block's convolutions."""
    convolutions = {node.input[0] for node in graph.nodes("Conv", "unet.") if ".resnets." in node.name}
    return [node.name for node in graph.nodes("Mul", "unet.") if node.output[0] in convolutions]
