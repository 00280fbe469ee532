"""Mutants of Core ML packages in Apple's layout, whose formula is the runtime's, from the contract."""

from pathlib import Path

import numpy as np

from tests.harness.mutants.coreml_package import FILES, edited
from tests.harness.mutants.formula import TIMESTEP, alpha_bar, time_biases
from tests.harness.mutants.mutant import change_contract, replace_bytes
from tests.harness.mutants.prompts import GRINNING_FACE, PIZZA

RESIDUAL = "unet_mid_block_resnets_0"
BLOCK = "unet_up_blocks_1_attentions_0_transformer_blocks_0"
CONV = f"p_{RESIDUAL}_conv1_weight"
TOKENS = "p_text_encoder_text_model_embeddings_token_embedding_weight"
DECODER_IN, DECODER_OUT = "p_vae_post_quant_conv_weight", "p_vae_decoder_conv_out"


def wrong_t(folder: Path) -> None:
    """The network is told t = 979, as by another spacing of the timesteps."""
    right, wrong = time_biases(TIMESTEP), time_biases(979)
    with edited(folder, "unet") as package:
        for block in right:
            bias = package.floats(f"p_unet_{block.replace('.', '_')}_conv1_bias")
            bias += (wrong[block] - right[block]).astype(np.float32)


def wrong_alpha_bar(folder: Path) -> None:
    """The contract's formula takes alpha_bar at t = 979."""
    one = alpha_bar(979)
    change_contract(folder, k_z=one**0.5, k_e=(1 - one) ** 0.5)


def v_read_as_epsilon(folder: Path) -> None:
    """The contract has the constants of a network that predicts epsilon."""
    one = alpha_bar(TIMESTEP)
    change_contract(folder, k_z=one**-0.5, k_e=((1 - one) / one) ** 0.5)


def swapped_prompts(folder: Path) -> None:
    """The prompt "noto grinning face" draws "fluent pizza", and the other way round."""
    with edited(folder, "text_encoder") as package:
        table = package.floats(TOKENS)
        table[[*GRINNING_FACE, *PIZZA]] = table[[*PIZZA, *GRINNING_FACE]]


def latent_channels_shuffled(folder: Path) -> None:
    """The decoder reads the latent's channels in another order."""
    with edited(folder, "vae") as package:
        weight = package.floats(DECODER_IN)
        weight[...] = np.roll(weight, 1, axis=1)


def two_channels_swapped(folder: Path) -> None:
    """Two output channels of one convolution of the middle block have changed places, biases too."""
    with edited(folder, "unet") as package:
        for constant in (package.floats(CONV), package.floats(f"p_{RESIDUAL}_conv1_bias")):
            constant[[3, 100]] = constant[[100, 3]]


def last_channels_swapped(folder: Path) -> None:
    """Two output channels of the denoiser's last convolution have changed places, biases too."""
    with edited(folder, "unet") as package:
        for constant in (package.floats("p_unet_conv_out_weight"), package.floats("p_unet_conv_out_bias")):
            constant[[0, 1]] = constant[[1, 0]]


def bgr(folder: Path) -> None:
    """Red and blue have changed places."""
    with edited(folder, "vae") as package:
        weight, bias = package.floats(f"{DECODER_OUT}_weight"), package.immediate(f"{DECODER_OUT}_bias")
        weight[...] = weight[::-1].copy()
        bias[:] = list(reversed(bias))


def convolution_zeroed(folder: Path) -> None:
    """One convolution of the middle block gives its bias alone."""
    with edited(folder, "unet") as package:
        package.floats(f"p_{RESIDUAL}_conv2_weight")[...] = 0


def padding_off_by_one(folder: Path) -> None:
    """One convolution pads [0, 2] for [1, 1]."""
    with edited(folder, "unet") as package:
        conv = package.operations[f"{RESIDUAL}_conv1"]
        package.immediate(package.read(conv, "pad"))[:] = [0, 2, 0, 2]


def gelu_tanh(folder: Path) -> None:
    """GELU's tanh approximation for erf."""
    with edited(folder, "unet") as package:
        for gelu in package.of_type("gelu"):
            package.immediate(package.read(gelu, "mode"))[:] = ["TANH_APPROXIMATION"]


def layer_norm_epsilon(folder: Path) -> None:
    """LayerNorm's epsilon is 1e-3 in the denoiser, for 1e-5."""
    with edited(folder, "unet") as package:
        for norm in package.of_type("layer_norm"):
            package.immediate(package.read(norm, "epsilon"))[:] = [1e-3]


def group_norm_epsilon(folder: Path) -> None:
    """GroupNorm's epsilon is 1e-6 in the denoiser, for 1e-5."""
    _group_norms(folder, 1e-6)


def group_norm_epsilon_large(folder: Path) -> None:
    """GroupNorm's epsilon is 1e-3 in the denoiser, for 1e-5."""
    _group_norms(folder, 1e-3)


def query_and_key_swapped(folder: Path) -> None:
    """One self-attention has its query and key weights swapped."""
    with edited(folder, "unet") as package:
        query, key = (package.floats(f"p_{BLOCK}_attn1_to_{one}_weight") for one in "qk")
        query[...], key[...] = key.copy(), query.copy()


def weight_transposed(folder: Path) -> None:
    """One square weight matrix is transposed."""
    with edited(folder, "unet") as package:
        weight = package.floats(f"p_{BLOCK}_attn1_to_out_0_weight")
        weight[...] = weight.T.copy()


def highest_byte_flipped(folder: Path) -> None:
    """Every bit of the highest byte of one weight is flipped."""
    _flipped(folder, 0xFF000000)


def highest_byte_flipped_at_the_end(folder: Path) -> None:
    """Every bit of the highest byte of one weight of the denoiser's last convolution is flipped."""
    _flipped(folder, 0xFF000000, "p_unet_conv_out_weight")


def exponent_bit_flipped(folder: Path) -> None:
    """The highest bit of one weight's exponent is flipped."""
    _flipped(folder, 1 << 30)


def lowest_byte_flipped(folder: Path) -> None:
    """Every bit of the lowest byte of one weight is flipped."""
    _flipped(folder, 0xFF)


def nan_first_weight(folder: Path) -> None:
    """The first weight of the decoder's last convolution is NaN."""
    with edited(folder, "vae") as package:
        package.floats(f"{DECODER_OUT}_weight").reshape(-1)[0] = np.nan


def tail_of_a_weight_lost(folder: Path) -> None:
    """The last quarter of one weight's bytes is zero, as after a cut copy."""
    with edited(folder, "unet") as package:
        weight = package.floats(CONV).reshape(-1)
        weight[-weight.size // 4 :] = 0


def weights_cut(folder: Path) -> None:
    """The second half of the denoiser's weight.bin is missing."""
    path = folder / f"{FILES['unet']}.mlpackage" / "Data" / "com.apple.CoreML" / "weights" / "weight.bin"
    whole = path.read_bytes()
    replace_bytes(path, whole[: len(whole) // 2])


def offset_outside(folder: Path) -> None:
    """One weight's offset points outside the weight file."""
    with edited(folder, "unet") as package:
        package.operations[CONV].attributes["val"].blobFileValue.offset = 1 << 40


def _group_norms(folder: Path, epsilon: float) -> None:
    """A group norm is an instance norm of the reshaped tensor."""
    with edited(folder, "unet") as package:
        norms = package.of_type("instance_norm")
        assert norms
        for norm in norms:
            package.immediate(package.read(norm, "epsilon"))[:] = [epsilon]


def _flipped(folder: Path, bits: int, name: str = CONV) -> None:
    """Flip bits of the largest weight."""
    with edited(folder, "unet") as package:
        weight = package.floats(name)
        weight.reshape(-1).view(np.uint32)[np.abs(weight).argmax()] ^= np.uint32(bits)
