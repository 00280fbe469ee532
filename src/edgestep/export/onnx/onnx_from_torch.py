"""A captured graph -> an onnx_ir model, float32, nodes named after the module that they came from, weights not read."""

import re
import warnings
from collections import Counter
from typing import Any

from edgestep.artifact import BadInput
from edgestep.export.graph.graphs import Captured, Graphs
from edgestep.export.graph.skeleton import quiet
from edgestep.export.onnx.lazy import attach_weights, detached, fold_weight_layouts

OPSET = 20
SCOPES = "pkg.torch.onnx.name_scopes"
KEPT_METADATA = (SCOPES, "pkg.torch.onnx.class_hierarchy")
"""What stays of each node's metadata: stack traces name the paths of the machine that exported."""


def onnx_from_torch(graphs: Graphs, name: str) -> Any:
    """Return a fresh onnx_ir.Model of that graph, float32; the conversion runs once per graph and process."""
    try:
        import onnx  # noqa: F401
        import onnx_ir  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise BadInput(f"got no {error.name}; ONNX needs it: pip install 'edgestep[export]'") from error
    if name not in graphs.onnx_models:
        captured = graphs.captured(name)
        graphs.tell(f"translating {name} to ONNX")
        model = _translated(captured)
        attach_weights(model, captured.weights)
        fold_weight_layouts(model)
        _optimize(model)
        name_nodes(model)
        graphs.onnx_models[name] = model
    return graphs.onnx_models[name].clone()


def _translated(captured: Captured) -> Any:
    import torch

    component = captured.component
    with warnings.catch_warnings(), quiet("torch.onnx", "onnxscript", "onnx_ir"):
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            captured.program,
            dynamo=True,
            optimize=False,  # it would read the weights, which are fake
            opset_version=OPSET,
            input_names=[spec.name for spec in component.inputs],
            output_names=[spec.name for spec in component.outputs],
            verbose=False,
        )
    assert program is not None  # it is, where no file is asked for
    model = program.model
    model.producer_name, model.producer_version = "edgestep", ""
    return model


def _optimize(model: Any) -> None:
    """Fold what is known of shapes and small constants; weights look like inputs meanwhile, so that none is read."""
    from onnxscript import optimizer

    with detached(model), quiet("onnxscript", "onnx_ir"):
        optimizer.optimize(model)


def name_nodes(model: Any) -> None:
    """Name each node after its module, `unet.conv_out/Conv`, numbered where there are several; drop other metadata.

    A node that lost its module on the way (the exporter's Split) takes that of the node before it.
    """
    seen: Counter[str] = Counter()
    modules: dict[Any, str] = {}
    for node in model.graph:
        module = module_of(node)
        if module is None:
            module = next((modules[value] for value in node.inputs if value in modules), "")
        modules.update(dict.fromkeys(node.outputs, module))
        for key in [key for key in node.metadata_props if key not in KEPT_METADATA]:
            del node.metadata_props[key]
        node.doc_string = None
        name = f"{module}/{node.op_type}" if module else node.op_type
        seen[name] += 1
        node.name = name if seen[name] == 1 else f"{name}_{seen[name]}"
        for value in node.outputs:
            value.metadata_props.clear()
    for value in (*model.graph.inputs, *model.graph.outputs, *model.graph.initializers.values()):
        value.metadata_props.clear()
        value.doc_string = None
    model.graph.metadata_props.clear()
    model.metadata_props.clear()


def module_of(node: Any) -> str | None:
    """Return the dotted path of the innermost module that a node came from, "" for the outermost, None if unknown."""
    scopes = node.metadata_props.get(SCOPES)
    if scopes is None:
        return None
    # A list of strings, outermost first; its last entry is the torch operation, not a module.
    names = re.findall(r"'([^']*)'", scopes)
    return names[-2] if len(names) > 1 else ""
