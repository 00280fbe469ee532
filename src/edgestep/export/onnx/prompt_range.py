"""A text encoder of a checkpoint -> which of its modules must stay float32, found by running it on a made-up prompt.

T5 and Gemma 2 carry values in their residual streams that float16 cannot hold, and are published in bfloat16. Such
values come with every token, so any token ids show them: made-up ones are run, at the encoder's own length. Weights are
read once more for it, which for the largest encoders takes about as long as writing them.

Denoisers are not searched: at their own size that takes minutes, and at a smaller one they are not what they are.
"""

import numpy as np

from edgestep.export.graph.graphs import Graphs
from edgestep.export.graph.io import FREE
from edgestep.export.onnx.onnx_from_torch import onnx_from_torch
from edgestep.export.onnx.overflow import Ranges, ranges_from_onnx


def prompt_ranges(graphs: Graphs, name: str) -> Ranges:
    """Return what stays float32 of a text encoder, and of the same inside `generator`. It runs once per Graphs."""
    if name not in graphs.ranges:
        model = onnx_from_torch(graphs, name)
        graphs.tell(f"looking for values that leave float16's range in {name}")
        graphs.ranges[name] = ranges_from_onnx(model, [_made_up(graphs, name)], name, "run on a made-up prompt")
    return graphs.ranges[name]


def _made_up(graphs: Graphs, name: str) -> dict[str, np.ndarray]:
    """Return token ids, three quarters of them words, int64 [1, T], and their mask where the graph takes one."""
    specs = {spec.name: spec for spec in graphs.captured(name).component.inputs}
    length = graphs.contract.prompt_tokens
    words = length * 3 // 4
    ids = np.full((1, length), max(graphs.contract.pad_token_id, 0))
    ids[0, :words] = np.random.default_rng(0).integers(3, int(graphs.checkpoint.configs[name]["vocab_size"]), words)
    mask = (np.arange(length) < words).astype(np.int64)[None]
    shapes = {key: tuple(1 if size == FREE else size for size in spec.shape) for key, spec in specs.items()}
    return {key: (mask if "mask" in key else ids)[:, : shapes[key][1]] for key in specs}
