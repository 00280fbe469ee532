"""Mutants of t, of the formula x0 = k_z z - k_e F, and of the latent scale."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

import edgestep
from edgestep.artifact import read_artifact
from tests.harness.mutants.mutant import change_contract
from tests.harness.mutants.onnx_graph import DECODER_IN, FORMULA, edited

CHECKPOINT = Path(edgestep.__file__).parent / "checkpoints" / "emoji"
TIMESTEP, BETA_START, BETA_END, STEPS = 999, 0.00085, 0.012, 1000


def alpha_bar(timestep: int, schedule: str = "scaled_linear") -> float:
    """Return the cumulative product of 1 - beta at a timestep (DDPM, equation 4)."""
    power = 0.5 if schedule == "scaled_linear" else 1.0
    betas = np.linspace(BETA_START**power, BETA_END**power, STEPS) ** (1 / power)
    return float(np.cumprod(1 - betas)[timestep])


def time_biases(timestep: int) -> dict[str, np.ndarray]:
    """Return what the time embedding adds to each residual block's first convolution, float32 [C] by its name."""
    weights = {k: v.astype(np.float64) for k, v in load_file(_unet_weights()).items()}
    half = weights["time_embedding.linear_1.weight"].shape[1] // 2
    angles = timestep * np.exp(-np.log(10000) * np.arange(half) / half)
    hidden = np.concatenate([np.cos(angles), np.sin(angles)])  # flip_sin_to_cos, freq_shift 0
    for i, name in enumerate(("time_embedding.linear_1", "time_embedding.linear_2")):
        hidden = weights[f"{name}.weight"] @ (hidden if i == 0 else _silu(hidden)) + weights[f"{name}.bias"]
    blocks = [name.removesuffix(".time_emb_proj.weight") for name in weights if name.endswith("time_emb_proj.weight")]
    return {
        block: (weights[f"{block}.time_emb_proj.weight"] @ _silu(hidden) + weights[f"{block}.time_emb_proj.bias"])
        for block in blocks
    }


def wrong_t(folder: Path) -> None:
    """The network is told t = 979, as by another spacing of the timesteps."""
    _told(folder, 979)


def t_one_less(folder: Path) -> None:
    """The network is told t = 998."""
    _told(folder, 998)


def wrong_alpha_bar(folder: Path) -> None:
    """The formula takes alpha_bar at t = 979, the network is still told 999."""
    _of_alpha_bar(folder, alpha_bar(979))


def wrong_beta_schedule(folder: Path) -> None:
    """The formula takes alpha_bar of linear betas."""
    _of_alpha_bar(folder, alpha_bar(TIMESTEP, "linear"))


def v_read_as_epsilon(folder: Path) -> None:
    """x0 = (z - sqrt(1 - alpha_bar) F) / sqrt(alpha_bar): the row for epsilon, where the network predicts v."""
    one = alpha_bar(TIMESTEP)
    _of_constants(folder, one**-0.5, ((1 - one) / one) ** 0.5)


def v_read_as_sample(folder: Path) -> None:
    """x0 = F: the row for a network that predicts x0."""
    _of_constants(folder, 0.0, -1.0)


def sign_of_v(folder: Path) -> None:
    """x0 = k_z z + k_e F."""
    with edited(folder, "unet") as graph:
        graph.node(FORMULA[2]).op_type = "Add"


def noise_times_initial_sigma(folder: Path) -> None:
    """The noise is multiplied by an Euler scheduler's first sigma, 14.6."""
    one = alpha_bar(TIMESTEP)
    sigma = np.float32(((1 - one) / one) ** 0.5)
    with edited(folder, "unet") as graph:
        graph.after_input(graph.noise, ("Mul", (sigma,), {}))


def latent_scale_dropped(folder: Path) -> None:
    """The latent is not divided by latent_scale."""
    _scaled(folder, lambda scale: scale)


def latent_scale_twice(folder: Path) -> None:
    """The latent is divided by latent_scale twice."""
    _scaled(folder, lambda scale: 1 / scale)


def latent_scale_of_sd(folder: Path) -> None:
    """The latent is divided by Stable Diffusion's 0.18215."""
    _scaled(folder, lambda scale: scale / 0.18215)


def latent_shifted(folder: Path) -> None:
    """A latent shift of 0.1159 (Flux's VAE) is added."""
    if not (folder / "generator.onnx").is_file():
        change_contract(folder, latent_shift=0.1159)
        return
    scale = read_artifact(folder, verify=False).contract.latent_scale
    with edited(folder, "vae") as graph:
        weight, bias = graph.weight(DECODER_IN, 1), graph.weight(DECODER_IN, 2)
        graph.set_weight(DECODER_IN, 2, bias + np.float32(0.1159 * scale) * weight.sum((1, 2, 3)))


def _told(folder: Path, timestep: int) -> None:
    right, wrong = time_biases(TIMESTEP), time_biases(timestep)
    with edited(folder, "unet") as graph:
        for block in right:
            conv = f"unet.{block}.conv1/Conv"
            bias = graph.weight(conv, 2) + (wrong[block] - right[block])
            graph.set_weight(conv, 2, bias.astype(np.float32))


def _of_alpha_bar(folder: Path, one: float) -> None:
    _of_constants(folder, one**0.5, (1 - one) ** 0.5)


def _of_constants(folder: Path, k_z: float, k_e: float) -> None:
    with edited(folder, "unet") as graph:
        for node, constant in zip(FORMULA, (k_z, k_e), strict=False):
            graph.set_weight(node, 1, np.float32(constant))


def _scaled(folder: Path, factor: Callable[[float], float]) -> None:
    """Multiply what the decoder is fed by factor(latent_scale); in the fused form that is its first weight."""
    scale = read_artifact(folder, verify=False).contract.latent_scale
    if not (folder / "generator.onnx").is_file():
        change_contract(folder, latent_scale=scale / factor(scale))
        return
    with edited(folder, "vae") as graph:
        graph.set_weight(DECODER_IN, 1, graph.weight(DECODER_IN, 1) * np.float32(factor(scale)))


def _silu(value: np.ndarray) -> np.ndarray:
    return value / (1 + np.exp(-value))


def _unet_weights() -> Path:
    return CHECKPOINT / "unet" / "diffusion_pytorch_model.safetensors"
