"""Artifact + bundle with taps -> where it goes wrong: the error that arrives at each module, and the one made there.

Each component is fed what PyTorch fed it. One run of its graph gives what arrives; one run of the graph cut at every
tap, each piece fed PyTorch's values, gives what is made there. A damaged layer stands out in the second alone.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgestep.artifact import Artifact, BadInput, read_artifact
from edgestep.harness.bisection.blame import blamed
from edgestep.harness.bisection.component_feeds import component_feeds
from edgestep.harness.bisection.module_names import named_after_modules
from edgestep.harness.bisection.results import Bisected, TapError, nan_first
from edgestep.harness.bisection.segments import Segment, segments_of
from edgestep.harness.bisection.tap_layout import laid_out
from edgestep.harness.bisection.tap_places import Graph, Place, Unplaced, counted, place_taps, results_of
from edgestep.harness.parity.measures import sqnr_db
from edgestep.harness.reference.bundle import Reference, ReferenceCase
from edgestep.harness.reference.same_model import check_same_model, installed_runtime
from edgestep.harness.reference.taps import OUT, Tap, Taps
from edgestep.runtimes.drawing import denoisers_of
from edgestep.runtimes.probe import Arrays, Probe
from edgestep.runtimes.registry import open_probe, open_session

LIMITS_DB = {"fp32": 100.0, "fp16": 40.0, "w8a8": 10.0}
"""Scheme -> the local SQNR below which a piece is suspect. Below the worst that a sound artifact was seen to have."""
Tell = Callable[[str], None]
X0 = "x0"
"""Stands for a SHA-256 where the reference's tensor is the bundle's own."""


@dataclass(frozen=True, eq=False)
class Opened:
    """One component's probe, its places in the taps' order, and the piece before each."""

    name: str
    probe: Probe
    places: tuple[Place, ...]
    segments: Mapping[str, Segment]
    unplaced: tuple[Unplaced, ...]


def bisect_artifact(
    folder: Path,
    reference: Reference,
    taps: Taps,
    *,
    runtime: str | None = None,
    limit_db: float | None = None,
    threads: int | None = None,
    tell: Tell = lambda _: None,
) -> Bisected:
    """Compare every tap that the artifact's graphs have a value for; the worst of the taps' cases counts.

    `limit_db` None takes the scheme's of LIMITS_DB. Raises BadInput where the artifact is fused, of another checkpoint
    than the bundle, of a format that does not run here, or where no tap has a place.
    """
    started = time.perf_counter()
    artifact = read_artifact(folder)
    check_same_model(artifact, reference)
    if artifact.layout != "split":
        raise BadInput(
            f"got the {artifact.layout} artifact {artifact.name}; expected a split one, whose parts are compared one "
            "by one; bisect the split export of the same checkpoint"
        )
    _check_parts(artifact)
    runtime = installed_runtime(artifact, runtime)
    limit = limit_of(artifact, limit_db)
    cases = [case for case in reference.cases if case.name in taps.index.cases]
    fed = _feeds(folder, artifact, cases, taps, runtime, threads)
    rows: list[TapError] = []
    unplaced: dict[str, Mapping[str, tuple[str, ...]]] = {}
    for component in artifact.components:
        tell(f"bisecting {component.name}")
        opened = _opened(folder, artifact, component.name, taps, runtime, threads)
        unplaced[component.name] = {reason: tuple(names) for reason, names in counted(opened.unplaced).items()}
        rows += _compared(opened, cases, [feeds[component.name] for feeds in fed], taps, limit)
    if not rows:
        raise BadInput(
            f"got {artifact.name}, in whose graphs no tap has a place; expected operations named after modules, "
            "unet.conv_in/Conv; export the artifact again"
        )
    seconds = time.perf_counter() - started
    return Bisected(limit, runtime, tuple(rows), unplaced, taps.index.cases, taps.index.too_large, seconds)


def _check_parts(artifact: Artifact) -> None:
    """Raise BadInput where a graph cannot be held against PyTorch's values one by one."""
    if artifact.options.get("attention") == "split-einsum":
        raise BadInput(
            f"got {artifact.name} with split-einsum attention, whose values lie in another order than PyTorch's; "
            "expected --attention plain or sdpa; bisect that export of the same checkpoint"
        )
    pieces = [component.name for component in artifact.components if component.pieces]
    if pieces:
        raise BadInput(
            f"got {artifact.name} with {', '.join(pieces)} in several files; expected one file each; bisect the export "
            "that is not cut in pieces"
        )


def limit_of(artifact: Artifact, limit_db: float | None) -> float:
    """Return the local SQNR below which a piece is suspect."""
    if limit_db is not None:
        return limit_db
    if artifact.scheme not in LIMITS_DB:
        raise BadInput(
            f"got {artifact.name} of scheme {artifact.scheme}; expected one of {', '.join(LIMITS_DB)}; "
            "say with --limit below how many dB a module is suspect"
        )
    return LIMITS_DB[artifact.scheme]


def _feeds(
    folder: Path, artifact: Artifact, cases: Sequence[ReferenceCase], taps: Taps, runtime: str, threads: int | None
) -> list[dict[str, dict[str, np.ndarray]]]:
    """Return, for each case, component -> feeds."""

    def run(name: str, feeds: Arrays) -> Arrays:
        with open_session(runtime, folder / artifact.component(name).file, threads=threads) as session:
            return session.run(feeds)

    return [component_feeds(artifact, case, taps, run) for case in cases]


def _opened(folder: Path, artifact: Artifact, name: str, taps: Taps, runtime: str, threads: int | None) -> Opened:
    probe = open_probe(runtime, folder / artifact.component(name).file, threads=threads)
    own = [tap for tap in taps.index.taps if tap.component == name]
    view = named_after_modules(probe.view, own)
    graph = Graph(view)
    results = results_of(view, own)
    if name == denoisers_of(artifact)[-1] and "out_sample" in view.outputs:
        shape = (1, *artifact.contract.latent_shape)
        results["out_sample"] = Tap(name, name, OUT, 0, False, shape, dict.fromkeys(taps.index.cases, X0))
    places, unplaced = place_taps(graph, own, results)
    return Opened(name, probe, places, segments_of(graph, places, name), unplaced)


def _compared(
    opened: Opened, cases: Sequence[ReferenceCase], feeds: Sequence[Arrays], taps: Taps, limit: float
) -> list[TapError]:
    """Return one row a place."""
    values = [place.value for place in opened.places]
    if not values:
        return []
    whole, parted = opened.probe.exposed(values), opened.probe.cut(values)
    seen: dict[str, list[_Seen]] = {value: [] for value in values}
    for case, fed in zip(cases, feeds, strict=True):
        got = whole(fed)
        expected = _expected(opened, case, taps, {value: array.shape for value, array in got.items()})
        made = parted(fed, expected)
        for value in values:
            arriving_db, local_db = sqnr_db(expected[value], got[value]), sqnr_db(expected[value], made[value])
            segment, shape = opened.segments[value], got[value].shape
            segment = segment if local_db >= limit else blamed(segment, expected[value], made[value])
            seen[value].append(_Seen(case.name, segment, shape, arriving_db, local_db))
    return [_row(opened.name, seen[value], limit) for value in values]


@dataclass(frozen=True)
class _Seen:
    """One place in one case."""

    case: str
    segment: Segment
    shape: tuple[int, ...]
    arriving_db: float
    local_db: float


def _expected(
    opened: Opened, case: ReferenceCase, taps: Taps, shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, np.ndarray]:
    """Return PyTorch's array for each place, in the layout of the graph's value."""
    shas = {place.value: place.tap.sha256[case.name] for place in opened.places}
    arrays = {**taps.read([sha for sha in dict.fromkeys(shas.values()) if sha != X0]), X0: case.x0}
    return {value: laid_out(arrays[sha], shapes[value]) for value, sha in shas.items()}


def _row(component: str, seen: Sequence[_Seen], limit: float) -> TapError:
    worst = min(seen, key=lambda one: nan_first(one.local_db))
    return TapError(
        component=component,
        module=worst.segment.module,
        op=worst.segment.op,
        operation=worst.segment.operation,
        ops=worst.segment.ops,
        shape=worst.shape,
        cumulative_db=min((one.arriving_db for one in seen), key=nan_first),
        local_db=worst.local_db,
        case=worst.case,
        suspect=not worst.local_db >= limit,  # so that NaN is
        quantized=worst.segment.quantized,
    )
