"""Graphs as Core ML wants them: Apple's signatures, attention in the form that was asked for, a picture to look at."""

from collections.abc import Callable, Mapping
from typing import Any

from edgestep.artifact import Component, TensorSpec
from edgestep.export.coreml.apple import FILES, apple_body, apple_io, has_apple_pipeline
from edgestep.export.coreml.islands import drop_nothings, name_nodes
from edgestep.export.coreml.options import PLAIN, SPLIT_EINSUM
from edgestep.export.coreml.unknown_operators import replacements
from edgestep.export.graph.attention import plain_attention
from edgestep.export.graph.decode import decode
from edgestep.export.graph.graphs import Captured, Graphs
from edgestep.export.graph.io import Specs
from edgestep.export.graph.norms import group_norm_by_instances
from edgestep.export.source.weights import Weights


class CoreMLGraphs(Graphs):
    """The graphs of the same checkpoint for one form of attention."""

    def __init__(self, graphs: Graphs, attention: str):
        super().__init__(graphs.checkpoint, graphs.contract, graphs.tell, image=graphs.shapes.image)
        self.attention = attention
        self.is_apple = has_apple_pipeline(graphs.contract)

    def file(self, name: str) -> str:
        """Return what a component's package is called: Unet.mlpackage."""
        return f"{FILES.get(name, name) if self.is_apple else name}.mlpackage"

    def component(self, name: str, file: str = "") -> Component:
        """Return the component as a client sees it: no 64-bit integers, no tensor without dimensions."""
        if self._is_apple(name):
            return Component(name, file, *self._io(name))
        plain = super().component(name, file)
        return Component(name, file, _coreml_specs(plain.inputs), _coreml_specs(plain.outputs))

    def is_image(self, name: str) -> bool:
        """Tell whether the graph's output is a Core ML image, RGB of 8 bits."""
        return name == "generator" and self.shapes.image == "uint8"

    def _capture(self, name: str) -> Captured:
        captured = super()._capture(name)
        drop_nothings(captured.program)
        name_nodes(captured.program)
        return captured

    def _is_apple(self, name: str) -> bool:
        """Tell whether a component has Apple's signature; of a loop sdxl's text encoders have it: Core ML has no dots
        in names, as hidden_states.0 has one.
        """
        return name in FILES and (self.is_apple or (self.contract.base == "sdxl" and name.startswith("text_encoder")))

    def _io(self, name: str) -> tuple[Specs, Specs]:
        return apple_io(name, self.shapes) if self._is_apple(name) else super()._io(name)

    def _body(self, name: str) -> Callable[[Any, Mapping[str, Any]], Any]:
        if self._is_apple(name):
            return apple_body(name, self.base, self.contract, self.attention == SPLIT_EINSUM)
        return super()._body(name)

    def _picture(self, graph: Any, latents: Any) -> Any:
        """Return the picture: for an image [1,3,H,W] of whole numbers from 0 to 255, so that no client rounds it."""
        import torch

        if self.shapes.image != "uint8":
            return super()._picture(graph, latents)
        return torch.round((decode(graph.vae, latents) * 127.5 + 127.5).clamp(0, 255))

    def _decompositions(self) -> dict[Any, Callable[..., Any]]:
        import torch

        aten = torch.ops.aten
        fused = {aten.scaled_dot_product_attention.default: plain_attention} if self.attention == PLAIN else {}
        return {**replacements(), aten.group_norm.default: group_norm_by_instances, **fused}

    def _rebuilt(self, module: Any, weights: Weights) -> tuple[Any, Weights]:
        if self.attention != SPLIT_EINSUM:
            return module, weights
        from edgestep.export.graph.split_einsum import split_einsum_unet

        return split_einsum_unet(module, weights)


def _coreml_specs(specs: Specs) -> Specs:
    return tuple(TensorSpec(s.name, s.dtype.replace("int64", "int32"), s.shape or (1,)) for s in specs)
