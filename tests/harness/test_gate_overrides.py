"""Gates given by hand: read strictly, and the scheme's own limit stays beside them."""

import pytest

from edgestep.artifact import BadInput
from edgestep.harness.parity.gate_overrides import override_gates
from edgestep.harness.parity.gates import IMAGE_PSNR, PROMPT_SENSITIVITY, Gate, gates_for

GATES = gates_for("fp32", 1.0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("image PSNR>=30", Gate(IMAGE_PSNR, 30.0, None, ">= 60")),
        (" IMAGE   psnr >= 30.5 ", Gate(IMAGE_PSNR, 30.5, None, ">= 60")),
        ("image_psnr_db<=3e1", Gate(IMAGE_PSNR, None, 30.0, ">= 60")),
        ("prompt sensitivity=0.9..1.1", Gate(PROMPT_SENSITIVITY, 0.9, 1.1, "0.99 .. 1.01")),
    ],
)
def test_a_gate_takes_its_place_and_the_others_stay(text, expected):
    gates = override_gates(GATES, [text])
    assert [g.measure for g in gates] == [g.measure for g in GATES]
    assert [g for g in gates if g not in GATES] == [expected]
    assert override_gates(GATES, [Gate(expected.measure, expected.low, expected.high)]) == gates


@pytest.mark.parametrize(
    ("texts", "match"),
    [
        (["image PSNR"], "expected a measure and its limit"),
        (["image PSNR>30"], "expected a measure and its limit"),
        (["image PSNR>=nan"], "expected a measure and its limit"),
        (["image PSNR>=1e999"], "expected finite limits"),
        (["prompt sensitivity=1.1..0.9"], "the lower first"),
        (["shapes<=3"], "got a gate on 'shapes'"),
        (["PSNR>=30"], "got a gate on 'PSNR'"),
        (["image PSNR>=30", "image_psnr_db>=31"], "two gates on image PSNR"),
        ([">=30"], "expected a measure and its limit"),
    ],
)
def test_what_cannot_be_read_is_bad_input(texts, match):
    with pytest.raises(BadInput, match=match):
        override_gates(GATES, texts)
