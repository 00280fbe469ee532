"""TorchOneStep draws every family as its published recipe does, and says where diffusers has no scheduler for it."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from edgestep.artifact import BadInput, NextStep
from edgestep.harness.reference.torch_one_step import TorchOneStep
from tests.families import FAMILIES

PROMPT = "A photo of a Cat, on the moon!"
BY_FORMULA = ("swiftbrush", "instaflow")
NOT_BY_PARTS = (*BY_FORMULA, "lcm")
LOOPS = [name for name, case in FAMILIES.items() if len(case.timesteps) > 1]


def _drawn(model: TorchOneStep, noise, more_noise):
    more = more_noise.numpy() if len(more_noise) else None
    return model.draw(**model.inputs(PROMPT), noise=noise.numpy(), more_noise=more)


@pytest.mark.parametrize("name", FAMILIES)
def test_draws_as_the_published_recipe(name, tmp_path):
    case = FAMILIES[name]
    source = case.make(tmp_path)
    noise, more_noise = case.noise()
    expected = case.recipe(source, PROMPT, noise, more_noise)
    model = TorchOneStep(source, contract=case.contract())
    drawing = _drawn(model, noise, more_noise)
    assert np.allclose(drawing.x0, expected.x0.numpy(), rtol=1e-4, atol=1e-4)
    assert np.allclose(drawing.image, expected.image, atol=1e-3)
    assert np.abs(drawing.picture - np.round(expected.image * 255)).max() <= 1
    assert (drawing.pooled is not None) == (case.base == "sdxl")
    assert model.formula_by == ("contract" if name in BY_FORMULA else "scheduler")
    contract = case.contract()
    assert (model.prompt_tokens, model.latent_shape) == (contract.prompt_tokens, contract.latent_shape)
    assert (model.image_size, model.steps) == (contract.image_size, len(case.timesteps))


@pytest.mark.parametrize(
    "name",
    [n for n, case in FAMILIES.items() if case.base == "sd" and n not in NOT_BY_PARTS and len(case.timesteps) == 1],
)
def test_what_is_timed_is_what_is_drawn(name, tmp_path):
    case = FAMILIES[name]
    model = TorchOneStep(case.make(tmp_path), contract=case.contract())
    noise, more_noise = case.noise()
    with torch.inference_mode():
        x0 = model.denoise(noise, model.encode(model.input_ids(PROMPT)))
    assert np.array_equal(x0.numpy(), _drawn(model, noise, more_noise).x0)


@pytest.mark.parametrize("name", ["lcm", "swiftbrush", "instaflow"])
def test_what_is_not_timed_by_parts_is_bad_input(name, tmp_path):
    case = FAMILIES[name]
    model = TorchOneStep(case.make(tmp_path), contract=case.contract())
    with pytest.raises(BadInput, match="draw_x0"):
        model.denoise(case.noise()[0], None)


@pytest.mark.parametrize("name", ["dmd2-sdxl-1step", "pixart-dmd", "sana-sprint"])
def test_a_batch_is_its_parts(name, tmp_path):
    case = FAMILIES[name]
    model = TorchOneStep(case.make(tmp_path), contract=case.contract())
    inputs = [model.inputs(prompt) for prompt in (PROMPT, "a green apple")]
    both = {key: np.concatenate([one[key] for one in inputs]) for key in inputs[0]}
    noise = np.concatenate([case.noise(seed)[0].numpy() for seed in (0, 1)])
    together = model.draw(**both, noise=noise)
    for i, one in enumerate(inputs):
        assert np.allclose(model.draw(**one, noise=noise[i : i + 1]).x0, together.x0[i : i + 1], atol=1e-4)


@pytest.mark.parametrize("name", LOOPS)
def test_a_loop_takes_its_noises_in_turn(name, tmp_path):
    case = FAMILIES[name]
    model = TorchOneStep(case.make(tmp_path), contract=case.contract())
    noise, more_noise = case.noise()
    first = _drawn(model, noise, more_noise).x0
    assert np.array_equal(first, _drawn(model, noise, more_noise).x0)
    noisy = not name.startswith(("sdxl-lightning", "hyper-sd15-2"))
    for step in range(len(more_noise)):
        changed = more_noise.clone()
        changed[step] += 1
        assert (not np.allclose(first, _drawn(model, noise, changed).x0)) == noisy
    if noisy:
        with pytest.raises(BadInput, match="one per step"):
            model.draw(**model.inputs(PROMPT), noise=noise.numpy())


def test_an_override_is_drawn_by_the_contracts_formula(tmp_path):
    """alpha_bar = 0.0047 over DMD2: no scheduler has it; the closed form in float64 does."""
    case = FAMILIES["dmd2-sd15"]
    source = replace(case.make(tmp_path), alpha_bar=0.0047)
    bar = 0.0047
    contract = replace(case.contract(), k_z=bar**-0.5, k_e=((1 - bar) / bar) ** 0.5)
    model = TorchOneStep(source, contract=contract)
    noise, more_noise = case.noise()
    assert model.formula_by == "contract"
    with torch.inference_mode():
        embeds = torch.from_numpy(_drawn(model, noise, more_noise).prompt_embeds)
        eps = model.pipe.unet(noise, 999, encoder_hidden_states=embeds).sample.double()
    expected = (noise.double() - (1 - bar) ** 0.5 * eps) / bar**0.5
    assert np.allclose(_drawn(model, noise, more_noise).x0, expected.numpy(), rtol=1e-5, atol=1e-5)


def test_a_loop_by_formula_agrees_with_the_scheduler(tmp_path):
    """LCM adds sqrt(a) x0 + sqrt(1 - a) n: the contract's loop with these constants draws the same."""
    case = FAMILIES["dmd2-sdxl-4step"]
    source = case.make(tmp_path)
    betas = np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
    bars = np.cumprod(1 - betas)[list(case.timesteps)]
    k_z, k_e = bars**-0.5, ((1 - bars) / bars) ** 0.5
    steps = [
        NextStep(t, 1.0, k_z[i], k_e[i], 0.0, bars[i] ** 0.5, (1 - bars[i]) ** 0.5)
        for i, t in enumerate(case.timesteps)
    ]
    contract = replace(case.contract(), k_z=k_z[0], k_e=k_e[0], next_steps=tuple(steps[1:]))
    noise, more_noise = case.noise()
    by_scheduler = _drawn(TorchOneStep(source, contract=contract), noise, more_noise)
    by_formula = TorchOneStep(replace(source, alpha_bar=float(bars[0])), contract=contract)
    assert by_formula.formula_by == "contract"
    assert np.allclose(_drawn(by_formula, noise, more_noise).x0, by_scheduler.x0, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", ["dmd2-sdxl-1step", "hyper-sd15", "sana-sprint"])
def test_other_precisions_come_close(name, tmp_path):
    case = FAMILIES[name]
    model = TorchOneStep(case.make(tmp_path), contract=case.contract())
    noise, more_noise = case.noise()
    exact = _drawn(model, noise, more_noise).x0
    for precision, error in (("fp16", 0.02), ("bf16", 0.2)):
        other = _drawn(model.again(precision=precision), noise, more_noise)
        off = np.linalg.norm(other.x0 - exact) / np.linalg.norm(exact)
        assert 0 < off < error and np.isfinite(other.image).all()


def test_prompts_that_do_not_fit_are_bad_input(tmp_path):
    case = FAMILIES["pixart-dmd"]
    model = TorchOneStep(case.make(tmp_path), contract=case.contract())
    with pytest.raises(BadInput, match="shorten"):
        model.inputs("a very long prompt " * 40)
    with pytest.raises(BadInput, match="empty"):
        model.inputs("  ")
    noise = case.noise()[0].numpy()
    with pytest.raises(BadInput, match="expected input_ids, attention_mask"):
        model.draw(model.input_ids(PROMPT), noise)


def test_what_does_not_fit_the_network_is_bad_input(tmp_path):
    sd, sdxl = FAMILIES["hyper-sd15"], FAMILIES["dmd2-sdxl-1step"]
    lora, unet = sd.make(tmp_path / "sd"), sdxl.make(tmp_path / "sdxl")
    with pytest.raises(BadInput, match="does not fit"):
        TorchOneStep(replace(lora, lora=None, unet=unet.unet, allow_pickle=True), contract=sd.contract())
    with pytest.raises(BadInput, match="pickle"):
        TorchOneStep(replace(unet, allow_pickle=False), contract=sdxl.contract())
    empty = tmp_path / "empty.safetensors"
    from safetensors.torch import save_file

    save_file({"lora_unet_nothing.alpha": torch.zeros(())}, empty)
    with pytest.raises(BadInput, match="LoRA"):
        TorchOneStep(replace(lora, lora=empty), contract=sd.contract())
