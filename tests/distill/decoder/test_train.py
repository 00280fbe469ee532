"""Training: what it learns, and that a killed run ends as an unbroken one."""

from dataclasses import replace

import pytest
import torch

from edgestep.artifact import BadInput
from edgestep.distill import loop
from edgestep.distill.decoder import train
from edgestep.distill.decoder.train import train_decoder
from tests.distill.decoder.conftest import MINI
from tests.distill.decoder.test_latents import Rows


def test_a_killed_run_ends_as_an_unbroken_one(source, workers, tmp_path, monkeypatch):
    whole = train_decoder(tmp_path / "whole", source, MINI, workers)

    def killed(training, step):
        def dying(i, generator):
            if i == 4:
                training.save()
                raise KeyboardInterrupt
            return step(i, generator)

        loop.run(training, dying)

    with monkeypatch.context() as patch:
        patch.setattr(train, "run", killed)
        with pytest.raises(KeyboardInterrupt):
            train_decoder(tmp_path / "broken", source, MINI, workers)
    resumed = train_decoder(tmp_path / "broken", source, MINI, workers)
    states = [tiny.state_dict() for tiny in (whole, resumed)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_it_comes_nearer_to_the_vae_s_pictures(source, workers, tmp_path):
    x0 = source.draw(torch.randn(8, 4, 8, 8), source.input_ids[[0, 1, 2, 0, 1, 2, 0, 1]])
    target = source.pictures(x0)

    def error(steps: int) -> float:
        tiny = train_decoder(tmp_path / str(steps), source, replace(MINI, steps=steps, average=0.5), workers)
        return (tiny.decode(x0).sample - target).square().mean().item()

    assert error(150) < 0.2 * error(1)


def test_data_of_another_shape_or_scale_is_refused(source, workers, tmp_path):
    wrong = Rows()
    wrong.latent_shape = (4, 4, 4)
    with pytest.raises(BadInput, match=r"latents of shape \(4, 4, 4\)"):
        train_decoder(tmp_path, source, MINI, workers, wrong)
    wrong.latent_shape, wrong.latent_scale = (4, 8, 8), 0.5
    with pytest.raises(BadInput, match=r"latent scale 0\.5"):
        train_decoder(tmp_path, source, MINI, workers, wrong)
