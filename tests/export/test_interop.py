"""Clients that know nothing of edgestep open the artifacts and draw the same pictures."""

import json

import numpy as np
import onnxruntime
import pytest

from edgestep.export.recipe.contract import contract_from_checkpoint
from edgestep.export.run import export
from edgestep.export.source.checkpoint import open_checkpoint
from tests.export.conftest import worst_level

PROMPT = "a red heart"


def _psnr(a: np.ndarray, b: np.ndarray) -> float:
    return 10 * np.log10(255**2 / max(float(((a.astype(float) - b.astype(float)) ** 2).mean()), 1e-10))


def _ours(folder, ids: np.ndarray, noise: np.ndarray) -> np.ndarray:
    return onnxruntime.InferenceSession(folder / "generator.onnx").run(None, {"input_ids": ids, "noise": noise})[0]


@pytest.mark.parametrize("guidance", [0.0, 1.0])
@pytest.mark.parametrize("name", ["ORTDiffusionPipeline", "ORTStableDiffusionPipeline"])
def test_optimum_draws_the_same_picture(make, feeds, contract, name: str, guidance: float):
    client = pytest.importorskip("optimum.onnxruntime")
    import torch

    pipeline = getattr(client, name).from_pretrained(make("onnx", "fp32", "split").folder)
    pipeline.set_progress_bar_config(disable=True)
    ids = pipeline.tokenizer(PROMPT, padding="max_length", max_length=contract.prompt_tokens, return_tensors="np")
    image = pipeline(
        PROMPT,
        num_inference_steps=1,
        guidance_scale=guidance,
        latents=torch.from_numpy(feeds.noise),
        output_type="np",
    ).images
    ours = _ours(make("onnx", "fp32", "fused").folder, ids.input_ids.astype(np.int64), feeds.noise)
    assert ours.std() > 1
    assert _psnr(ours, np.round(image * 255)) >= 50


def test_optimum_draws_emoji(emoji, tmp_path):
    client = pytest.importorskip("optimum.onnxruntime")
    import torch
    from diffusers import StableDiffusionPipeline

    checkpoint = open_checkpoint(emoji)
    contract = contract_from_checkpoint(checkpoint)
    export(checkpoint, format="onnx", precision="fp32", layout="split", target="x86", out=tmp_path / "emoji")
    latents = torch.randn(1, *contract.latent_shape, generator=torch.Generator().manual_seed(0))
    options = {"num_inference_steps": 1, "guidance_scale": 1.0, "latents": latents, "output_type": "np"}
    images = []
    for pipeline in (
        client.ORTDiffusionPipeline.from_pretrained(tmp_path / "emoji"),
        StableDiffusionPipeline.from_pretrained(emoji, torch_dtype=torch.float32),
    ):
        pipeline.set_progress_bar_config(disable=True)
        images.append(np.round(pipeline("noto grinning face", **options).images * 255))
    assert images[0].shape[1:3] == contract.image_size
    assert _psnr(images[0], images[1]) >= 50


def test_openvino_genai_draws_the_same_picture(make, feeds, contract):
    genai = pytest.importorskip("openvino_genai")
    from transformers import CLIPTokenizer

    class Given(genai.Generator):
        """Hands out the noise itself, where the client would draw its own."""

        def __init__(self) -> None:
            genai.Generator.__init__(self)
            self.numbers = iter(feeds.noise.ravel())

        def next(self) -> float:
            return float(next(self.numbers))

    made = make("openvino", "fp32", "split")
    if not (made.folder / "tokenizer/openvino_tokenizer.xml").is_file():
        pytest.skip("openvino_tokenizers is not installed")
    height, width = contract.image_size
    image = (
        genai.Text2ImagePipeline(made.folder, "CPU")
        .generate(PROMPT, num_inference_steps=1, guidance_scale=1.0, width=width, height=height, generator=Given())
        .data
    )
    tokenizer = CLIPTokenizer.from_pretrained(made.folder / "tokenizer")
    ids = tokenizer(PROMPT, padding="max_length", max_length=contract.prompt_tokens, return_tensors="np").input_ids
    ours = _ours(make("onnx", "fp32", "fused").folder, ids.astype(np.int64), feeds.noise)
    # It cuts off where we round: half a level on average, 51 dB.
    assert worst_level(np.asarray(image), ours) <= 2
    assert _psnr(np.asarray(image), ours) >= 45


def test_client_scheduler_hands_x0_on(make):
    """One step of the LCMScheduler beside the graphs returns its input, whatever noise it started from."""
    import torch
    from diffusers import LCMScheduler

    folder = make("onnx", "fp32", "split").folder / "scheduler"
    assert json.loads((folder / "scheduler_config.json").read_text())["prediction_type"] == "sample"
    scheduler = LCMScheduler.from_pretrained(folder)
    scheduler.set_timesteps(1)
    x0, z = torch.randn(2, 1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    assert float(scheduler.init_noise_sigma) == 1
    after = scheduler.step(x0, scheduler.timesteps[0], z).prev_sample
    np.testing.assert_allclose(after, x0, rtol=1e-6, atol=1e-7)
