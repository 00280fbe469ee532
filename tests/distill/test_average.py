"""The running average against torch's own with the same decays."""

import pytest
import torch
from torch.optim.swa_utils import AveragedModel

from edgestep.distill.average import Average


@pytest.mark.parametrize("decay", [0.3, 0.9])
def test_it_is_torchs_average_with_a_decay_that_grows(decay: float):
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.GroupNorm(2, 4))
    ours = Average(module, decay)
    now = [0.0]
    theirs = AveragedModel(module, avg_fn=lambda average, new, _count: now[0] * average + (1 - now[0]) * new)
    theirs.update_parameters(module)  # the first call copies
    for i in range(20):
        now[0] = min(decay, (1 + i) / (10 + i))
        with torch.no_grad():
            for p in module.parameters():
                p.add_(torch.randn_like(p))
        ours.update()
        theirs.update_parameters(module)
    for ours_p, theirs_p in zip(ours.module.parameters(), theirs.module.parameters(), strict=True):
        torch.testing.assert_close(ours_p, theirs_p)
        assert not ours_p.requires_grad
    assert ours.updates == 20


def test_a_restored_average_goes_on_as_the_saved_one():
    torch.manual_seed(1)
    module = torch.nn.Linear(3, 2)
    first = Average(module, 0.99)
    with torch.no_grad():
        module.weight.add_(1)
    first.update()
    second = Average(torch.nn.Linear(3, 2), 0.99)
    second.load_state_dict(first.state_dict())
    assert second.updates == 1
    assert torch.equal(second.module.weight, first.module.weight)
