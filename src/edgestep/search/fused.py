"""A fused graph -> a session that also returns what its decoder reads: x0, which the picture alone hides.

The exporters name nodes after modules: it is what the first node of the decoder reads. The latent scale may be in it
already or folded into that node, which no measure of signal over noise sees.
"""

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from edgestep.artifact import Component, OneStep
from edgestep.quantize.floats import module_path
from edgestep.runtimes.probe import GraphNode, GraphView
from edgestep.runtimes.registry import open_probe

X0 = "x0"
DECODER = "vae"
"""The first part of the module path of every layer of the decoder."""


class FusedSession:
    """A fused graph that returns `image` and, where its decoder's input is found, X0, float32 [B, C, h, w], up to a
    scale."""

    def __init__(self, runtime: str, file: Path, component: Component, contract: OneStep, threads: int) -> None:
        self.inputs, self.outputs = component.inputs, component.outputs
        probe = open_probe(runtime, file, threads=threads)
        self._latents = latents_of(probe.view, contract.latent_shape)
        self._values = {name: probe.view.outputs[name] for name in (spec.name for spec in component.outputs)}
        inside = [self._latents] if self._latents else []
        self._run = probe.exposed([*self._values.values(), *inside])

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run once; return every output by name, and X0."""
        found = self._run(feeds)
        outputs = {name: found[value] for name, value in self._values.items()}
        if self._latents:
            outputs[X0] = found[self._latents].astype(np.float32, copy=False)
        return outputs

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        del self._run


def latents_of(view: GraphView, latent_shape: tuple[int, int, int]) -> str:
    """Return the value that the decoder reads, before anything that only rounds it; "" where none has its shape."""
    made = {output: node for node in view.nodes for output in node.outputs}
    for node in view.nodes:
        if module_path(node.name).split(".", maxsplit=1)[0] != DECODER or node.changes_numbers_only:
            continue
        for read in node.inputs:
            value = _before_rounding(read, made)
            if value not in view.constants and view.shapes.get(value, ())[1:] == latent_shape:
                return value
    return ""


def _before_rounding(value: str, made: Mapping[str, GraphNode]) -> str:
    while value in made and made[value].changes_numbers_only:
        value = made[value].inputs[0]
    return value
