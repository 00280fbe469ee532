"""export: Checkpoint -> Artifact, in any format, precision and layout."""

import errno
import hashlib
import shutil
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from edgestep.artifact import (
    Artifact,
    BadInput,
    OneStep,
    check_writable,
    files_in,
    sha256_of_json,
    tool_versions,
    write_manifest,
    written_aside,
)
from edgestep.export.card import card_from_artifact
from edgestep.export.client_files import write_apple_files, write_client_files, write_tokenizer
from edgestep.export.coreml.apple import has_apple_pipeline
from edgestep.export.coreml.folder import write_coreml
from edgestep.export.coreml.options import CoreMLOptions, check_layout, resolved
from edgestep.export.graph.graphs import Graphs
from edgestep.export.onnx.folder import write_onnx
from edgestep.export.openings import check_openings
from edgestep.export.openvino.folder import write_openvino
from edgestep.export.recipe.contract import contract_from_checkpoint
from edgestep.export.source.checkpoint import Checkpoint, sha256_with_vae
from edgestep.export.written import Written

PROMPTS = "prompts.txt"
"""A checkpoint's own prompts go along with its artifacts: `quantize` calibrates on what it is really asked for."""

REVISION = 9
"""Part of every key: raise it when what export writes changes, so that artifacts made before are not reused."""


@dataclass(frozen=True)
class Exporter:
    """One format: `write(folder, graphs, names, precision)` writes the graphs; returns components and notes.

    Core ML's also takes `options`.
    """

    write: Callable[..., Written]
    precisions: tuple[str, ...]
    layouts: tuple[str, ...]
    tools: tuple[str, ...]


EXPORTERS: dict[str, Exporter] = {
    "onnx": Exporter(write_onnx, ("fp32", "fp16"), ("split", "fused"), ("onnx", "onnxscript")),
    "openvino": Exporter(write_openvino, ("fp32", "fp16"), ("split", "fused"), ("onnx", "onnxscript", "openvino")),
    "coreml": Exporter(write_coreml, ("fp32", "fp16"), ("split", "fused"), ("coremltools",)),
}
"""Format -> what writes it."""


def export(
    checkpoint: Checkpoint,
    *,
    format: str,
    precision: str,
    layout: str,
    target: str,
    out: Path,
    contract: OneStep | None = None,
    graphs: Graphs | None = None,
    dynamic: tuple[str, ...] = (),
    image: str = "uint8",
    coreml: CoreMLOptions | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> Artifact:
    """Export to the new folder `out` and return the manifest that it holds.

    `contract` overrides what `contract_from_checkpoint` finds. Hand the same `graphs` to every export of one
    checkpoint, with the same `dynamic` ("batch", "resolution") and `image` (the fused picture: "uint8", or "float32"
    in [0, 1]): it is then loaded and captured once. `coreml`: attention, compute unit and deployment target of Core ML
    packages. Nothing is left at `out` when it fails. Raises BadInput where the format does not have that precision,
    layout or option, a size cannot be dynamic, `out` is not empty, an extra is not installed, or the disk is full.
    """
    exporter = _exporter(format, precision, layout)
    contract = contract or (graphs.contract if graphs else contract_from_checkpoint(checkpoint))
    check_openings(contract, format, layout, dynamic, image)
    options = coreml_options(format, contract, coreml)
    check_layout(coreml or CoreMLOptions(), layout)
    graphs = graphs or Graphs(checkpoint, contract, tell, dynamic=dynamic, image=image)
    check_writable(out)
    tell(f"exporting {format} {precision} {layout}")
    try:
        with written_aside(out) as folder:
            more = {} if options is None else {"options": options}
            written = exporter.write(folder, graphs, graphs.names(layout), precision, **more)
            artifact = Artifact(
                name=_name(checkpoint, format, precision, layout),
                target=target,
                format=format,
                scheme=precision,
                layout=layout,
                contract=contract,
                components=written.components,
                files=(),
                checkpoint_sha256=checkpoint.sha256,
                key=export_key(
                    checkpoint,
                    format,
                    precision,
                    layout,
                    contract=contract,
                    latents=graphs.latents,
                    dynamic=dynamic,
                    image=image,
                    coreml=options,
                ),
                licence=checkpoint.licence,
                tools=tool_versions("torch", "diffusers", "transformers", *exporter.tools),
                notes=(
                    f"t = {contract.timestep:g} folded: {graphs.folded_parameters} parameters fewer",
                    *written.notes,
                ),
                with_vae_sha256=sha256_with_vae(checkpoint),
                options={} if options is None else options.told,
            )
            return _finished(folder, artifact, checkpoint)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise BadInput(f"got a full disk while writing {out}; free some space, or choose another folder") from error
        raise


def export_key(
    checkpoint: Checkpoint,
    format: str,
    precision: str,
    layout: str,
    *,
    contract: OneStep | None = None,
    latents: Iterable[np.ndarray] = (),
    dynamic: tuple[str, ...] = (),
    image: str = "uint8",
    coreml: CoreMLOptions | None = None,
) -> str:
    """Return what names an artifact's content: equal key, equal artifact. `latents` as given to Graphs."""
    contract = contract or contract_from_checkpoint(checkpoint)
    options = coreml_options(format, contract, coreml)
    drawn = [hashlib.sha256(z.tobytes()).hexdigest() for z in latents if precision == "fp16"]
    return sha256_of_json(
        {
            **({"latents": drawn} if drawn else {}),
            **({"dynamic": sorted(set(dynamic))} if dynamic else {}),
            **({"image": image} if image != "uint8" else {}),
            **({"coreml": asdict(options)} if options is not None else {}),
            "checkpoint": checkpoint.sha256,
            "format": format,
            "precision": precision,
            "layout": layout,
            "contract": asdict(contract),
            "edgestep": tool_versions()["edgestep"],
            "revision": REVISION,
        }
    )


def coreml_options(format: str, contract: OneStep, given: CoreMLOptions | None) -> CoreMLOptions | None:
    """Return the options with which Core ML packages are made, None for another format; BadInput where given there."""
    if format == "coreml":
        return resolved(given or CoreMLOptions(), contract.base)
    if given not in (None, CoreMLOptions()):
        raise BadInput(
            f"got --attention, --compute-unit, --deployment-target, --chunk-mib or --also-size for {format}; expected "
            "them with --format coreml only; leave them out"
        )
    return None


def _exporter(format: str, precision: str, layout: str) -> Exporter:
    if format not in EXPORTERS:
        raise BadInput(f"got format {format!r}; expected one of {', '.join(EXPORTERS)}")
    exporter = EXPORTERS[format]
    if precision not in exporter.precisions:
        raise BadInput(f"got precision {precision!r} for {format}; expected one of {', '.join(exporter.precisions)}")
    if layout not in exporter.layouts:
        raise BadInput(f"got layout {layout!r} for {format}; expected one of {', '.join(exporter.layouts)}")
    return exporter


def _name(checkpoint: Checkpoint, format: str, precision: str, layout: str) -> str:
    return f"{checkpoint.source.name}-{format}-{precision}" + ("-fused" if layout == "fused" else "")


def _finished(folder: Path, artifact: Artifact, checkpoint: Checkpoint) -> Artifact:
    """Write the small files, the card and, last, the manifest."""
    if artifact.layout == "fused":
        write_tokenizer(folder / "tokenizer", checkpoint)
    elif artifact.format == "coreml" and has_apple_pipeline(artifact.contract):
        write_apple_files(folder, checkpoint)
    else:
        write_client_files(folder, checkpoint, artifact.format)
    if (prompts := checkpoint.source.folder / PROMPTS).is_file():
        shutil.copyfile(prompts, folder / PROMPTS)
    card = card_from_artifact(artifact, files_in(folder))
    (folder / "README.md").write_text(card)
    artifact = replace(artifact, files=files_in(folder))
    write_manifest(folder, artifact)
    return artifact
