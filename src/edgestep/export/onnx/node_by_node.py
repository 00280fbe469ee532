"""An onnx_ir model and feeds -> its outputs, one node in onnxruntime at a time, so that a model of any size runs.

Weights are read when their node runs, and a value is dropped after its last reader: the memory that this needs is that
of the values that are alive, whatever the model weighs. It is for looking at values, not for speed.

A float16 model is rounded as it says, node for node. onnxruntime's CPU, given the whole model, computes in float32 and
leaves out the Casts between: what is infinite on a device that really computes in float16 is a good picture there.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

IR_VERSION = 10
"""What onnxruntime 1.20 reads; it says nothing about operators, those follow the model's opset."""

Seen = Callable[[Any, Sequence[np.ndarray | None], Sequence[np.ndarray]], None]
"""Called with (node, inputs, outputs); an input that is left out is None."""


def run_node_by_node(model: Any, feeds: Mapping[str, np.ndarray], see: Seen) -> dict[str, np.ndarray]:
    """Return the model's outputs by name. `feeds` has an array of the declared shape and dtype for every input."""
    values: dict[Any, np.ndarray] = {value: feeds[value.name] for value in model.graph.inputs}
    readers = {value: len(value.uses()) for node in model.graph for value in node.outputs}
    outputs = set(model.graph.outputs)
    for node in model.graph:
        inputs = [_content(value, values) for value in node.inputs]
        made = _run(node, inputs, model.graph.opset_imports)
        see(node, inputs, made)
        values.update(zip(node.outputs, made, strict=True))
        for value in node.inputs:
            if value in readers and value not in outputs:
                readers[value] -= 1
                if not readers[value]:
                    del values[value]
    return {value.name: values[value] for value in model.graph.outputs}


def _content(value: Any, values: Mapping[Any, np.ndarray]) -> np.ndarray | None:
    if value is None:
        return None
    return values[value] if value in values else np.ascontiguousarray(value.const_value.numpy())


def _run(node: Any, inputs: Sequence[np.ndarray | None], opsets: Mapping[str, int]) -> list[np.ndarray]:
    import onnx
    import onnx_ir as ir
    import onnxruntime
    from onnx import helper

    named = {value.name: array for value, array in zip(node.inputs, inputs, strict=True) if array is not None}
    graph = helper.make_graph(
        [ir.serde.serialize_node(node)],
        "node",
        [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
            for name, array in named.items()
        ],
        [onnx.ValueInfoProto(name=value.name) for value in node.outputs],
    )
    imports = [helper.make_opsetid(domain, version) for domain, version in opsets.items()]
    model = helper.make_model(graph, opset_imports=imports, ir_version=IR_VERSION)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.enable_cpu_mem_arena = False  # it would keep what the largest node took
    options.log_severity_level = 3
    providers = ["CPUExecutionProvider"]
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=providers)
    return session.run(None, named)
