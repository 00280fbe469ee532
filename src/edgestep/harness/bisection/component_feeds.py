"""A case of a bundle -> what each component of a split artifact is fed when all before it were PyTorch's."""

from collections.abc import Callable, Mapping

import numpy as np

from edgestep.artifact import Artifact, BadInput, Component
from edgestep.harness.reference.bundle import ReferenceCase
from edgestep.harness.reference.taps import IN, Taps
from edgestep.runtimes.apple_layout import denoiser_feeds
from edgestep.runtimes.conditioning import conditioning
from edgestep.runtimes.drawing import denoisers_of

Arrays = Mapping[str, np.ndarray]
Run = Callable[[str, Arrays], Arrays]


def component_feeds(artifact: Artifact, case: ReferenceCase, taps: Taps, run: Run) -> dict[str, dict[str, np.ndarray]]:
    """Return component name -> feeds by input name, in the components' dtypes.

    `run(name, feeds)` runs a text encoder of the artifact: what it gives beside embeddings, a mask, is taken from it.
    """
    contract, fed = artifact.contract, {}

    def encoder(name: str, given: Arrays) -> Arrays:
        fed[name] = _as_fed(artifact.component(name), given)
        return run(name, fed[name])

    told: dict[str, np.ndarray] = conditioning(contract, case.inputs, encoder)
    told |= {"encoder_hidden_states": case.prompt_embeds}
    if case.pooled is not None:
        told |= {"text_embeds": case.pooled}
    steps = (contract, *contract.next_steps)
    for name, step in zip(denoisers_of(artifact), steps, strict=True):
        z = case.noise if step is contract else _read_by(taps, name, case.name) / np.float32(step.k_in)
        given = {"sample": z, "hidden_states": z, "timestep": np.array(step.timestep), **told}
        if "noise_pred" in {spec.name for spec in artifact.component(name).outputs}:
            given |= denoiser_feeds(contract, z, told)
        fed[name] = _as_fed(artifact.component(name), given)
    latent = case.x0 / np.float32(contract.latent_scale) + np.float32(contract.latent_shift)
    fed["vae_decoder"] = _as_fed(artifact.component("vae_decoder"), {"latent_sample": latent, "z": latent})
    return fed


def _read_by(taps: Taps, component: str, case: str) -> np.ndarray:
    """Return what PyTorch's denoiser read in a later step of a loop, k_in z, float32 [1, C, h, w]."""
    tap = next((t for t in taps.index.taps if (t.component, t.module, t.port) == (component, component, IN)), None)
    if tap is None:
        raise BadInput(f"got taps without the input of {component}; expected it; record the reference's taps again")
    return taps.read([tap.sha256[case]])[tap.sha256[case]]


def _as_fed(component: Component, given: Arrays) -> dict[str, np.ndarray]:
    fed = {}
    for spec in component.inputs:
        if spec.name not in given:
            raise BadInput(
                f"got the input {spec.name!r} of {component.name}; expected one of {', '.join(given)}; export the "
                "artifact again"
            )
        value = given[spec.name]
        value = value.reshape((1,) * len(spec.shape)) if spec.name == "timestep" else value
        fed[spec.name] = np.asarray(value, spec.dtype, order="C")
    return fed
