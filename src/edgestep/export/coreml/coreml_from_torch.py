"""A captured graph -> a Core ML ML Program: float16 arithmetic, float32 where rounding would be amplified.

For macOS 14 and iOS 17 on. Converting needs no Apple machine; running does, so what is checked here is the file: it
loads back, its inputs and outputs are the contract's, and every weight is a finite number.
"""

import contextlib
import json
import os
import uuid
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edgestep.artifact import BadInput, Component, TensorSpec
from edgestep.export.graph.skeleton import quiet

NOTHING = ("aten.alias.default", "aten._assert_tensor_metadata.default")
"""Operations that compute nothing; coremltools 9 does not know the first."""
FORMULA = frozenset({"mul", "add", "sub", "real_div", "cast"})
"""MIL operations that the formula consists of."""
TYPES = {65568: "float32", 65552: "float16", 131104: "int32"}
"""Core ML's ArrayFeatureType -> numpy dtype name."""


def coreml_from_torch(program: Any, component: Component, precision: str, metadata: Mapping[str, str]) -> Any:
    """Return a coremltools MLModel of that ExportedProgram, with the component's names, types and shapes."""
    ct = import_coremltools()
    drop_nothings(program)
    with silenced():
        model = ct.convert(
            program,
            convert_to="mlprogram",
            minimum_deployment_target=ct.target.macOS14,
            inputs=[ct.TensorType(name=s.name, shape=s.shape, dtype=np.dtype(s.dtype).type) for s in component.inputs],
            outputs=[ct.TensorType(name=s.name, dtype=np.dtype(s.dtype).type) for s in component.outputs],
            compute_precision=_precision(ct, component, precision),
            skip_model_load=True,
        )
    model.user_defined_metadata.pop("com.github.apple.coremltools.conversion_date", None)
    model.user_defined_metadata.update(metadata)
    return model


def import_coremltools() -> Any:
    """Return coremltools; raise BadInput where it is not installed."""
    try:
        with silenced():  # it warns of each library that it was not tested with
            import coremltools
    except ImportError as error:
        raise BadInput("got no coremltools; Core ML needs it: pip install 'edgestep[coreml]'") from error
    return coremltools


def drop_nothings(program: Any) -> None:
    """Remove the nodes that compute nothing from an ExportedProgram, in place."""
    for node in list(program.graph.nodes):
        if str(node.target) in NOTHING:
            if node.users:
                node.replace_all_uses_with(node.args[0])
            program.graph.erase_node(node)
    program.graph_module.recompile()


def save_coreml(model: Any, path: Path) -> None:
    """Write the .mlpackage, with identifiers that follow from its names, where coremltools draws random ones."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with silenced():
        model.save(str(path))
    (path / "executorch_debug_handle_mapping.json").unlink(missing_ok=True)  # for debugging, and larger than the graph
    manifest = path / "Manifest.json"
    text = manifest.read_text()
    for identifier, entry in json.loads(text)["itemInfoEntries"].items():
        text = text.replace(identifier, str(uuid.uuid5(uuid.NAMESPACE_OID, entry["path"])).upper())
    manifest.write_text(json.dumps(json.loads(text), indent=1, sort_keys=True) + "\n")


def check_package(path: Path, component: Component) -> None:
    """Load a .mlpackage back; raise BadInput where its signature or a weight is not what it should be."""
    ct = import_coremltools()
    with silenced():
        model = ct.models.MLModel(str(path), skip_model_load=True)
        weights = ct.optimize.coreml.get_weights_metadata(model, weight_threshold=1)
    description = model.get_spec().description
    for features, wanted in ((description.input, component.inputs), (description.output, component.outputs)):
        found = {_spec_of(feature) for feature in features}
        if found != set(wanted):
            raise BadInput(f"got {found} in {path.name}; expected {set(wanted)}; the conversion is at fault, report it")
    for name, weight in weights.items():
        value = np.asarray(weight.val)
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            raise BadInput(f"got numbers that are not finite in {name} of {path.name}; expected finite; export fp32")


def _spec_of(feature: Any) -> TensorSpec:
    array = feature.type.multiArrayType
    return TensorSpec(feature.name, TYPES.get(array.dataType, str(array.dataType)), tuple(array.shape))


def _precision(ct: Any, component: Component, precision: str) -> Any:
    """Return what computes in float16: everything but the UNet's conv_in, its conv_out, and the formula.

    MIL does not say which module an operation came from, so those are known by their place: a convolution or arithmetic
    right behind an input or right before the output.
    """
    if precision == "fp32":
        return ct.precision.FLOAT32
    if component.name != "unet":
        return ct.precision.FLOAT16

    def in_float16(operation: Any) -> bool:
        if operation.op_type not in {*FORMULA, "conv"}:
            return True
        x = operation.inputs.get("x")
        return not (_leads_to_output(operation.outputs[0]) or (x is not None and _comes_from_input(x)))

    return ct.transform.FP16ComputePrecision(op_selector=in_float16)


def _leads_to_output(value: Any) -> bool:
    if value in value.op.enclosing_block.outputs:
        return True
    users = value.child_ops
    return bool(users) and all(user.op_type in FORMULA and _leads_to_output(user.outputs[0]) for user in users)


def _comes_from_input(value: Any) -> bool:
    if value.op is None:
        return True
    if value.op.op_type not in FORMULA:
        return False
    operands = (value.op.inputs.get("x"), value.op.inputs.get("y"))
    return any(operand is not None and _comes_from_input(operand) for operand in operands)


@contextlib.contextmanager
def silenced() -> Iterator[None]:
    """Send the progress bars and warnings of coremltools to nowhere: it has no switch for them."""
    with (
        open(os.devnull, "w") as nowhere,
        contextlib.redirect_stderr(nowhere),
        warnings.catch_warnings(),
        quiet("coremltools"),
    ):
        warnings.simplefilter("ignore")
        yield
