"""More cases than the bundle has: its own stay, new ones are what recording them would have drawn."""

from dataclasses import replace

import numpy as np
import pytest

from edgestep.artifact import BadInput
from edgestep.export.source.source import Source
from edgestep.harness.parity.check import check_parity
from edgestep.harness.reference.bundle import Reference
from edgestep.harness.reference.more_cases import with_more_cases


@pytest.fixture(scope="module")
def more(tiny, reference) -> Reference:
    return with_more_cases(reference, Source(tiny), 11)


def test_the_bundles_cases_stay_and_no_case_is_drawn_twice(more, reference):
    assert more.cases[:8] == reference.cases and len(more.cases) == 11
    assert [case.name for case in more.cases[8:]] == ["case-08", "case-09", "case-10"]
    assert [case.name for case in more.index.cases] == [case.name for case in more.cases]
    assert len({(case.prompt, case.noise.tobytes()) for case in more.cases}) == 11


def test_new_cases_are_what_pytorch_draws(more, torch_tiny):
    for case in more.cases[8:]:
        drawn = torch_tiny.draw(**case.inputs)
        assert np.array_equal(drawn.x0, case.x0) and np.array_equal(drawn.picture, case.picture)


def test_parity_counts_them_and_says_where_they_were_drawn(more, split_folder):
    result = check_parity(split_folder, more, threads=1)
    assert (result.verdict, result.cases) == ("passed", 11)
    assert "3 more cases by PyTorch fp32 on the CPU" in result.reference_label


def test_as_many_as_there_are_needs_nothing(reference):
    assert with_more_cases(reference, None, 8) is reference


def test_what_cannot_be_drawn_is_bad_input(reference, tiny, monkeypatch):
    with pytest.raises(BadInput, match="got --cases 7; expected 8 or more"):
        with_more_cases(reference, Source(tiny), 7)
    with pytest.raises(BadInput, match="give --checkpoint"):
        with_more_cases(reference, None, 9)
    other = replace(reference, index=replace(reference.index, checkpoint_sha256="0" * 64))
    with pytest.raises(BadInput, match="expected 000000000000, which the bundle was recorded from"):
        with_more_cases(other, Source(tiny), 9)
    monkeypatch.setitem(__import__("sys").modules, "torch", None)
    with pytest.raises(BadInput, match="got no torch"):
        with_more_cases(reference, Source(tiny), 9)
