"""A translated graph -> the same function in fewer and larger operations, which runtimes run faster.

Runs on the float32 graph, before it becomes float16 or INT8. Weights are not read: those that change become lazy
tensors of the ones before. Nodes keep names of the form `<module>/<operator>`.
"""

from typing import Any

from edgestep.export.onnx.fuse_affine import fuse_affine
from edgestep.export.onnx.fuse_attention import fuse_attention
from edgestep.export.onnx.fuse_upsampling import fuse_upsampling
from edgestep.export.onnx.lazy import drop_unused_weights


def fuse(model: Any, *, attention: bool) -> None:
    """Rewrite an onnx_ir.Model in place; with `attention` its opset becomes that of ONNX's Attention, 23."""
    if attention:
        fuse_attention(model)
    fuse_affine(model)
    fuse_upsampling(model)
    drop_unused_nodes(model)


def drop_unused_nodes(model: Any) -> None:
    """Remove the nodes, and then the weights, that nothing reads any more."""
    for node in reversed(list(model.graph)):
        if not any(value.uses() or value.is_graph_output() for value in node.outputs):
            model.graph.remove(node, safe=True)
    drop_unused_weights(model)
