"""The catalogue: name -> Mutant, per form of artifact. The first line of a function's docstring is what is wrong."""

from collections.abc import Callable
from pathlib import Path

from tests.harness.mutants import coreml, formula, layers, numerics, openvino, pictures, prompts
from tests.harness.mutants.mutant import COREML, FORMS, FUSED, OPENVINO, SPLIT, Mutant

Make = Callable[[Path], None]

EVERY_FORM: tuple[Make, ...] = (
    formula.latent_scale_dropped,
    prompts.another_tokenizer,
    prompts.another_tokenizer_vouched_for,
    prompts.tokenizer_without_bos,
    prompts.tokenizer_keeps_case,
    prompts.tokenizer_missing,
    prompts.contract_pads_with_another_token,
)
"""What the manifest and the tokenizer say: alike in every form, but for the latent scale, which fused graphs fold."""

ONNX: tuple[Make, ...] = (
    formula.wrong_t,
    formula.t_one_less,
    formula.wrong_alpha_bar,
    formula.wrong_beta_schedule,
    formula.v_read_as_epsilon,
    formula.v_read_as_sample,
    formula.sign_of_v,
    formula.noise_times_initial_sigma,
    formula.latent_scale_twice,
    formula.latent_scale_of_sd,
    formula.latent_shifted,
    prompts.swapped_prompts,
    prompts.bos_dropped,
    prompts.padded_with_another_token,
    prompts.causal_mask_dropped,
    prompts.positions_off_by_one,
    prompts.silu_for_quick_gelu,
    prompts.clip_skip,
    prompts.stale_text_encoder,
    prompts.prompt_ignored,
    prompts.noise_ignored,
    prompts.noise_negated,
    prompts.noise_forgotten_in_formula,
    pictures.latent_channels_shuffled,
    pictures.bgr,
    pictures.flipped,
    pictures.upside_down,
    pictures.one_pixel_right,
    pictures.transposed,
    pictures.channels_last_mixed_up,
    pictures.range_halved_twice,
    pictures.limited_range,
    pictures.two_levels_darker,
    pictures.nan_first_in_x0,
    pictures.nan_first_pixel,
    pictures.constant_image,
    pictures.one_picture_for_all,
    layers.convolution_zeroed,
    layers.feed_forward_zeroed,
    layers.cross_attention_zeroed,
    layers.residual_dropped,
    layers.skips_swapped,
    layers.downsampling_padded_at_the_end,
    layers.padding_off_by_one,
    layers.resize_shifted,
    layers.resize_half_pixel_linear,
    layers.resize_half_pixel_nearest,
    layers.gelu_tanh,
    layers.group_norm_epsilon,
    layers.group_norm_epsilon_large,
    layers.layer_norm_epsilon,
    layers.attention_scale_dropped,
    layers.attention_scale_twice,
    layers.query_and_key_swapped,
    layers.weight_transposed,
    layers.kernel_flipped,
    numerics.lowest_bit_flipped,
    numerics.sign_bit_flipped,
    numerics.exponent_bit_flipped,
    numerics.weights_bfloat16,
    numerics.weights_int4,
    numerics.half_overflow,
    numerics.int8_saturated,
    numerics.int8_wrong_zero_point,
    numerics.tail_of_a_weight_lost,
    numerics.file_cut_in_half,
)
"""Edits of the ONNX graph, split or fused."""

ONNX_FUSED: tuple[Make, ...] = (pictures.truncated_to_uint8,)
"""The split form's rounding is in edgestep, not in its graphs."""

IR: tuple[Make, ...] = (
    openvino.wrong_alpha_bar,
    openvino.v_read_as_epsilon,
    openvino.swapped_prompts,
    openvino.latent_channels_shuffled,
    openvino.bgr,
    openvino.convolution_zeroed,
    openvino.padding_off_by_one,
    openvino.gelu_tanh,
    openvino.group_norm_epsilon_large,
    openvino.resize_shifted,
    openvino.exponent_bit_flipped,
    openvino.lowest_bit_flipped,
    openvino.nan_first_weight,
    openvino.weights_cut,
    openvino.tail_of_a_weight_lost,
)
"""Edits of the OpenVINO IR."""

PACKAGES: tuple[Make, ...] = (
    coreml.wrong_t,
    coreml.wrong_alpha_bar,
    coreml.v_read_as_epsilon,
    coreml.swapped_prompts,
    coreml.latent_channels_shuffled,
    coreml.two_channels_swapped,
    coreml.last_channels_swapped,
    coreml.bgr,
    coreml.convolution_zeroed,
    coreml.padding_off_by_one,
    coreml.gelu_tanh,
    coreml.layer_norm_epsilon,
    coreml.group_norm_epsilon,
    coreml.group_norm_epsilon_large,
    coreml.query_and_key_swapped,
    coreml.weight_transposed,
    coreml.highest_byte_flipped,
    coreml.highest_byte_flipped_at_the_end,
    coreml.exponent_bit_flipped,
    coreml.lowest_byte_flipped,
    coreml.nan_first_weight,
    coreml.tail_of_a_weight_lost,
    coreml.weights_cut,
    coreml.offset_outside,
)
"""Edits of Core ML packages."""

PREFIXES = {OPENVINO: IR, COREML: PACKAGES}
"""Form -> its own edits, whose names begin with the format's."""


def _table(*groups: tuple[tuple[Make, ...], tuple[str, ...]]) -> dict[str, Mutant]:
    made: dict[str, Mutant] = {}
    for functions, forms in groups:
        for make in functions:
            own = next((form.split()[0] + " " for form, edits in PREFIXES.items() if functions is edits), "")
            name = f"{own}{make.__name__}"
            assert name not in made and make.__doc__
            made[name] = Mutant(" ".join(make.__doc__.split()).rstrip("."), make, forms)
    return made


MUTANTS: dict[str, Mutant] = _table(
    (EVERY_FORM, FORMS), (ONNX, (SPLIT, FUSED)), (ONNX_FUSED, (FUSED,)), (IR, (OPENVINO,)), (PACKAGES, (COREML,))
)
"""Name -> Mutant."""

CASES: tuple[tuple[str, str], ...] = tuple(
    (form, name) for form in FORMS for name, m in MUTANTS.items() if form in m.forms
)
"""Every (form, mutant)."""
