"""The teacher: prompts to embeddings, guidance, frozen networks."""

import pytest
import torch

from edgestep.distill.folders import Parts
from edgestep.distill.workers import Workers


def test_prompts_are_embedded_by_its_own_encoder(parts: Parts):
    teacher = parts.teacher
    ids = teacher.ids(["a red heart", "cat " * 50])
    assert ids.shape == (2, 16)
    embeds = teacher.embeds(ids)
    assert embeds.dtype == torch.float32
    assert not embeds.requires_grad
    torch.testing.assert_close(embeds, teacher.text_encoder(ids).last_hidden_state.detach())
    torch.testing.assert_close(teacher.null(), teacher.embeds(teacher.ids([""])))
    assert not any(p.requires_grad for p in [*teacher.unet.parameters(), *teacher.text_encoder.parameters()])


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("guidance", [1.0, 4.0])
def test_the_real_score_is_guided_from_the_empty_prompt(
    parts: Parts, workers: Workers, guidance: float, together: bool
):
    teacher = parts.teacher
    x, t = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0)), torch.tensor([30, 800])
    embeds = teacher.embeds(teacher.ids(["cat face", "green apple"]))
    with torch.no_grad():
        ours = teacher.real(guidance, workers if together else None)(x, t, embeds)
        null = teacher.unet(x, t, teacher.null().expand(2, -1, -1)).sample
        full = teacher.unet(x, t, embeds).sample
    torch.testing.assert_close(ours, null + guidance * (full - null), atol=1e-5, rtol=1e-4)
