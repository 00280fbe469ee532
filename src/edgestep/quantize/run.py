"""Artifact + scheme + calibration feeds -> a new, smaller artifact beside its parent."""

import errno
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from edgestep.artifact import (
    MANIFEST,
    Artifact,
    BadInput,
    check_writable,
    files_in,
    inside,
    read_artifact,
    sha256_of_json,
    tool_versions,
    write_manifest,
    written_aside,
)
from edgestep.card_gates import CARD
from edgestep.quantize.calibration import Feeds, calibration_sha256, check_feeds
from edgestep.quantize.card import card_from_parent
from edgestep.quantize.floats import STAYS_FLOAT, Quantized, StaysFloat
from edgestep.quantize.keep_fp32 import check_known, rows_from_names
from edgestep.quantize.onnx_w8a8 import onnx_layers, onnx_weight_files, quantize_onnx_w8a8
from edgestep.quantize.openvino_w8a8 import openvino_layers, openvino_weight_files, quantize_openvino_w8a8
from edgestep.quantize.schemes import scheme_for

REVISION = 2
"""Part of every key: raise it when what quantize writes changes, so that artifacts made before are not reused."""


@dataclass(frozen=True)
class Quantizer:
    """`quantize(source, final, feeds, table)` writes one graph; `weight_files(source)` is what it replaces, and
    `layers(source)` names the operations that it could quantize.
    """

    quantize: Callable[..., Quantized]
    weight_files: Callable[[Path], tuple[Path, ...]]
    layers: Callable[[Path], tuple[str, ...]]
    tools: tuple[str, ...]


QUANTIZERS: dict[tuple[str, str], Quantizer] = {
    ("onnx", "w8a8"): Quantizer(quantize_onnx_w8a8, onnx_weight_files, onnx_layers, ("onnx", "onnxruntime")),
    ("openvino", "w8a8"): Quantizer(
        quantize_openvino_w8a8, openvino_weight_files, openvino_layers, ("openvino", "nncf")
    ),
}
"""(format, scheme) -> what makes it; a pair for each that SCHEMES lists."""


def quantize(
    parent: Path,
    *,
    scheme: str,
    out: Path,
    feeds: Feeds,
    table: Sequence[StaysFloat] = STAYS_FLOAT,
    keep: Sequence[str] = (),
    tell: Callable[[str], None] = lambda _: None,
) -> Artifact:
    """Quantize the artifact in `parent` to the new folder `out`; return the manifest that it holds.

    `feeds`: component name -> what it was fed in some drawings of the parent (`Drawer.feeds`); the same feeds give the
    same bytes. `table` says which layers stay float, `keep` names modules whose layers do too. Nothing is left at `out`
    when it fails. Raises BadInput where the parent is changed, quantized already or of a format without that scheme,
    where the feeds are too few or broken, and where a name in `keep` is no layer's module.
    """
    check_writable(out)
    artifact = read_artifact(parent)
    scheme_for(scheme, artifact.format, artifact.scheme)
    check_feeds(feeds, artifact)
    quantizer = QUANTIZERS[artifact.format, scheme]
    check_keep(parent, artifact, scheme, keep)
    table = (*rows_from_names(keep), *table)
    try:
        with written_aside(out) as folder:
            _copy_rest(parent, folder, artifact, quantizer)
            notes: list[str] = []
            for component in artifact.components:
                samples = feeds[component.name]
                tell(f"quantizing {component.name} to {scheme} with {len(samples)} samples")
                final = folder / component.file
                final.parent.mkdir(parents=True, exist_ok=True)
                notes += quantizer.quantize(parent / component.file, final, samples, table).notes(component.name)
            return _finished(folder, artifact, scheme, quantizer, feeds, table, tuple(notes))
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise BadInput(f"got a full disk while writing {out}; free some space, or choose another folder") from error
        raise


def check_keep(parent: Path, artifact: Artifact, scheme: str, keep: Sequence[str]) -> None:
    """Raise BadInput where a name in `keep` is the module of no layer that the scheme would quantize or leave."""
    if keep:
        layers = QUANTIZERS[artifact.format, scheme].layers
        check_known(keep, [layer for component in artifact.components for layer in layers(parent / component.file)])


def quantize_key(parent_key: str, scheme: str, calibration: str, table: Sequence[StaysFloat] = STAYS_FLOAT) -> str:
    """Return what names the artifact's content: equal key, equal artifact. `calibration` is `calibration_sha256`."""
    return sha256_of_json(
        {
            "parent": parent_key,
            "scheme": scheme,
            "calibration": calibration,
            "floats": [asdict(row) for row in table],
            "tools": tool_versions("onnx", "onnxruntime", "openvino", "nncf"),
            "revision": REVISION,
        }
    )


def _copy_rest(parent: Path, folder: Path, artifact: Artifact, quantizer: Quantizer) -> None:
    """Copy every file that is not a weight."""
    replaced = {
        file.resolve() for component in artifact.components for file in quantizer.weight_files(parent / component.file)
    }
    for file in artifact.files:
        source = inside(parent, file.path)
        if source.resolve() not in replaced and file.path != MANIFEST:
            (folder / file.path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, folder / file.path)


def _finished(
    folder: Path,
    parent: Artifact,
    scheme: str,
    quantizer: Quantizer,
    feeds: Feeds,
    table: Sequence[StaysFloat],
    notes: tuple[str, ...],
) -> Artifact:
    """Write the card and, last, the manifest."""
    calibration = calibration_sha256(feeds)
    samples = len(next(iter(feeds.values())))
    artifact = replace(
        parent,
        name=_name(parent, scheme),
        scheme=scheme,
        key=quantize_key(parent.key, scheme, calibration, table),
        parent=parent.key,
        tools={**parent.tools, **tool_versions(*quantizer.tools)},
        notes=(*parent.notes, f"calibration: {samples} samples, SHA-256 {calibration}", *notes),
    )
    if (folder / CARD).is_file():
        text = card_from_parent((folder / CARD).read_text(), parent, artifact, files_in(folder))
        (folder / CARD).write_text(text)
    artifact = replace(artifact, files=files_in(folder))
    write_manifest(folder, artifact)
    return artifact


def _name(parent: Artifact, scheme: str) -> str:
    """emoji-onnx-fp32-fused -> emoji-onnx-w8a8-fused."""
    head, found, tail = parent.name.rpartition(f"-{parent.scheme}")
    return f"{head}-{scheme}{tail}" if found else f"{parent.name}-{scheme}"
