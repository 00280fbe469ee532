"""A recorded and replayed network against the network itself."""

import pytest
import torch

from edgestep.distill.replay import Replayed
from edgestep.distill.workers import Workers, adamw

cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")


@pytest.mark.cuda
@cuda
@pytest.mark.parametrize("cast", [False, True])
def test_five_replayed_steps_have_the_losses_of_plain_ones(cast: bool):
    workers = Workers.of()

    def losses(replayed: bool) -> list[float]:
        torch.manual_seed(0)
        module = torch.nn.Sequential(torch.nn.Conv2d(4, 16, 3), torch.nn.GroupNorm(4, 16), torch.nn.Conv2d(16, 4, 3))
        module.to(workers.device)
        called = Replayed(module) if replayed else module
        optimizer, found = adamw(module, 1e-3), []
        for i in range(5):
            x = torch.randn(8, 4, 8, 8, generator=torch.Generator().manual_seed(i)).to(workers.device)
            with torch.autocast("cuda", torch.bfloat16, enabled=cast):
                loss = (called(x).float() - 1).square().mean()
            workers.update(loss, module, optimizer)
            found.append(float(loss.detach()))
        return found

    assert losses(True) == pytest.approx(losses(False), rel=1e-2 if cast else 1e-4)
