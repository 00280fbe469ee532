"""prompts.txt holds every concept once."""

import pytest

from edgestep.distill.emoji.prompts import prompts_from_concepts


@pytest.mark.parametrize("count", [0, 1, 37, 74, 100])
def test_every_concept_once_styles_in_turn(count: int):
    concepts = ["red heart", *(f"concept {i}" for i in range(count))]
    prompts = prompts_from_concepts(concepts, ["a", "b"])
    assert sorted(prompt.split(" ", 1)[1] for prompt in prompts) == sorted(concepts)
    assert [prompt[0] for prompt in prompts] == ["ab"[i % 2] for i in range(len(concepts))]
