"""Artifact, bundle, runtime -> whether they fit: another checkpoint, contract or no package is BadInput."""

import importlib.util
import sys

from edgestep.artifact import Artifact, BadInput
from edgestep.harness.reference.bundle import Reference
from edgestep.runtimes.registry import COREML_RUNTIMES, FORMATS, ON_MAC, PACKAGES, SESSIONS

EXTRAS = {
    "onnxruntime": "edgestep",
    "onnxruntime-cuda": "'edgestep[cuda]'",
    "openvino": "'edgestep[openvino]'",
    "mil-evaluator": "'edgestep[coreml,export]'",
    **dict.fromkeys(ON_MAC, "'edgestep[coreml]'"),
}
"""Runtime -> what brings it."""


def check_same_model(artifact: Artifact, reference: Reference) -> None:
    """Raise BadInput where the artifact and the bundle come from different checkpoints or contracts.

    An artifact with a tiny decoder may also be held against the same checkpoint's with its VAE.
    """
    index, contract = reference.index, artifact.contract
    with_vae = contract.decoder != "vae" and artifact.with_vae_sha256 == index.checkpoint_sha256
    made_from = artifact.with_vae_sha256 if with_vae else artifact.checkpoint_sha256
    for what, got, expected in (
        ("made from checkpoint", made_from[:12], index.checkpoint_sha256[:12]),
        ("for latents", list(contract.latent_shape), list(index.latent_shape)),
        ("for pictures", list(contract.image_size), list(index.image_size)),
        ("on the base", contract.base, index.base),
        ("for steps", 1 + len(contract.next_steps), index.steps),
        ("at timestep", contract.timestep, index.timestep),
        ("for prompt tokens", contract.prompt_tokens, index.prompt_tokens),
    ):
        if got != expected:
            raise BadInput(
                f"got {artifact.name} {what} {got}; expected the reference's {expected}; "
                "record a reference of the checkpoint that the artifact came from"
            )


def installed_runtime(artifact: Artifact, runtime: str | None) -> str:
    """Return the runtime to use; raise BadInput where it is unknown, opens other formats, or is not here."""
    name = runtime or FORMATS.get(artifact.format, "")
    if name not in SESSIONS:
        raise BadInput(f"got runtime {name!r} for {artifact.format}; expected one of {', '.join(SESSIONS)}; choose one")
    if name in ON_MAC and sys.platform != "darwin":
        raise BadInput(
            f"got runtime {name} on {sys.platform}; expected macOS, where Core ML is; take {artifact.name} to a Mac, "
            "or leave the runtime out: mil-evaluator executes it here"
        )
    if (artifact.format == "coreml") != (name in COREML_RUNTIMES):
        raise BadInput(
            f"got runtime {name} for {artifact.name} of format {artifact.format}; expected {FORMATS[artifact.format]}; "
            "leave the runtime out"
        )
    if importlib.util.find_spec(PACKAGES[name]) is None:
        raise BadInput(
            f"got no package {PACKAGES[name]}; expected it to run {artifact.name}; pip install {EXTRAS[name]}"
        )
    return name
