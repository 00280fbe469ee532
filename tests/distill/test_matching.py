"""A step of distribution matching: who is changed by what; the student of several steps; a kill and after."""

from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import pytest
import torch

from edgestep.distill.config import Config
from edgestep.distill.data.open_data import open_data
from edgestep.distill.folders import Parts
from edgestep.distill.matching import Matching
from edgestep.distill.pairs import Pairs
from edgestep.distill.workers import Workers
from tests.distill.toys import DMD, GAN, clone
from tests.distill.train_here import losses_of_training

PLAIN = replace(DMD, regression_weight=0.0)


def new_matching(parts: Parts, rows: Path, config: Config, workers: Workers) -> Matching:
    data = open_data(rows)
    generator = torch.Generator().manual_seed(9)
    noise, x0 = torch.randn(2, 1, 4, 8, 8, generator=generator).expand(-1, 8, -1, -1, -1).unbind(0)
    pairs = Pairs(noise, data.take(torch.zeros(8, dtype=torch.int64))[1], x0) if config.regression_weight else None
    return Matching(parts.teacher, parts.teacher.unet, data, pairs, config, workers)


def changed(module: torch.nn.Module, before: dict[str, torch.Tensor]) -> bool:
    return any(not torch.equal(value, before[name]) for name, value in module.state_dict().items())


@pytest.mark.parametrize("config", [PLAIN, DMD, GAN, replace(GAN, gradient_checkpointing=True)])
def test_each_turn_changes_its_own_network_alone(parts: Parts, rows: Path, workers: Workers, config: Config):
    matching, generator = new_matching(parts, rows, config, workers), torch.Generator().manual_seed(0)
    networks = {"generator": matching.unet, "fake": matching.fake.module, "teacher": parts.teacher.unet}
    before = {name: clone(network) for name, network in networks.items()}
    noise, embeds, latents = matching.fresh(0, generator)
    with torch.no_grad():
        x = matching.draw(noise, embeds)
    matching.fake.update(x, embeds, latents, generator)
    assert [changed(network, before[name]) for name, network in networks.items()] == [False, True, False]

    matching.fake.optimizer.zero_grad(set_to_none=True)
    before = {name: clone(network) for name, network in networks.items()}
    losses = matching.update_generator(noise, embeds, generator)
    assert [changed(network, before[name]) for name, network in networks.items()] == [True, False, False]
    assert all(p.grad is None for p in matching.fake.module.parameters())
    assert all(p.grad is None for p in parts.teacher.unet.parameters())
    wanted = {"matching", "spread", "norm"}
    wanted |= {"regression"} if config.regression_weight else set()
    assert losses.keys() == wanted | ({"adversarial"} if config.adversarial_weight else set())


@pytest.mark.parametrize(("real_guidance", "used"), [(0.0, 2.5), (1.0, 1.0), (4.0, 4.0)])
def test_the_real_scores_guidance_is_its_own_where_it_is_told(
    parts: Parts, rows: Path, workers: Workers, real_guidance: float, used: float
):
    """The pairs are drawn by `guidance` all the same: they are another term."""
    config = replace(PLAIN, guidance=2.5, real_guidance=real_guidance)
    matching, generator = new_matching(parts, rows, config, workers), torch.Generator().manual_seed(0)
    noise, embeds, _ = matching.fresh(0, generator)
    t = torch.full((len(noise),), 500)
    full = parts.teacher.unet(noise, t, embeds).sample
    null = parts.teacher.unet(noise, t, parts.teacher.null().expand(len(noise), -1, -1)).sample
    with torch.no_grad():
        torch.testing.assert_close(matching.real(noise, t, embeds), null + used * (full - null), atol=1e-4, rtol=1e-3)


def test_the_gan_term_alone_reaches_the_generator(parts: Parts, rows: Path, workers: Workers):
    matching = new_matching(parts, rows, replace(GAN, matching_weight=0.0), workers)
    generator = torch.Generator().manual_seed(0)
    noise, embeds, _ = matching.fresh(0, generator)
    x = matching.draw(noise, embeds).detach().requires_grad_(True)
    logits = matching.fake.judged(x, embeds, generator)
    logits.sum().backward()
    assert logits.shape == (4,)
    assert x.grad is not None and bool((x.grad.flatten(1).abs().sum(1) > 0).all())
    losses = matching.update_generator(noise, embeds, generator)
    assert float(losses["norm"]) > 0


def test_the_discriminator_learns_to_tell_drawn_from_real(parts: Parts, rows: Path, workers: Workers):
    matching = new_matching(parts, rows, replace(GAN, fake_adversarial_weight=1.0, fake_lr=2e-3), workers)
    found = []
    for turn in range(30):
        generator = torch.Generator().manual_seed(turn)
        _, embeds, latents = matching.fresh(turn, generator)
        found.append(matching.fake.update(latents + 3, embeds, latents, generator)["discriminator"].item())
    assert sum(found[-5:]) < 0.8 * sum(found[:5])


def test_a_step_is_so_many_updates_of_the_fake_score_and_one_of_the_generator(
    parts: Parts, rows: Path, workers: Workers
):
    config = replace(PLAIN, fake_updates=3)
    matching, asked = new_matching(parts, rows, config, workers), []
    plain = matching.fresh

    def fresh(turn: int, generator: torch.Generator) -> tuple[torch.Tensor, ...]:
        asked.append(turn)
        return plain(turn, generator)

    with patch.object(matching, "fresh", fresh):
        for i in range(2):
            losses = matching.step(i, torch.Generator().manual_seed(i))
    assert asked == list(range(8))  # no batch twice
    assert {"fake", "matching"} <= losses.keys()
    steps = [
        {int(state["step"]) for state in optimizer.state.values()}
        for optimizer in (matching.fake.optimizer, matching.optimizer)
    ]
    assert steps == [{6}, {2}]


def test_the_regression_beside_is_on_the_pairs(parts: Parts, rows: Path, workers: Workers):
    """All pairs are one pair here, so its loss is known."""
    matching = new_matching(parts, rows, DMD, workers)
    pairs = matching.pairs
    assert pairs is not None
    with torch.no_grad():
        x = matching.draw(pairs.noise[:1], parts.teacher.embeds(pairs.input_ids[:1]))
    generator = torch.Generator().manual_seed(0)
    noise, embeds, _ = matching.fresh(0, generator)
    losses = matching.update_generator(noise, embeds, generator)
    assert float(losses["regression"]) == pytest.approx(float((x - pairs.x0[:1]).square().mean()), rel=1e-4)


def test_a_student_of_several_steps_is_drawn_as_by_hand(parts: Parts, rows: Path, workers: Workers):
    config = replace(GAN, later_steps=(600, 300))
    matching, generator = new_matching(parts, rows, config, workers), torch.Generator().manual_seed(0)
    noise, embeds, _ = matching.fresh(0, generator)
    later = matching._later_noise(generator)
    abar, unet = parts.teacher.scheduler.alphas_cumprod, matching.unet
    with torch.no_grad():
        x_t, steps = noise, []
        for k, t in enumerate((999, 600, 300)):
            x0 = (x_t - (1 - abar[t]).sqrt() * unet(x_t, t, embeds).sample) / abar[t].sqrt()
            steps.append(x0)
            if k < 2:
                after = (600, 300)[k]
                x_t = abar[after].sqrt() * x0 + (1 - abar[after]).sqrt() * later[k]
        for count, x0 in enumerate(steps, 1):
            torch.testing.assert_close(matching.draw(noise, embeds, count, later), x0, atol=1e-3, rtol=1e-4)
    drawn = {matching._steps(torch.Generator().manual_seed(i)) for i in range(40)}
    assert drawn == {1, 2, 3}
    losses = matching.step(0, torch.Generator().manual_seed(1))
    assert all(torch.as_tensor(value).isfinite() for value in losses.values())


def test_a_seed_gives_one_discriminator_whatever_was_drawn_before(parts: Parts, rows: Path, workers: Workers):
    heads = []
    for seed in (0, 0, 1):
        torch.rand(seed + len(heads))
        heads.append(clone(new_matching(parts, rows, replace(GAN, seed=seed), workers).fake.module.head))
    assert all(torch.equal(heads[0][name], heads[1][name]) for name in heads[0])
    assert not torch.equal(heads[0]["judge.weight"], heads[2]["judge.weight"])


@pytest.mark.parametrize(
    ("stage", "config"),
    [
        ("regression", replace(DMD, batch=2, regression_steps=23, matching_steps=0)),
        ("matching", replace(DMD, batch=2, matching_steps=23, regression_steps=1, fake_updates=1)),
        ("matching", replace(GAN, batch=2, matching_steps=23, fake_updates=1, later_steps=(500,))),
    ],
    ids=["regression", "dmd", "dmd2"],
)
def test_twenty_steps_after_a_kill_have_the_same_losses_to_the_bit(
    tmp_path: Path, tiny: Path, rows: Path, workers: Workers, stage: str, config: Config
):
    whole = losses_of_training(tiny, rows, tmp_path / "whole", config, workers)
    with patch("os.kill", side_effect=KeyboardInterrupt), pytest.raises(KeyboardInterrupt):
        losses_of_training(tiny, rows, tmp_path / "broken", config, workers, dies=(3, 0), stage=stage)
    rest = losses_of_training(tiny, rows, tmp_path / "broken", config, workers)
    assert len(rest[stage]) == 20
    assert rest[stage] == whole[stage][3:]
