"""Clients that know nothing of edgestep open the artifacts and draw the same pictures."""

import json

import numpy as np
import onnxruntime
import pytest

from tests.export.conftest import worst_level
from tests.export.family_artifacts import FamilyArtifacts, family_artifacts
from tests.families import FAMILIES

PROMPT = "a red heart"
LIVELY = "a photo of a cat on the moon!"
"""Ends in what OpenCLIP pads with, which is a special token wherever it stands."""


@pytest.fixture(scope="session")
def families(tmp_path_factory) -> FamilyArtifacts:
    return family_artifacts(tmp_path_factory.getbasetemp() / "families")


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


def test_optimum_draws_emoji(emoji, emoji_exports):
    client = pytest.importorskip("optimum.onnxruntime")
    import torch
    from diffusers import StableDiffusionPipeline

    contract = emoji_exports.graphs.contract
    latents = torch.randn(1, *contract.latent_shape, generator=torch.Generator().manual_seed(0))
    options = {"num_inference_steps": 1, "guidance_scale": 1.0, "latents": latents, "output_type": "np"}
    images = []
    for pipeline in (
        client.ORTDiffusionPipeline.from_pretrained(emoji_exports("onnx", "split")),
        StableDiffusionPipeline.from_pretrained(emoji, torch_dtype=torch.float32),
    ):
        pipeline.set_progress_bar_config(disable=True)
        images.append(np.round(pipeline("noto grinning face", **options).images * 255))
    assert images[0].shape[1:3] == contract.image_size
    assert _psnr(images[0], images[1]) >= 50


def _drawn_by_genai(folder, prompt: str, noise: np.ndarray, image_size: tuple[int, int]) -> np.ndarray:
    """Return a uint8 picture; where the client would draw noise of its own it is handed `noise`."""
    genai = pytest.importorskip("openvino_genai")
    if not (folder / "tokenizer/openvino_tokenizer.xml").is_file():
        pytest.skip("openvino_tokenizers is not installed")

    class Given(genai.Generator):
        def __init__(self) -> None:
            genai.Generator.__init__(self)
            self.numbers = iter(noise.ravel())

        def next(self) -> float:
            return float(next(self.numbers))

    height, width = image_size
    options = {"num_inference_steps": 1, "guidance_scale": 1.0, "width": width, "height": height}
    # Without the hint a CPU with bfloat16 instructions uses those.
    pipeline = genai.Text2ImagePipeline(folder, "CPU", INFERENCE_PRECISION_HINT="f32")
    return np.asarray(pipeline.generate(prompt, **options, generator=Given()).data)


def test_openvino_genai_draws_the_same_picture(make, feeds, contract):
    pytest.importorskip("openvino_genai")
    from transformers import CLIPTokenizer

    folder = make("openvino", "fp32", "split").folder
    image = _drawn_by_genai(folder, PROMPT, feeds.noise, contract.image_size)
    tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
    ids = tokenizer(PROMPT, padding="max_length", max_length=contract.prompt_tokens, return_tensors="np").input_ids
    ours = _ours(make("onnx", "fp32", "fused").folder, ids.astype(np.int64), feeds.noise)
    # It cuts off where we round: half a level on average, 51 dB.
    assert worst_level(image, ours) <= 1
    assert _psnr(image, ours) >= 50


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sd-turbo", "sd-turbo-taesd", "lcm", "sdxl-turbo", "dmd2-sdxl-1step"])
def test_optimum_draws_what_the_recipe_draws(families, name: str):
    client = pytest.importorskip("optimum.onnxruntime")
    noise, _ = FAMILIES[name].noise()
    expected = FAMILIES[name].recipe(families.source(name), LIVELY, noise).image
    pipeline = client.ORTDiffusionPipeline.from_pretrained(families.exported(name, "onnx", "split"))
    pipeline.set_progress_bar_config(disable=True)
    options = {"num_inference_steps": 1, "guidance_scale": 1.0, "output_type": "np"}
    image = pipeline(LIVELY, latents=noise, **options).images
    assert type(pipeline).auto_model_class.__name__.startswith("StableDiffusion")
    assert expected.std() > 0.01
    assert _psnr(np.round(255 * image), np.round(255 * expected)) >= 50


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sd-turbo-taesd", "lcm", "sdxl-turbo", "dmd2-sdxl-1step"])
def test_openvino_genai_draws_what_the_recipe_draws(families, name: str):
    pytest.importorskip("openvino_genai")
    noise, _ = FAMILIES[name].noise()
    expected = FAMILIES[name].recipe(families.source(name), LIVELY, noise).image
    folder = families.exported(name, "openvino", "split")
    image = _drawn_by_genai(folder, LIVELY, noise.numpy(), families.contract(name).image_size)
    assert worst_level(image, np.round(255 * expected)) <= 1
    assert _psnr(image, np.floor(255 * expected)) >= 50


@pytest.mark.slow
def test_clients_draw_pictures_that_are_not_square(families):
    """No client can know both sides from SDXL's config: they are told."""
    client = pytest.importorskip("optimum.onnxruntime")
    import torch

    from edgestep.runtimes.drawing import Drawer
    from edgestep.runtimes.tokenizer import inputs_from_prompt

    size = (16, 32)
    folder = families.exported("sdxl-turbo", "onnx", "split", size=size)
    contract = families.contract("sdxl-turbo", size=size)
    noise = np.random.default_rng(0).standard_normal((1, *contract.latent_shape), dtype=np.float32)
    with Drawer(folder) as drawer:
        ours = drawer.draw(**inputs_from_prompt(folder, contract, LIVELY), noise=noise).image
    pipeline = client.ORTDiffusionPipeline.from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    options = {"num_inference_steps": 1, "guidance_scale": 1.0, "output_type": "np"}
    image = pipeline(LIVELY, latents=torch.from_numpy(noise), height=size[0], width=size[1], **options).images
    assert _psnr(np.round(255 * image), ours) >= 50
    folder = families.exported("sdxl-turbo", "openvino", "split", size=size)
    image = _drawn_by_genai(folder, LIVELY, noise, size)
    assert worst_level(image, ours) <= 1


def test_no_client_takes_a_loop_for_one_step(families, tmp_path):
    client = pytest.importorskip("optimum.onnxruntime")
    from edgestep.export.client_files import write_client_files

    for name in ("unet", "unet_2"):
        (tmp_path / name).mkdir()
    write_client_files(tmp_path, families.checkpoint("lcm", steps=2), "onnx")
    with pytest.raises(OSError, match="model_index"):
        client.ORTDiffusionPipeline.from_pretrained(tmp_path)


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
