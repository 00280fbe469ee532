"""What a step trains on: the checkpoint's own draw and picture, shared out the same whatever the processes."""

from dataclasses import replace

import pytest
import torch
from diffusers import StableDiffusionPipeline

from edgestep.artifact import BadInput
from edgestep.distill.data.batches import batch_index
from edgestep.distill.data.latent_data import LatentData
from edgestep.distill.decoder.latents import SEED, Stream
from edgestep.distill.decoder.source import read_source
from edgestep.distill.workers import Workers
from tests.distill.decoder.conftest import MINI


class Rows(LatentData):
    """Eight rows of data: row i holds i everywhere."""

    def __init__(self):
        self.latent_shape, self.prompt_tokens = (4, 8, 8), 1

    def __len__(self) -> int:
        return 8

    def take(self, index: torch.Tensor):
        return index.float().view(-1, 1, 1, 1).expand(-1, *self.latent_shape), index[:, None]

    def texts(self, index: torch.Tensor) -> list[str]:
        return [str(row) for row in index.tolist()]


def one_of_two(rank: int) -> Workers:
    workers = Workers.of(cpu=True)
    workers.rank, workers.count = rank, 2
    return workers


def test_a_draw_is_what_diffusers_own_pipeline_draws(checkpoint, source):
    pipe = StableDiffusionPipeline.from_pretrained(checkpoint, safety_checker=None)
    pipe.set_progress_bar_config(disable=True)
    noise = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(3))
    expected = pipe("cat face", num_inference_steps=1, guidance_scale=0.0, latents=noise, output_type="latent").images
    x0 = source.draw(noise, source.input_ids[1:2])
    torch.testing.assert_close(x0, expected, rtol=1e-3, atol=1e-3)
    drawn = pipe("cat face", num_inference_steps=1, guidance_scale=0.0, latents=noise, output_type="pt").images
    torch.testing.assert_close((source.pictures(x0) / 2 + 0.5).clamp(0, 1), drawn, rtol=1e-3, atol=1e-3)


def test_prompts_are_the_lines_that_are_not_blank(checkpoint, source):
    assert len(source.input_ids) == 3
    assert torch.equal(read_source(checkpoint, ["cat face"]).input_ids, source.input_ids[1:2])


def test_two_processes_share_one_process_s_batch(source, workers):
    whole = Stream(source, Rows(), MINI, workers)
    halves = [Stream(source, Rows(), MINI, one_of_two(rank)) for rank in (0, 1)]
    for step in (0, 1, MINI.ahead, 1):
        x0, pictures = whole(step)
        shared = [half(step) for half in halves]
        # each part of the batch, drawn and of the data, is shared out by itself
        order = torch.tensor([0, 2, 1, 3])
        torch.testing.assert_close(torch.cat([a for a, _ in shared])[order], x0, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(torch.cat([b for _, b in shared])[order], pictures, rtol=1e-4, atol=1e-4)


def test_a_step_s_pictures_are_the_vae_s_of_its_latents(source, workers):
    x0, pictures = Stream(source, None, MINI, workers)(4)
    decoded = source.vae.decode(x0 / source.vae.config["scaling_factor"]).sample
    torch.testing.assert_close(pictures, decoded, rtol=1e-4, atol=1e-5)
    again, _ = Stream(source, None, replace(MINI, seed=1), workers)(4)
    assert (x0 - again).abs().mean() > 0.1


def test_the_data_s_share_of_a_batch_follows_its_rows(source, workers):
    x0, _ = Stream(source, Rows(), replace(MINI, data_share=0.75), workers)(5)
    assert x0[1:, 0, 0, 0].tolist() == batch_index(8, 3, 5, MINI.seed + SEED).tolist()
    assert x0[0].std() > 0
    alone, _ = Stream(source, Rows(), replace(MINI, data_share=1.0), workers)(5)
    assert alone[:, 0, 0, 0].tolist() == batch_index(8, 4, 5, MINI.seed + SEED).tolist()


def test_large_pictures_are_not_drawn_ahead(source, workers):
    assert Stream(source, None, MINI, workers).ahead == MINI.ahead
    assert Stream(source, None, replace(MINI, batch=2**14, ahead=64), workers).ahead == 2


def test_a_batch_that_processes_cannot_share_is_refused(source):
    with pytest.raises(BadInput, match="3 for 2 processes"):
        Stream(source, None, replace(MINI, batch=3), one_of_two(0))(0)
