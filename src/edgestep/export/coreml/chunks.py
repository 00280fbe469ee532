"""Unet.mlpackage -> UnetChunk1.mlpackage, UnetChunk2.mlpackage ...: pieces that run one after the other.

A piece is fed by name with the model's own inputs and what the piece before it gives, as Apple's Swift does it: what
a later piece needs (the skip connections of a UNet) every piece between hands on. Values cross in their own type, so
that float16 stays float16 and nothing is rounded.
"""

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgestep.artifact import BadInput
from edgestep.export.coreml.cuts import cuts_of, spans
from edgestep.export.coreml.flow import Flow, flow_of, names_read
from edgestep.export.coreml.package import block_of, read_spec, weights_of, write_package
from edgestep.mlpackage.spec import new_spec

ARRAY_TYPES = {10: 65552, 11: 65568, 23: 131104}
"""MIL's data type -> Core ML's ArrayFeatureType."""
APPLE_PIECES = 2
"""How many pieces of a UNet Apple's Swift package looks for."""


@dataclass(frozen=True, eq=False)
class Piece:
    """Steps `first` to `end` - 1. `given`, `gives`: value -> the name under which it comes in, and goes out."""

    first: int
    end: int
    given: dict[str, str]
    gives: dict[str, str]


def chunk_package(package: Path, most_bytes: int) -> tuple[Path, ...]:
    """Replace a package by pieces of at most `most_bytes` of weights beside it, Unet -> UnetChunk1 and so on.

    Returns their paths in the order in which they run, the package itself where it is small enough. Raises BadInput
    where it has a state or several functions, or cannot be cut so small.
    """
    spec, weights = read_spec(package), weights_of(package)
    _check_can_cut(package, spec)
    flow = flow_of(block_of(spec.mlProgram.functions["main"]), weights)
    cuts = cuts_of(flow, most_bytes)
    if not cuts:
        return (package,)
    paths = []
    for i, piece in enumerate(_pieces(flow, cuts)):
        path = package.with_name(f"{package.stem}Chunk{i + 1}{package.suffix}")
        made = _spec_of_piece(spec, flow, piece, f"Piece {i + 1} of {len(cuts) + 1}. ")
        write_package(path, made, {"main": weights})
        paths.append(path)
    shutil.rmtree(package)
    return tuple(paths)


def _check_can_cut(package: Path, spec: Any) -> None:
    names = ", ".join(sorted(spec.mlProgram.functions))
    if names != "main":
        raise BadInput(f"got the functions {names} in {package.name}; expected one, main; cut each before they are one")
    if spec.description.state:
        raise BadInput(f"got a state in {package.name}; expected none; leave --chunk-mib out")


def _pieces(flow: Flow, cuts: tuple[int, ...]) -> list[Piece]:
    pieces = []
    given: dict[str, str] = {}
    for first, end in spans(flow, cuts):
        last = end == len(flow.steps)
        gives = {name: name for name in flow.outputs} if last else _named(flow, first, end)
        pieces.append(Piece(first, end, given, gives))
        given = gives
    return pieces


def _named(flow: Flow, first: int, end: int) -> dict[str, str]:
    """Return what crosses a cut: by its name from the piece that makes it, from a later one by a name of its own."""
    return {name: name if flow.made_at[name] >= first else f"{name}_at_{end}" for name in flow.alive(end)}


def _spec_of_piece(spec: Any, flow: Flow, piece: Piece, what: str) -> Any:
    made = new_spec(spec.specificationVersion)
    made.description.CopyFrom(spec.description)
    made.description.metadata.shortDescription = what + spec.description.metadata.shortDescription
    made.mlProgram.version = spec.mlProgram.version
    for key, value in spec.mlProgram.attributes.items():
        made.mlProgram.attributes[key].CopyFrom(value)
    _write_function(made.mlProgram.functions["main"], spec.mlProgram.functions["main"], flow, piece)
    _write_features(made.description, spec.description, flow, piece)
    return made


def _write_function(made: Any, whole: Any, flow: Flow, piece: Piece) -> None:
    made.opset = whole.opset
    made.inputs.extend(_inputs_kept(whole.inputs, flow, piece))
    made.inputs.extend(_typed(flow, name, outside) for name, outside in piece.given.items())
    block = made.block_specializations[whole.opset]
    for name, outside in piece.given.items():
        if outside != name:
            _add_identity(block, flow, name, outside, name)
    steps = flow.steps[piece.first : piece.end]
    needed = flow.constants_of(steps, piece.gives)
    block.operations.extend(flow.constants[name] for name in flow.constants if name in needed)
    block.operations.extend(steps)
    for name, outside in piece.gives.items():
        if outside != name:
            _add_identity(block, flow, name, name, outside)
    block.outputs.extend(piece.gives.values())


def _write_features(made: Any, whole: Any, flow: Flow, piece: Piece) -> None:
    del made.input[:]
    made.input.extend(_inputs_kept(whole.input, flow, piece))
    for name, outside in piece.given.items():
        _add_feature(made.input, flow, name, outside)
    if piece.end < len(flow.steps):
        del made.output[:]
        for name, outside in piece.gives.items():
            _add_feature(made.output, flow, name, outside)


def _inputs_kept(inputs: Iterable[Any], flow: Flow, piece: Piece) -> list[Any]:
    """Return the model's own inputs of a piece: all of them the first one's, those that it reads a later one's."""
    read = {name for step in flow.steps[piece.first : piece.end] for name in names_read(step)}
    return [one for one in inputs if piece.first == 0 or one.name in read]


def _add_identity(block: Any, flow: Flow, name: str, source: str, target: str) -> None:
    operation = block.operations.add(type="identity")
    operation.inputs["x"].arguments.add(name=source)
    operation.outputs.append(_typed(flow, name, target))


def _typed(flow: Flow, name: str, called: str) -> Any:
    typed = type(flow.typed[name])()
    typed.CopyFrom(flow.typed[name])
    typed.name = called
    return typed


def _add_feature(features: Any, flow: Flow, name: str, called: str) -> None:
    tensor = flow.typed[name].type.tensorType
    feature = features.add(name=called, shortDescription="Handed from one piece to the next.")
    feature.type.multiArrayType.dataType = ARRAY_TYPES[tensor.dataType]
    feature.type.multiArrayType.shape.extend(d.constant.size for d in tensor.dimensions)
