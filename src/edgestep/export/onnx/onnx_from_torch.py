"""A captured graph -> an ONNX model, float32, nodes named after the module that they came from."""

import re
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

from edgestep.artifact import BadInput
from edgestep.export.graph.graphs import Graphs
from edgestep.export.graph.torch_models import quiet

OPSET = 20
EXTERNAL_ABOVE = 1_500_000_000
"""A protobuf ends at 2 GB: larger models keep their weights in a second file beside them."""
SCOPES = "pkg.torch.onnx.name_scopes"
KEPT_METADATA = (SCOPES, "pkg.torch.onnx.class_hierarchy")
"""What stays of each node's metadata: stack traces name the paths of the machine that exported."""


def onnx_from_torch(graphs: Graphs, name: str) -> Any:
    """Return a fresh onnx.ModelProto of that graph, float32; the conversion runs once per graph and process."""
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
        import torch
    except ImportError as error:
        raise BadInput(f"got no {error.name}; ONNX needs it: pip install 'edgestep[export]'") from error
    if name not in graphs.onnx_programs:
        component = graphs.component(name)
        with warnings.catch_warnings(), quiet("torch.onnx", "onnxscript", "onnx_ir"):
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                graphs.program(name),
                dynamo=True,
                opset_version=OPSET,
                input_names=[spec.name for spec in component.inputs],
                output_names=[spec.name for spec in component.outputs],
                verbose=False,
            )
        graphs.onnx_programs[name] = program
    model = graphs.onnx_programs[name].model_proto
    model.producer_name, model.producer_version = "edgestep", ""
    name_nodes(model)
    return model


def name_nodes(model: Any) -> None:
    """Name each node after its module, `unet.conv_out/Conv`, numbered where there are several; drop other metadata.

    A node that lost its module on the way (the exporter's Split) takes that of the node before it.
    """
    seen: Counter[str] = Counter()
    modules: dict[str, str] = {}
    for node in model.graph.node:
        kept = [entry for entry in node.metadata_props if entry.key in KEPT_METADATA]
        module = _module_of(node)
        if module is None:
            module = next((modules[value] for value in node.input if value in modules), "")
        modules.update(dict.fromkeys(node.output, module))
        del node.metadata_props[:]
        node.metadata_props.extend(kept)
        node.doc_string = ""
        name = f"{module}/{node.op_type}" if module else node.op_type
        seen[name] += 1
        node.name = name if seen[name] == 1 else f"{name}_{seen[name]}"
    for value in [*model.graph.value_info, *model.graph.input, *model.graph.output, *model.graph.initializer]:
        del value.metadata_props[:]
        value.doc_string = ""


def _module_of(node: Any) -> str | None:
    """Return the dotted path of the innermost module that a node came from, "" for the outermost."""
    for entry in node.metadata_props:
        if entry.key == SCOPES:
            # A list of strings, outermost first; its last entry is the torch operation, not a module.
            scopes = re.findall(r"'([^']*)'", entry.value)
            return scopes[-2] if len(scopes) > 1 else ""
    return None


def save_onnx(model: Any, path: Path) -> None:
    """Write the model; its weights go into `<name>.data` beside it where both would not fit one protobuf."""
    import onnx

    path.parent.mkdir(parents=True, exist_ok=True)
    large = sum(len(t.raw_data) for t in model.graph.initializer) > EXTERNAL_ABOVE
    if not large:
        path.write_bytes(model.SerializeToString(deterministic=True))
        return
    onnx.save_model(
        model,
        path,
        save_as_external_data=True,
        all_tensors_to_one_file=True,
        location=path.name + ".data",
        size_threshold=1024,
    )
