"""Mutants of the OpenVINO IR."""

from pathlib import Path

import numpy as np

from tests.harness.mutants.formula import TIMESTEP, alpha_bar
from tests.harness.mutants.layers import RESIDUAL
from tests.harness.mutants.mutant import replace_bytes
from tests.harness.mutants.openvino_ir import edited
from tests.harness.mutants.prompts import GRINNING_FACE, PIZZA

DECODER_OUT, DECODER_IN = "vae.decoder.conv_out", "vae.post_quant_conv"
TOKENS = "text_encoder.text_model.embeddings.token_embedding.weight"


def wrong_alpha_bar(folder: Path) -> None:
    """k_e of t = 979."""
    with edited(folder, "unet") as model:
        model.constant_into("Mul_2")[...] = (1 - alpha_bar(979)) ** 0.5


def v_read_as_epsilon(folder: Path) -> None:
    """The constants of a network that predicts epsilon."""
    one = alpha_bar(TIMESTEP)
    with edited(folder, "unet") as model:
        model.constant_into("Mul")[...] = one**-0.5
        model.constant_into("Mul_2")[...] = ((1 - one) / one) ** 0.5


def swapped_prompts(folder: Path) -> None:
    """The prompt "noto grinning face" draws "fluent pizza", and the other way round."""
    with edited(folder, "text_encoder") as model:
        table = model.constant(TOKENS)
        table[[*GRINNING_FACE, *PIZZA]] = table[[*PIZZA, *GRINNING_FACE]]


def latent_channels_shuffled(folder: Path) -> None:
    """The decoder reads the latent's channels in another order."""
    with edited(folder, "vae") as model:
        weight = model.constant(f"{DECODER_IN}.weight")
        weight[...] = np.roll(weight, 1, axis=1)


def bgr(folder: Path) -> None:
    """Red and blue have changed places."""
    with edited(folder, "vae") as model:
        for constant in (model.constant(f"{DECODER_OUT}.weight"), model.constant_into("sample")):
            axis = constant.shape.index(3)
            constant[...] = np.flip(constant, axis).copy()


def convolution_zeroed(folder: Path) -> None:
    """One convolution of the middle block gives its bias alone."""
    with edited(folder, "unet") as model:
        model.constant(f"{RESIDUAL}.conv2.weight")[...] = 0


def padding_off_by_one(folder: Path) -> None:
    """One convolution pads [0, 2] for [1, 1]."""
    with edited(folder, "unet") as model:
        attributes = model.layer(f"{RESIDUAL}.conv1/Conv/WithoutBiases")
        attributes.set("pads_begin", "0, 0")
        attributes.set("pads_end", "2, 2")


def gelu_tanh(folder: Path) -> None:
    """GELU's tanh approximation for erf."""
    with edited(folder, "unet") as model:
        for attributes in model.layers("Gelu"):
            attributes.set("approximation_mode", "TANH")


def group_norm_epsilon_large(folder: Path) -> None:
    """GroupNorm's epsilon is 1e-3 in the denoiser, for 1e-5; LayerNorm's too."""
    with edited(folder, "unet") as model:
        for attributes in model.layers("MVN"):
            attributes.set("eps", "1e-3")


def resize_shifted(folder: Path) -> None:
    """Up-sampling takes the pixel above for half of the rows and columns."""
    with edited(folder, "vae") as model:
        for attributes in model.layers("Interpolate"):
            attributes.set("nearest_mode", "ceil")


def exponent_bit_flipped(folder: Path) -> None:
    """The highest bit of one weight's exponent is flipped."""
    _flip(folder, 30)


def lowest_bit_flipped(folder: Path) -> None:
    """The lowest bit of one weight is flipped."""
    _flip(folder, 0)


def nan_first_weight(folder: Path) -> None:
    """The first weight of the decoder's last convolution is NaN."""
    with edited(folder, "vae") as model:
        model.constant(f"{DECODER_OUT}.weight").reshape(-1)[0] = np.nan


def weights_cut(folder: Path) -> None:
    """The second half of the denoiser's .bin is missing."""
    path = folder / "unet" / "openvino_model.bin"
    whole = path.read_bytes()
    replace_bytes(path, whole[: len(whole) // 2])


def tail_of_a_weight_lost(folder: Path) -> None:
    """The last quarter of one weight's bytes is zero, as after a cut copy."""
    with edited(folder, "unet") as model:
        weight = model.constant(f"{RESIDUAL}.conv1.weight").reshape(-1)
        weight[-weight.size // 4 :] = 0


def _flip(folder: Path, bit: int) -> None:
    with edited(folder, "unet") as model:
        weight = model.constant(f"{RESIDUAL}.conv1.weight")
        weight.reshape(-1).view(np.uint32)[np.abs(weight).argmax()] ^= np.uint32(1 << bit)
