"""Every family as published: the contract says its constants, and formula and artifact draw what its recipe draws."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from edgestep.artifact import OneStep
from edgestep.export.recipe.contract import contract_from_checkpoint
from edgestep.export.source.checkpoint import open_source
from edgestep.harness.reference.torch_one_step import TorchOneStep
from tests.families import FAMILIES, FamilyCase, network
from tests.family_transformers import human_instruction

PROMPT = "A photo of a Cat, on the moon!"
CLOSE = {"rtol": 1e-4, "atol": 1e-4}


@pytest.fixture
def case(name: str) -> FamilyCase:
    return FAMILIES[name]


@pytest.fixture
def source(case, tmp_path):
    return case.make(tmp_path / "source")


@pytest.mark.parametrize("name", FAMILIES)
def test_the_contract_says_what_is_published(case, source):
    contract, expected = contract_from_checkpoint(open_source(source)), case.contract()
    for field in ("family", "base", "prediction_type", "latent_shape", "image_size", "prompt_tokens", "guidance"):
        assert getattr(contract, field) == getattr(expected, field), field
    assert (contract.k_in, contract.k_z, contract.k_e) == pytest.approx(case.k, rel=2e-5, abs=2e-6)
    timesteps = [contract.timestep, *(step.timestep for step in contract.next_steps)]
    assert timesteps == pytest.approx(case.timesteps, rel=1e-6)
    assert (contract.latent_scale, contract.latent_shift) == (pytest.approx(case.latent_scale), 0.0)
    assert contract.guidance_embedding == case.guidance_embedding
    assert contract.decoder == ("tiny" if source.decoder else "vae")
    assert contract.prompt_prefix == ("\n".join(human_instruction()) if case.base == "sana" else "")


@pytest.mark.parametrize("name", FAMILIES)
def test_the_contract_knows_the_tokens(case, source):
    """The pads are what the tokenizers pad with, not what the text encoders' configs say."""
    contract = contract_from_checkpoint(open_source(source))
    pipe = case.load(source)
    firsts = (contract.bos_token_id, contract.eos_token_id, contract.pad_token_id)
    tokenizer = pipe.tokenizer
    assert firsts[1:] == (tokenizer.eos_token_id, tokenizer.pad_token_id)
    assert firsts[0] == tokenizer.bos_token_id or case.base == "pixart"  # T5 opens a prompt with nothing
    assert len(contract.more_tokenizers) == (case.base == "sdxl")
    for tokens in contract.more_tokenizers:
        assert (tokens.folder, tokens.input, tokens.prompt_tokens) == ("tokenizer_2", "input_ids_2", 77)
        assert (tokens.pad_token_id, tokens.eos_token_id) == (0, pipe.tokenizer_2.eos_token_id)


def _x0_by_formula(contract: OneStep, pipe, noise: torch.Tensor, more_noise: torch.Tensor) -> torch.Tensor:
    """x0 = k_z z - k_e F(k_in z, t), then z' = m_z z + m_x x0 + m_n n, with diffusers' raw network as F."""
    z, steps = noise.double(), (contract, *contract.next_steps)
    for i, step in enumerate(steps):
        x0 = step.k_z * z - step.k_e * network(pipe, PROMPT, (step.k_in * z).float(), step.timestep).double()
        if i + 1 < len(steps):
            after = contract.next_steps[i]
            z = after.m_z * z + after.m_x * x0 + after.m_n * more_noise[i].double()
    return x0


@pytest.mark.parametrize("name", FAMILIES)
def test_the_formula_is_the_recipe(case, source):
    contract = contract_from_checkpoint(open_source(source))
    noise, more_noise = case.noise()
    expected = case.recipe(source, PROMPT, noise, more_noise).x0.numpy()
    with torch.inference_mode():
        x0 = _x0_by_formula(contract, case.load(source), noise, more_noise)
    assert np.allclose(x0.numpy(), expected, **CLOSE)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_reference_is_the_recipe(case, source):
    """TorchOneStep with the contract that was read, not the row's: by diffusers' scheduler wherever there is one."""
    noise, more_noise = case.noise()
    expected = case.recipe(source, PROMPT, noise, more_noise)
    model = TorchOneStep(source)
    loop = {"more_noise": more_noise.numpy()} if len(more_noise) else {}
    drawing = model.draw(**model.inputs(PROMPT), noise=noise.numpy(), **loop)
    assert np.allclose(drawing.x0, expected.x0.numpy(), **CLOSE)
    assert model.formula_by == ("contract" if case.family in ("swiftbrush", "instaflow") else "scheduler")


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_the_artifact_is_the_recipe(case, source, tmp_path):
    from edgestep.export.run import export
    from edgestep.runtimes.drawing import Drawer

    noise, more_noise = case.noise()
    expected = case.recipe(source, PROMPT, noise, more_noise)
    inputs = TorchOneStep(source, contract=case.contract()).inputs(PROMPT)
    loop = {"more_noise": more_noise.numpy()} if len(more_noise) else {}
    out = tmp_path / "artifact"
    export(open_source(source), format="onnx", precision="fp32", layout="split", target="x86", out=out)
    with Drawer(out) as drawer:
        drawing = drawer.draw(**inputs, noise=noise.numpy(), **loop)
    assert np.allclose(drawing.x0, expected.x0.numpy(), **CLOSE)
    assert np.abs(drawing.image.astype(float) - np.round(255 * expected.image)).max() <= 1


@pytest.mark.parametrize("name", ["dmd2-sd15", "dmd2-sdxl-1step", "hyper-sd15"])
def test_what_goes_over_the_base_is_part_of_the_hash(case, source, tmp_path):
    """Another UNet file or LoRA, and another word of the user, are another checkpoint."""
    other = FAMILIES["lcm-lora-sd15"].make(tmp_path / "other")
    hashes = {open_source(source).sha256, open_source(replace(source, timestep=500.0)).sha256}
    hashes.add(open_source(replace(source, unet=None, lora=None, family="lcm-lora")).sha256)
    hashes.add(open_source(other).sha256)
    assert len(hashes) == 4
    assert open_source(source).sha256 in hashes
