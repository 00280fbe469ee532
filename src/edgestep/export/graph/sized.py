"""Graphs of one size of the picture -> the same checkpoint's of another; what is folded for a size is folded anew."""

from dataclasses import replace

from edgestep.export.graph.graphs import Graphs
from edgestep.export.recipe.sizes import sizes_of


def sized_graphs(graphs: Graphs, image_size: tuple[int, int]) -> Graphs:
    """Return the graphs that draw `image_size`, (H, W); raise BadInput where the network cannot."""
    checkpoint = replace(graphs.checkpoint, source=replace(graphs.checkpoint.source, size=image_size))
    sizes = sizes_of(checkpoint)
    contract = replace(graphs.contract, latent_shape=sizes.latents, image_size=sizes.image)
    return Graphs(checkpoint, contract, graphs.tell, image=graphs.shapes.image)
