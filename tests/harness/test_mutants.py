"""The gates against damaged artifacts: what must be caught is, by the gates that docs/gates.md names for it."""

import math

import numpy as np
import pytest
from safetensors.numpy import load_file

from edgestep.artifact import read_artifact
from edgestep.harness.parity.check import draw_and_check
from edgestep.harness.parity.gates import gates_for
from tests.harness.mutants.catalogue import CASES, MUTANTS
from tests.harness.mutants.formula import TIMESTEP, alpha_bar, time_biases
from tests.harness.mutants.good import EMOJI
from tests.harness.mutants.mutant import COREML, FUSED, OPENVINO, SPLIT, Mutant, damaged
from tests.harness.mutants.onnx_graph import edited
from tests.harness.mutants.outcome import SCHEMES
from tests.harness.mutants.table import PATH, limits_table, measured, row_from_outcome, rows_of, tail_from_rows

TEXT = PATH.read_text()
ROWS = rows_of(TEXT)
CAUGHT_BY, X0, IMAGE, LOOSER = 5, 2, 3, (6, 7)
"""Cells of a row."""
SINGLE_VALUES = 80.0
"""dB of a picture: above, fewer than 8 of its 12,288 values differ, by one, as the last bit of a processor's sums has
it: 89.0 on one, equal pictures on another."""

QUICK = {
    SPLIT: (
        "wrong_t",
        "wrong_alpha_bar",
        "v_read_as_epsilon",
        "swapped_prompts",
        "bos_dropped",
        "latent_scale_dropped",
        "latent_scale_twice",
        "latent_channels_shuffled",
        "bgr",
        "flipped",
        "padding_off_by_one",
        "group_norm_epsilon",
        "convolution_zeroed",
        "lowest_bit_flipped",
        "exponent_bit_flipped",
        "gelu_tanh",
        "stale_text_encoder",
        "another_tokenizer",
        "another_tokenizer_vouched_for",
        "half_overflow",
        "int8_saturated",
        "nan_first_in_x0",
        "constant_image",
        "resize_shifted",
        "file_cut_in_half",
    ),
    OPENVINO: ("openvino bgr", "openvino gelu_tanh", "openvino padding_off_by_one", "openvino nan_first_weight"),
    COREML: (
        "coreml wrong_alpha_bar",
        "coreml two_channels_swapped",
        "coreml highest_byte_flipped",
        "coreml layer_norm_epsilon",
        "coreml offset_outside",
    ),
}
"""Run in the default suite; the fused form costs an export of its own, so that all of it is slow."""


def _cases() -> list:
    quick = {(form, name) for form, names in QUICK.items() for name in names}
    assert quick <= set(CASES)
    return [pytest.param(*case, id="-".join(case), marks=() if case in quick else pytest.mark.slow) for case in CASES]


@pytest.mark.parametrize(("form", "name"), _cases())
def test_a_mutant_is_caught_by_the_gates_that_the_docs_name(emoji_made, form, name):
    outcome = measured(emoji_made, form, name)
    row = [cell.strip() for cell in row_from_outcome(name, outcome).strip("|").split("|")]
    told = ROWS[form, name]
    assert [row[i] for i in (CAUGHT_BY, *LOOSER)] == [told[i] for i in (CAUGHT_BY, *LOOSER)]
    assert _near(row[X0], told[X0]), (row, told)
    assert _near(row[IMAGE], told[IMAGE], alike=SINGLE_VALUES), (row, told)
    assert outcome.verdict == ("failed" if outcome.failed["fp32"] else "passed")
    k_e = (1 - alpha_bar(TIMESTEP)) ** 0.5
    for scheme in SCHEMES:
        psnr = next(gate.low for gate in gates_for(scheme, k_e) if gate.measure == "image_psnr_db")
        if outcome.moved_db < psnr:  # its pictures moved by more than the gate's own tolerance
            assert outcome.failed[scheme], (scheme, outcome)


@pytest.mark.parametrize("form", [SPLIT, pytest.param(FUSED, marks=pytest.mark.slow), OPENVINO, COREML])
def test_the_good_artifact_passes(emoji_made, form):
    result = draw_and_check(emoji_made.artifact(form), emoji_made.reference, threads=1).result
    assert result.verdict == "passed", result.reason


@pytest.mark.parametrize(
    ("name", "told"), [("file_cut_in_half", "did not load"), ("another_tokenizer_vouched_for", "prompt_ids")]
)
def test_the_command_s_own_way_says_the_same(emoji_made, tmp_path, name, told):
    """Drawn in a process of its own, as users do."""
    with damaged(emoji_made.artifact(SPLIT), MUTANTS[name], tmp_path / "mutant") as folder:
        result = draw_and_check(folder, emoji_made.reference, threads=1).result
    assert result.verdict == "failed" and told in result.reason


def test_the_docs_have_a_row_for_every_mutant_and_no_other():
    assert len(MUTANTS) >= 20
    assert f"{len(MUTANTS)} damaged artifacts" in (PATH.parents[1] / "README.md").read_text()
    assert set(ROWS) == set(CASES)
    for (_, name), cells in ROWS.items():
        assert cells[1] == MUTANTS[name].what
    assert limits_table() in TEXT


def test_what_is_said_of_the_rows_has_their_figures():
    assert TEXT.endswith(tail_from_rows(ROWS))


def test_the_time_embedding_that_wrong_t_changes_is_the_one_that_was_exported(emoji_made, tmp_path):
    """What the exporter folded into the biases, computed again from the checkpoint; no mutant is made with it."""
    weights = load_file(EMOJI / "unet" / "diffusion_pytorch_model.safetensors")
    expected = time_biases(TIMESTEP)
    assert len(expected) == 11

    def check(folder) -> None:
        with edited(folder, "unet") as graph:
            for block, bias in expected.items():
                own = weights[f"{block}.conv1.bias"].astype(np.float64)
                np.testing.assert_allclose(graph.weight(f"unet.{block}.conv1/Conv", 2), own + bias, atol=2e-5)

    with damaged(emoji_made.artifact(SPLIT), Mutant("nothing", check), tmp_path / "same"):
        pass


def test_alpha_bar_is_the_contract_s(emoji_made):
    contract = read_artifact(emoji_made.artifact(SPLIT), verify=False).contract
    assert math.isclose(contract.k_z, alpha_bar(TIMESTEP) ** 0.5, rel_tol=1e-5)
    assert math.isclose(contract.k_e, (1 - alpha_bar(TIMESTEP)) ** 0.5, rel_tol=1e-5)


def _near(figure: str, told: str, alike: float = math.inf) -> bool:
    """Whether two figures in dB agree: to 0.5 where a fault dominates, to 6 where rounding does; all above `alike`."""
    if figure == told:
        return True
    one, other = (float(text.replace("\N{MINUS SIGN}", "-")) for text in (figure, told))
    return min(one, other) > alike or abs(one - other) <= (0.5 if other < 70 else 6)
