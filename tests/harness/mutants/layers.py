"""Mutants of single layers: what a converter gets wrong."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from tests.harness.mutants.onnx_graph import Graph, edited

RESIDUAL = "unet.mid_block.resnets.0"
BLOCK = "unet.up_blocks.1.attentions.0.transformer_blocks.0"


def convolution_zeroed(folder: Path) -> None:
    """One convolution of the middle block gives zeros."""
    _zeroed(folder, f"{RESIDUAL}.conv2/Conv", bias=2)


def feed_forward_zeroed(folder: Path) -> None:
    """One feed-forward's last product gives its bias alone."""
    _zeroed(folder, f"{BLOCK}.ff.net.2/MatMul")


def cross_attention_zeroed(folder: Path) -> None:
    """One of seven cross-attentions is deaf to the prompt."""
    _zeroed(folder, f"{BLOCK}.attn2.to_v/MatMul")


def residual_dropped(folder: Path) -> None:
    """One residual connection of the middle block is missing."""
    with edited(folder, "unet") as graph:
        node = graph.node(f"{RESIDUAL}/Add")
        branch = graph.node(f"{RESIDUAL}.conv2/Conv").output[0]
        node.input[0] = node.input[1] = branch
        graph.after(node.name, ("Mul", (np.float32(0.5),), {}))


def skips_swapped(folder: Path) -> None:
    """A skip connection is joined before the features, not behind."""
    with edited(folder, "unet") as graph:
        node = graph.node("unet.up_blocks.1/Concat")
        node.input[0], node.input[1] = node.input[1], node.input[0]


def downsampling_padded_at_the_end(folder: Path) -> None:
    """One down-sampling pads one row and column at the end, none at the start: the VAE's way in the UNet."""
    with edited(folder, "unet") as graph:
        graph.set("unet.down_blocks.0.downsamplers.0.conv/Conv", pads=[0, 0, 1, 1])


def padding_off_by_one(folder: Path) -> None:
    """One convolution pads [0, 2] for [1, 1]: its output is shifted by a pixel of the latent."""
    with edited(folder, "unet") as graph:
        graph.set(f"{RESIDUAL}.conv1/Conv", pads=[0, 0, 2, 2])


def resize_shifted(folder: Path) -> None:
    """One up-sampling of the decoder takes the pixel above for half of its rows and columns."""
    with edited(folder, "vae") as graph:
        graph.set(graph.nodes("Resize", "vae.")[-1], nearest_mode="ceil")


def resize_half_pixel_linear(folder: Path) -> None:
    """Up-sampling is linear with half-pixel centres, not nearest."""
    with edited(folder, "vae") as graph:
        for node in graph.nodes("Resize", "vae."):
            graph.set(node, mode="linear", coordinate_transformation_mode="half_pixel")


def resize_half_pixel_nearest(folder: Path) -> None:
    """Nearest with half-pixel centres, rounded down at a tie: at a factor of 2 the same pixels."""
    with edited(folder, "vae") as graph:
        for node in graph.nodes("Resize", "vae."):
            graph.set(node, coordinate_transformation_mode="half_pixel", nearest_mode="round_prefer_floor")


def gelu_tanh(folder: Path) -> None:
    """GELU's tanh approximation for erf, everywhere in the denoiser."""
    with edited(folder, "unet") as graph:
        for node in graph.nodes("Gelu"):
            graph.set(node, approximate="tanh")


def group_norm_epsilon(folder: Path) -> None:
    """GroupNorm's epsilon is 1e-6 in the denoiser, as in the decoder, for 1e-5."""
    with edited(folder, "unet") as graph:
        for node in graph.nodes("InstanceNormalization", "unet."):
            graph.set(node, epsilon=1e-6)


def group_norm_epsilon_large(folder: Path) -> None:
    """GroupNorm's epsilon is 1e-3 in the denoiser, for 1e-5."""
    with edited(folder, "unet") as graph:
        for node in graph.nodes("InstanceNormalization", "unet."):
            graph.set(node, epsilon=1e-3)


def layer_norm_epsilon(folder: Path) -> None:
    """LayerNorm's epsilon is 1e-12 in the denoiser, for 1e-5."""
    with edited(folder, "unet") as graph:
        for node in graph.nodes("LayerNormalization", "unet."):
            graph.set(node, epsilon=1e-12)


def attention_scale_dropped(folder: Path) -> None:
    """One attention's logits are not divided by the square root of the head's width."""
    _attention_scaled(folder, lambda scale: 1.0)


def attention_scale_twice(folder: Path) -> None:
    """One attention's logits are divided by the square root of the head's width twice."""
    _attention_scaled(folder, lambda scale: scale * scale)


def query_and_key_swapped(folder: Path) -> None:
    """One self-attention has its query and key weights swapped."""
    with edited(folder, "unet") as graph:
        query, key = graph.node(f"{BLOCK}.attn1.to_q/MatMul"), graph.node(f"{BLOCK}.attn1.to_k/MatMul")
        query.input[1], key.input[1] = key.input[1], query.input[1]


def weight_transposed(folder: Path) -> None:
    """One square weight matrix is transposed."""
    with edited(folder, "unet") as graph:
        node = f"{BLOCK}.attn1.to_out.0/MatMul"
        graph.set_weight(node, 1, graph.weight(node, 1).T)


def kernel_flipped(folder: Path) -> None:
    """One convolution is a true convolution: its kernel is turned by 180 degrees."""
    with edited(folder, "unet") as graph:
        node = f"{RESIDUAL}.conv1/Conv"
        graph.set_weight(node, 1, graph.weight(node, 1)[:, :, ::-1, ::-1])


def _zeroed(folder: Path, node: str, bias: int | None = None) -> None:
    with edited(folder, "unet") as graph:
        for index in (1, *(() if bias is None else (bias,))):
            graph.set_weight(node, index, np.zeros_like(graph.weight(node, index)))


def _attention_scaled(folder: Path, scaled: Callable[[float], float]) -> None:
    """Change one attention's scale: an attribute of the fused operator, else a factor on query and key each."""
    with edited(folder, "unet") as graph:
        fused = graph.nodes("Attention", f"{BLOCK}.attn1/")
        if fused:
            scale = next(a.f for a in fused[0].attribute if a.name == "scale")
            graph.set(fused[0], scale=scaled(scale))
            return
        for node in _factors(graph):
            root = float(graph.weight(node, 1)[0])
            graph.set_weight(node, 1, np.array([scaled(root * root) ** 0.5], np.float32))


def _factors(graph: Graph) -> tuple[str, str]:
    query, key = graph.nodes("Mul", f"{BLOCK}.attn1/")
    return query.name, key.name
