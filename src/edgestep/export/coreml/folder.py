"""Graphs -> Core ML packages, each with the contract and what it is for in its metadata."""

from dataclasses import replace
from pathlib import Path

from edgestep.artifact import BadInput, Component, SizedFunction
from edgestep.export.coreml.check import check_package
from edgestep.export.coreml.chunks import APPLE_PIECES, chunk_package
from edgestep.export.coreml.coreml_from_torch import coreml_from_torch, save_coreml
from edgestep.export.coreml.cuts import MIB
from edgestep.export.coreml.describe import describe
from edgestep.export.coreml.functions import function_name, merge_functions
from edgestep.export.coreml.graphs import CoreMLGraphs
from edgestep.export.coreml.options import SPLIT_EINSUM, CoreMLOptions, resolved
from edgestep.export.graph.graphs import Graphs
from edgestep.export.graph.sized import sized_graphs
from edgestep.export.written import Written

FP16_NOTE = (
    "fp16: the formula, the denoiser's first and last layer compute in float32, all else in float16; that it stays "
    "in float16's range is not known before 'edgestep parity' has run it"
)
DENOISERS = ("unet", "transformer")
SPLIT_NOTE = "split-einsum: the UNet's; text encoders and the decoder's one attention are plain"


def write_coreml(
    folder: Path, graphs: Graphs, names: tuple[str, ...], precision: str, options: CoreMLOptions | None = None
) -> Written:
    """Write each graph to its package, a folder, and check it by loading it back. Raises BadInput as `resolved`."""
    options = resolved(options or CoreMLOptions(), graphs.contract.base)
    own = coreml_graphs(graphs, options.attention)
    components = tuple(_component(folder, graphs, name, precision, options) for name in names)
    graphs.folded_parameters = own.folded_parameters
    return Written(components, _notes(components, precision, options))


def coreml_graphs(graphs: Graphs, attention: str) -> CoreMLGraphs:
    """Return the graphs with that form of attention; the same object each time, so that what is captured is kept."""
    key = f"coreml {attention}"
    if key not in graphs.derived:
        graphs.derived[key] = CoreMLGraphs(graphs, attention)
    return graphs.derived[key]


def _notes(components: tuple[Component, ...], precision: str, options: CoreMLOptions) -> tuple[str, ...]:
    notes = [FP16_NOTE] if precision == "fp16" else []
    notes += [SPLIT_NOTE] if options.attention == SPLIT_EINSUM else []
    for component in components:
        if component.pieces:
            notes.append(f"{component.name}: {len(component.pieces)} pieces, each of at most {options.chunk_mib} MiB")
        if len(component.pieces) > APPLE_PIECES:
            notes[-1] += f"; Apple's Swift package opens no more than {APPLE_PIECES}"
    return tuple(notes)


def _component(folder: Path, graphs: Graphs, name: str, precision: str, options: CoreMLOptions) -> Component:
    """Write a graph: in pieces, as one function for each size, or as it is."""
    if options.sizes:
        return _write_sizes(folder, graphs, name, precision, options)
    component = _write(folder, coreml_graphs(graphs, options.attention), name, precision, options)
    if not options.chunk_mib or not name.startswith(DENOISERS):
        return component
    pieces = tuple(path.name for path in chunk_package(folder / component.file, options.chunk_mib * MIB))
    return component if len(pieces) == 1 else replace(component, file=pieces[0], pieces=pieces)


def _write_sizes(folder: Path, graphs: Graphs, name: str, precision: str, options: CoreMLOptions) -> Component:
    """Write the fused form once for each size, then all of them into one package."""
    sized = _sized(graphs, options.sizes)
    components = [
        _write(folder / function.name, coreml_graphs(one, options.attention), name, precision, options)
        for function, one in sized.items()
    ]
    packages = {f.name: folder / f.name / c.file for f, c in zip(sized, components, strict=True)}
    merge_functions(packages, tuple(sized), folder / components[0].file)
    for path in packages.values():
        path.parent.rmdir()
    return replace(components[0], functions=tuple(sized))


def _sized(graphs: Graphs, sizes: tuple[tuple[int, int], ...]) -> dict[SizedFunction, Graphs]:
    """Return the functions and what each draws with, that of the contract's size first; BadInput for one twice."""
    sized: dict[SizedFunction, Graphs] = {}
    for one in (graphs, *(sized_graphs(graphs, size) for size in sizes)):
        (height, width), latents = one.contract.image_size, one.contract.latent_shape
        function = SizedFunction(function_name((height, width)), latents, (height, width))
        if function in sized:
            raise BadInput(f"got {height}x{width} twice; expected each size once; leave one --also-size out")
        sized[function] = one
    return sized


def _write(folder: Path, graphs: CoreMLGraphs, name: str, precision: str, options: CoreMLOptions) -> Component:
    component = graphs.component(name, graphs.file(name))
    program, target = graphs.real_program(name), options.deployment_target
    model = coreml_from_torch(program, component, precision, target, image=graphs.is_image(name))
    describe(model, component, graphs, options, precision)
    save_coreml(model, folder / component.file)
    check_package(folder / component.file, component)
    return component
