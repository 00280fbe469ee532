"""Which family a checkpoint is of, and what its contract says; every published constant is in test_families.py."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from edgestep.export.recipe.contract import contract_from_checkpoint
from edgestep.export.recipe.detect import family_of
from edgestep.export.recipe.families import FAMILIES
from edgestep.export.recipe.sana_instruction import SANA_INSTRUCTION
from edgestep.export.source.checkpoint import open_source
from edgestep.export.source.source import Source
from edgestep.export.source.tokenizer import tokenizer_json
from tests.family_models import (
    EULER_LEADING,
    EULER_TRAILING,
    LCM,
    new_sd_unet,
    new_sdxl_unet,
    write_clip_tokenizer,
    write_kohya_lora,
    write_lcm,
    write_scheduler,
    write_sd15,
    write_sd21,
    write_sdxl,
    write_tiny_decoder,
    write_weights,
)
from tests.family_transformers import human_instruction, write_pixart, write_sana_sprint


@pytest.fixture(scope="module")
def bases(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("bases")
    write_sd15(folder / "sd")
    write_sd21(folder / "sd21", scheduler="EulerDiscreteScheduler", config=EULER_TRAILING)
    write_sdxl(folder / "sdxl", scheduler="EulerDiscreteScheduler", config=EULER_LEADING)
    write_lcm(folder / "lcm")
    write_pixart(folder / "pixart")
    write_sana_sprint(folder / "sana")
    return folder


def _contract(source: Source):
    return contract_from_checkpoint(open_source(source))


FILES = [
    ("sdxl", "unet", "dmd2_sdxl_1step_unet_fp16.safetensors", 1, "dmd2-sdxl"),
    ("sdxl", "unet", "dmd2_sdxl_4step_unet_fp16.safetensors", 4, "dmd2-sdxl"),
    ("sdxl", "lora", "dmd2_sdxl_4step_lora_fp16.safetensors", 4, "dmd2-sdxl"),
    ("sdxl", "unet", "sdxl_lightning_1step_unet_x0.safetensors", 1, "sdxl-lightning"),
    ("sdxl", "lora", "sdxl_lightning_2step_lora.safetensors", 2, "sdxl-lightning"),
    ("sdxl", "unet", "Hyper-SDXL-1step-Unet.safetensors", 1, "hyper-sdxl"),
    ("sdxl", "lora", "Hyper-SDXL-1step-lora.safetensors", 1, "hyper-sdxl-lora"),
    ("sdxl", "lora", "Hyper-SDXL-2steps-lora.safetensors", 2, "hyper-nsteps"),
    ("sd", "lora", "Hyper-SD15-1step-lora.safetensors", 4, "hyper-sd15"),
    ("sd", "lora", "Hyper-SD15-4steps-lora.safetensors", 4, "hyper-nsteps"),
    ("sd", "lora", "lcm-lora-sdv1-5/pytorch_lora_weights.safetensors", 1, "lcm-lora"),
    ("sdxl", "lora", "lcm-lora-sdxl/pytorch_lora_weights.safetensors", 2, "lcm-lora"),
    ("sd", "unet", "swiftbrush/unet/diffusion_pytorch_model.safetensors", 1, "swiftbrush"),
]


@pytest.mark.parametrize(("base", "role", "name", "steps", "family"), FILES)
def test_a_published_file_name_tells_the_family(bases, tmp_path, base, role, name, steps, family):
    unet = {"sd": new_sd_unet, "sdxl": new_sdxl_unet}[base](1)
    path = tmp_path / name
    write_weights(path, unet) if role == "unet" else write_kohya_lora(path, unet, seed=1)
    checkpoint = open_source(Source(bases / base, **{role: path}, steps=steps))
    detected = family_of(checkpoint)
    assert (detected.name, detected.row) == (family, FAMILIES[family])
    assert path.name in detected.why
    contract = contract_from_checkpoint(checkpoint)
    assert (contract.family, 1 + len(contract.next_steps)) == (family, steps)


FOLDERS = [
    ("sd21", "sd-turbo", "timestep_spacing trailing"),
    ("lcm", "lcm", "time_cond_proj_dim 256"),
    ("sana", "sana-sprint", "SanaSprintPipeline"),
]


@pytest.mark.parametrize(("folder", "family", "because"), FOLDERS)
def test_classes_and_config_keys_tell_the_family(bases, folder, family, because):
    detected = family_of(open_source(Source(bases / folder)))
    assert detected.name == family
    assert because in detected.why


def test_instaflow_by_its_pipeline_and_by_its_folder(bases, tmp_path):
    by_folder = Path(shutil.copytree(bases / "sd", tmp_path / "instaflow_0_9B_from_sd_1_5"))
    assert family_of(open_source(Source(by_folder))).why == "the folder's name, instaflow_0_9B_from_sd_1_5"
    cached = tmp_path / "models--XCLiu--instaflow_0_9B_from_sd_1_5" / "snapshots" / "0123abc"
    shutil.copytree(bases / "sd", cached)
    index = json.loads((cached / "model_index.json").read_text())
    assert family_of(open_source(Source(cached))).name == "instaflow"
    (cached / "model_index.json").write_text(json.dumps({**index, "_class_name": "RectifiedFlowPipeline"}))
    detected = family_of(open_source(Source(cached)))
    assert (detected.name, detected.why) == ("instaflow", "pipeline class RectifiedFlowPipeline")


def test_what_is_given_by_hand_wins(bases):
    assert family_of(open_source(Source(bases / "sd21", family="swiftbrush"))).name == "swiftbrush"
    plain = _contract(Source(bases / "sd21", family="plain"))
    assert plain.family == "sd-like-euler"
    assert plain.k_in == pytest.approx(0.997667, rel=1e-5)


def test_a_scheduler_of_one_step_without_a_row_names_the_family(bases, tmp_path):
    folder = Path(shutil.copytree(bases / "sd", tmp_path / "mine"))
    write_scheduler(folder, "LCMScheduler", LCM)
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps({**index, "scheduler": ["diffusers", "LCMScheduler"]}))
    checkpoint = open_source(Source(folder))
    assert family_of(checkpoint).name == "sd-like-lcm"
    assert "no row fits (pipeline StableDiffusionPipeline" in family_of(checkpoint).why
    assert contract_from_checkpoint(checkpoint).timestep == 999
    (folder / "README.md").write_text("---\nfamily: dmd2-sd15\n---\n")
    assert family_of(open_source(Source(folder))).row is FAMILIES["dmd2-sd15"]


def test_a_timestep_by_hand_needs_no_family(bases):
    """Over a base with a scheduler of many steps: x0 at that t, with the base's noise schedule."""
    contract = _contract(Source(bases / "sd", timestep=399.0))
    assert (contract.k_in, contract.k_z, contract.k_e) == pytest.approx((1, 1.53197, 1.16058), rel=2e-5)
    assert contract.family == "sd-like-pndm"
    sample = _contract(Source(bases / "sd", timestep=399.0, prediction_type="sample"))
    assert (sample.k_z, sample.k_e) == (0.0, -1.0)
    loop = _contract(Source(bases / "sd", timesteps=(999.0, 499.0)))
    assert [step.timestep for step in loop.next_steps] == [499.0]


def test_words_of_the_user_go_over_the_family(bases):
    source = Source(bases / "sd", family="dmd2-sd15")
    contract = _contract(replace(source, alpha_bar=0.0047))
    assert (contract.k_z, contract.k_e) == pytest.approx((14.5865, 14.5522), rel=2e-5)
    checkpoint = open_source(source)
    assert contract_from_checkpoint(checkpoint, timestep=399).k_z == pytest.approx(1.53197, rel=2e-5)
    assert contract_from_checkpoint(checkpoint, prediction_type="v_prediction").k_e == pytest.approx(0.997667, rel=1e-5)
    own = _contract(Source(bases / "sd", family="swiftbrush", timestep=999.0))
    assert own.k_z == pytest.approx(14.6488, rel=2e-5)  # a timestep by hand is the schedule's own alpha_bar
    assert _contract(Source(bases / "lcm", guidance_embedding=3.0)).guidance_embedding == 3.0
    assert _contract(Source(bases / "sdxl", family="dmd2-sdxl", timesteps=(799.0, 299.0))).next_steps[0].timestep == 299


def test_sizes(bases, tmp_path):
    plain = _contract(Source(bases / "sd", family="dmd2-sd15"))
    assert (plain.latent_shape, plain.image_size) == ((4, 8, 8), (16, 16))
    wide = _contract(Source(bases / "sd", family="dmd2-sd15", size=(16, 32)))
    assert (wide.latent_shape, wide.image_size) == ((4, 8, 16), (16, 32))
    tiny = _contract(Source(bases / "sd", family="dmd2-sd15", decoder=write_tiny_decoder(tmp_path / "tiny")))
    assert (tiny.image_size, tiny.latent_scale, tiny.decoder) == ((16, 16), 1.0, "tiny")
    sana = _contract(Source(bases / "sana", size=(64, 32)))
    assert (sana.latent_shape, sana.image_size) == ((4, 16, 8), (64, 32))


def test_the_scale_of_a_config_that_does_not_say(bases):
    """Stable Diffusion 1.5's VAE was published without scaling_factor."""
    assert "scaling_factor" not in json.loads((bases / "sd/vae/config.json").read_text())
    assert _contract(Source(bases / "sd", family="dmd2-sd15")).latent_scale == 0.18215


def test_a_tokenizer_json_of_spiece_model_is_that_of_t5(bases):
    from transformers import T5Tokenizer

    made = Tokenizer.from_str(tokenizer_json(bases / "pixart/tokenizer").decode())
    slow = T5Tokenizer.from_pretrained(bases / "pixart/tokenizer", legacy=True)
    for prompt in ("a red heart", "grinning face!", "A photo of  a cat, on the moon"):
        assert made.encode(prompt).ids == slow(prompt).input_ids
    contract = _contract(Source(bases / "pixart", family="pixart-dmd"))
    assert (contract.bos_token_id, contract.eos_token_id, contract.pad_token_id) == (-1, 1, 0)
    assert contract.prompt_tokens == 120


CLIP_PROMPTS = (
    "A photo of a Cat, on the moon!",
    "it's 3 o'clock!!",
    "naïve café ÉÀ  \t x",
    "a!b !",
    "emoji 😀, we've 123,45.6",
    "日本語",
    "don't <|endoftext|> x",
    "",
)


@pytest.mark.parametrize("pad", ["<|endoftext|>", "!"])
def test_a_tokenizer_json_of_merges_is_that_of_clip(tmp_path, pad):
    """Also where a sign pads, as in OpenCLIP: it is then special within a prompt too."""
    from transformers import CLIPTokenizer, CLIPTokenizerFast

    write_clip_tokenizer(tmp_path, pad=pad, fast=False)
    made = Tokenizer.from_str(tokenizer_json(tmp_path).decode())
    slow, fast = CLIPTokenizer.from_pretrained(tmp_path), CLIPTokenizerFast.from_pretrained(tmp_path)
    assert json.loads(tokenizer_json(tmp_path)) == json.loads(fast.backend_tokenizer.to_str())
    for prompt in CLIP_PROMPTS:
        assert made.encode(prompt).ids == fast(prompt).input_ids
        if prompt != "日本語":  # the slow one cuts these into signs where ftfy is missing
            assert made.encode(prompt).ids == slow(prompt).input_ids


def test_the_instruction_is_that_of_diffusers():
    assert "\n".join(human_instruction()) == SANA_INSTRUCTION


def test_every_row_says_where_it_is_from():
    for name, row in FAMILIES.items():
        assert row.name == name
        assert row.source
        assert set(row.timesteps) <= {1, 2, 4}
        assert all(len(timesteps) in (0, steps) for steps, timesteps in row.timesteps.items())
