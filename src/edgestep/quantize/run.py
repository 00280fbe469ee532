"""Artifact + scheme + calibration feeds -> a new, smaller artifact beside its parent."""

import errno
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from edgestep.artifact import (
    MANIFEST,
    Artifact,
    BadInput,
    Component,
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
from edgestep.quantize.coreml.evaluated import Feed
from edgestep.quantize.coreml.mixed import MEAN_BITS
from edgestep.quantize.coreml.pieces import feeds_of_next, inputs_of
from edgestep.quantize.floats import StaysFloat
from edgestep.quantize.keep_fp32 import check_known, rows_from_names
from edgestep.quantize.quantizers import QUANTIZERS, Options, Quantizer
from edgestep.quantize.schemes import SCHEMES, scheme_for

REVISION = 12
"""Part of every key: raise it when what quantize writes changes, so that artifacts made before are not reused."""


def quantize(
    parent: Path,
    *,
    scheme: str,
    out: Path,
    feeds: Feeds | None = None,
    table: Sequence[StaysFloat] | None = None,
    keep: Sequence[str] = (),
    options: Options | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> Artifact:
    """Quantize the artifact in `parent` to the new folder `out`; return the manifest that it holds.

    `feeds`: component name -> what it was fed in some drawings of the parent (`Drawer.feeds`); the same feeds give the
    same bytes, and a scheme that is not calibrated needs none. `table` says which layers stay float, None is the
    scheme's own; `keep` names modules whose layers do too. Nothing is left at `out` when it fails; what was measured
    for mixed is kept beside it until it succeeds. Raises BadInput where the parent is changed, quantized already, of a
    format without that scheme or for a system without it, where the feeds are too few or broken, and where a name in
    `keep` is no layer's module.
    """
    check_writable(out)
    options = options or Options()
    artifact = read_artifact(parent)
    work = _work(artifact, scheme, feeds or {}, table, keep, options)
    check_parent(parent, artifact, scheme, keep)
    try:
        with written_aside(out) as folder, _kept_beside(out, work.key) as kept:
            _copy_rest(parent, folder, artifact, work.quantizer)
            notes = _quantized(work, parent, folder, options, kept, tell)
            return _finished(folder, work, notes)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise BadInput(f"got a full disk while writing {out}; free some space, or choose another folder") from error
        raise


@dataclass(frozen=True)
class _Work:
    """What `quantize` was asked for, checked. `calibration` is the hash of the feeds, "" where they do not matter."""

    parent: Artifact
    scheme: str
    quantizer: Quantizer
    feeds: Feeds
    calibration: str
    table: Sequence[StaysFloat]
    key: str


def _work(
    artifact: Artifact,
    scheme: str,
    feeds: Feeds,
    table: Sequence[StaysFloat] | None,
    keep: Sequence[str],
    options: Options,
) -> _Work:
    calibrated = scheme_for(scheme, artifact.format, artifact.scheme).calibrated
    if calibrated:
        check_feeds(feeds, artifact)
    calibration = calibration_sha256(feeds) if calibrated else ""
    rows = (*rows_from_names(keep), *(SCHEMES[scheme].table if table is None else table))
    quantizer = QUANTIZERS[artifact.format, scheme]
    taken = quantizer.taken(options)
    key = quantize_key(artifact.key, scheme, calibration, rows, mean_bits=options.mean_bits, taken=taken)
    return _Work(artifact, scheme, quantizer, feeds if calibrated else {}, calibration, rows, key)


def check_parent(parent: Path, artifact: Artifact, scheme: str, keep: Sequence[str] = ()) -> None:
    """Raise BadInput where a graph cannot be quantized so, or a name in `keep` is the module of no layer in it."""
    quantizer = QUANTIZERS[artifact.format, scheme]
    files = [parent / file for component in artifact.components for file in component.files]
    for file in files:
        quantizer.check(file, scheme)
    if keep:
        check_known(keep, [module for file in files for module in quantizer.modules(file)], quantizer.fits)


def quantize_key(
    parent_key: str,
    scheme: str,
    calibration: str = "",
    table: Sequence[StaysFloat] | None = None,
    *,
    mean_bits: float = MEAN_BITS,
    taken: Mapping[str, Any] | None = None,
) -> str:
    """Return what names the artifact's content: equal key, equal artifact.

    `calibration` is `calibration_sha256`, and does not matter to a scheme that is not calibrated; `table` None is the
    scheme's own; `mean_bits` matters to mixed alone; `taken` are the other options that matter (`Quantizer.taken`).
    """
    return sha256_of_json(
        {
            "parent": parent_key,
            "scheme": scheme,
            "calibration": calibration if SCHEMES[scheme].calibrated else "",
            "floats": [asdict(row) for row in (SCHEMES[scheme].table if table is None else table)],
            "tools": tool_versions("onnx", "onnxruntime", "openvino", "nncf", "coremltools"),
            "revision": REVISION,
            **({"mean_bits": mean_bits} if scheme == "mixed" else {}),
            **(taken or {}),
        }
    )


@contextmanager
def _kept_beside(out: Path, key: str) -> Iterator[Path]:
    """Yield a folder beside `out` for what is measured; it goes when the block ends well, or it holds nothing."""
    folder = out.parent / f".{out.name}.measured-{key[:16]}"
    folder.mkdir(exist_ok=True)
    try:
        yield folder
    finally:
        if not any(folder.iterdir()):
            folder.rmdir()
    shutil.rmtree(folder, ignore_errors=True)


def _copy_rest(parent: Path, folder: Path, artifact: Artifact, quantizer: Quantizer) -> None:
    """Copy every file that is not a weight."""
    files = [parent / file for component in artifact.components for file in component.files]
    replaced = {replaced.resolve() for file in files for replaced in quantizer.weight_files(file)}
    for file in artifact.files:
        source = inside(parent, file.path)
        if source.resolve() not in replaced and file.path != MANIFEST:
            (folder / file.path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, folder / file.path)


def _quantized(
    work: _Work, parent: Path, folder: Path, options: Options, kept: Path, tell: Callable[[str], None]
) -> tuple[str, ...]:
    """Write every graph into `folder`; return what the manifest is to say of them."""
    jobs = [
        _Job(component.name + (f", {Path(file).stem}" if component.pieces else ""), file, fed)
        for component in work.parent.components
        for file, fed in zip(component.files, _fed(parent, component, work.feeds, options), strict=True)
    ]
    plans = None
    if work.quantizer.plan is not None:
        sources = {parent / job.file: job.feeds for job in jobs}
        given = {"evaluate": options.evaluate, "mean_bits": options.mean_bits, "kept": kept, "tell": tell}
        plans = work.quantizer.plan(sources, work.table, **given)
    notes: list[str] = []
    for job in jobs:
        with_samples = f" with {len(job.feeds)} samples" if job.feeds else ""
        tell(f"quantizing {job.name} to {work.scheme}{with_samples}")
        (folder / job.file).parent.mkdir(parents=True, exist_ok=True)
        more = {} if plans is None else {"plan": plans[parent / job.file]}
        more |= {"evaluate": options.evaluate} if work.quantizer.evaluates else {}
        more |= work.quantizer.taken(options)
        made = work.quantizer.quantize(parent / job.file, folder / job.file, job.feeds, work.table, **more)
        if made.warning:
            tell(f"{job.name}: {made.warning}")
        notes += made.notes(job.name)
    return tuple(notes)


@dataclass(frozen=True)
class _Job:
    """One file of the artifact, what to call it, and what it was fed."""

    name: str
    file: str
    feeds: Sequence[Feed]


def _fed(parent: Path, component: Component, feeds: Feeds, options: Options) -> Iterator[Sequence[Feed]]:
    """Yield what each file of a component was fed."""
    samples = feeds.get(component.name, ())
    if not component.pieces or not samples:
        yield from [samples] * len(component.files)
        return
    files = [parent / file for file in component.files]
    known, fed = list(samples), inputs_of(files[0], samples)
    yield fed
    for file, following in pairwise(files):
        fed, known = feeds_of_next(file, following, fed, known, options.evaluate)
        yield fed


def _finished(folder: Path, work: _Work, notes: tuple[str, ...]) -> Artifact:
    """Write the card and, last, the manifest."""
    parent = work.parent
    samples = len(next(iter(work.feeds.values()), ()))
    drawn = (f"calibration: {samples} samples, SHA-256 {work.calibration}",) if work.calibration else ()
    artifact = replace(
        parent,
        name=_name(parent, work.scheme),
        scheme=work.scheme,
        key=work.key,
        parent=parent.key,
        tools={**parent.tools, **tool_versions(*work.quantizer.tools)},
        notes=(*parent.notes, *drawn, *notes),
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
