"""Calibration feeds: component name -> what it was fed in each of some drawings; checked, and hashed."""

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np

from edgestep.artifact import Artifact, BadInput, Component

Feeds = Mapping[str, Sequence[Mapping[str, np.ndarray]]]

FEWEST = 2
"""One sample gives a range that one picture happened to have."""


def calibration_sha256(feeds: Feeds) -> str:
    """Return one hash over every name, type, shape and value of the feeds."""
    digest = hashlib.sha256()
    for component in sorted(feeds):
        for i, sample in enumerate(feeds[component]):
            for name in sorted(sample):
                value = np.ascontiguousarray(sample[name])
                digest.update(f"{component}/{i}/{name}/{value.dtype.str}/{sample[name].shape}\n".encode())
                digest.update(value.tobytes())
    return digest.hexdigest()


def check_feeds(feeds: Feeds, artifact: Artifact) -> None:
    """Raise BadInput where a component has fewer than two samples, or one that does not fit it or is not finite."""
    for component in artifact.components:
        samples = feeds.get(component.name, ())
        if len(samples) < FEWEST:
            raise BadInput(
                f"got {len(samples)} calibration samples for {component.name}; expected {FEWEST} or more, better 16; "
                "draw them with this artifact from prompts"
            )
        for i, sample in enumerate(samples):
            _check_sample(component, i, sample)


def _check_sample(component: Component, i: int, sample: Mapping[str, np.ndarray]) -> None:
    got = {name: (str(value.dtype), value.shape) for name, value in sample.items()}
    expected = {spec.name: (spec.dtype, spec.shape) for spec in component.inputs}
    if got != expected:
        raise BadInput(
            f"got calibration sample {i} of {component.name} with {_listed(got)}; expected {_listed(expected)}; "
            "draw the samples with this artifact"
        )
    for name, value in sample.items():
        if not np.isfinite(value).all():
            raise BadInput(
                f"got NaN or infinity in {name} of calibration sample {i} of {component.name}; expected finite "
                "numbers; check the float artifact with 'edgestep parity' first"
            )


def _listed(specs: Mapping[str, tuple[str, tuple[int, ...]]]) -> str:
    return ", ".join(f"{name} {dtype} {list(shape)}" for name, (dtype, shape) in specs.items()) or "nothing"
