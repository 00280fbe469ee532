"""k-means of numbers on a line, weighted by how often each occurs: Lloyd's steps from the companding quantiles.

On a line a cluster is an interval, so a step is a search in sorted numbers and a difference of running sums: a layer
takes milliseconds, and nothing is random. coremltools' own needs scikit-learn for small or float32 weights.
"""

import numpy as np

STEPS = 60


def table_from_values(values: np.ndarray, bits: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (table, indices): 2^bits float32 numbers in order, and for each value, flat, the nearest one's place.

    `values`: finite, of any shape and float dtype; those of float32 are clustered as float16 has them. Where there are
    fewer different values than places, each has its own and the last is repeated.
    """
    points, counts = np.unique(values.astype(np.float16), return_counts=True)
    points = points.astype(np.float64)
    places = 1 << bits
    if len(points) <= places:
        table = np.concatenate([points, np.full(places - len(points), points[-1])])
    else:
        table = _lloyd(points, counts.astype(np.float64), places)
    table = table.astype(np.float16).astype(np.float32)
    return table, nearest(table, values)


def nearest(table: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return for each value, flat, the place of the nearest number of a sorted table, uint8."""
    flat = values.reshape(-1).astype(np.float32)
    return np.searchsorted((table[1:] + table[:-1]) / 2, flat, side="left").astype(np.uint8)


def _lloyd(points: np.ndarray, counts: np.ndarray, places: int) -> np.ndarray:
    """Return the centres: sorted points with how often each occurs -> float64, sorted."""
    mass = np.concatenate([[0.0], np.cumsum(counts)])
    moment = np.concatenate([[0.0], np.cumsum(counts * points)])
    centres = _companded(points, counts, places)
    for _ in range(STEPS):
        edges = np.searchsorted(points, (centres[1:] + centres[:-1]) / 2)
        bounds = np.concatenate([[0], edges, [len(points)]])
        inside = np.diff(mass[bounds])
        moved = np.where(inside > 0, np.diff(moment[bounds]) / np.maximum(inside, 1), centres)
        if np.array_equal(moved, centres):
            break
        centres = np.sort(moved)
    return centres


def _companded(points: np.ndarray, counts: np.ndarray, places: int) -> np.ndarray:
    """Return first centres at the quantiles of density^(1/3): what many levels tend to (Panter and Dite, 1951)."""
    bins = min(len(points), max(4 * places, 64))
    density, edges = np.histogram(points, bins, weights=counts)
    cubic = np.concatenate([[0.0], np.cumsum(np.cbrt(density))])
    wanted = (np.arange(places) + 0.5) / places * cubic[-1]
    return np.interp(wanted, cubic, edges)
