"""Shares of a batch, noise, an update: of this process alone, and of one among several."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from edgestep.artifact import BadInput
from edgestep.distill.workers import Workers, adamw


def one_of(count: int, rank: int) -> Workers:
    accelerator: Any = SimpleNamespace(
        device=torch.device("cpu"), process_index=rank, num_processes=count, is_main_process=rank == 0
    )
    return Workers(accelerator)


@pytest.mark.parametrize("count", [1, 2, 4])
def test_the_shares_are_the_batch(count: int):
    batch, ids = torch.arange(24).view(8, 3), torch.arange(8)
    shares = [one_of(count, rank).share(batch, ids) for rank in range(count)]
    assert torch.equal(torch.cat([share[0] for share in shares]), batch)
    assert torch.equal(torch.cat([share[1] for share in shares]), ids)
    assert torch.equal(one_of(count, 0).share(ids), ids[: 8 // count])


@pytest.mark.parametrize("count", [2, 4])
def test_the_shares_of_the_noise_are_the_noise_of_one(count: int):
    def generator():
        return torch.Generator().manual_seed(3)

    whole = one_of(1, 0).noise((4, 2, 3), generator())
    parts = [one_of(count, rank).noise((4, 2, 3), generator()) for rank in range(count)]
    assert torch.equal(torch.cat(parts), whole)
    many = one_of(1, 0).noise((100_000,), generator())
    assert abs(float(many.mean())) < 0.02
    assert abs(float(many.std()) - 1) < 0.02


def test_a_batch_that_cannot_be_shared_is_refused():
    with pytest.raises(BadInput, match="batch of 8 for 3 processes; expected a multiple of 3"):
        one_of(3, 0).share(torch.zeros(8))


def test_an_update_is_a_clipped_step_and_tells_the_norm(workers: Workers):
    module = torch.nn.Linear(2, 1, bias=False)
    optimizer = torch.optim.SGD(module.parameters(), lr=1.0)
    before = module.weight.detach().clone()
    for _ in range(2):  # gradients do not add up
        norm = workers.update((module.weight * torch.tensor([3.0, 4.0])).sum(), module, optimizer, clip=0.5)
        assert float(norm) == pytest.approx(5.0)
    torch.testing.assert_close(before - module.weight, 2 * 0.5 * torch.tensor([[0.6, 0.8]]))


def test_means_alone_are_the_losses(workers: Workers):
    assert workers.mean({}) == {}
    assert workers.mean({"a": torch.tensor(2.0, requires_grad=True), "b": 3}) == {"a": 2.0, "b": 3.0}
    assert workers.is_main


def test_frozen_parameters_are_left_out_of_the_optimizer():
    module = torch.nn.Linear(2, 2)
    module.bias.requires_grad_(False)
    optimizer = adamw(module, 0.1, betas=(0.0, 0.9))
    (group,) = optimizer.param_groups
    assert [p is module.weight for p in group["params"]] == [True]
    assert (group["lr"], group["weight_decay"], group["betas"]) == (0.1, 0.01, (0.0, 0.9))
