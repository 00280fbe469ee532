"""A classifier's outputs, a label and each label's probability -> arrays, as every output is one."""

import numpy as np

from edgestep.artifact import TensorSpec

LABEL = {"stringType": "str", "int64Type": "int64"}
"""Core ML's type of a label -> numpy dtype name."""
PROBABILITIES = "probabilities"
"""A dtype name for outputs that are a dictionary: pairs (label, float64)."""

Labels = str | int | dict[str | int, float]


def label_spec(name: str, kind: str) -> TensorSpec | None:
    """Return the signature of an output of Core ML's type `kind`, None where that is no classifier's."""
    if kind in LABEL:
        return TensorSpec(name, LABEL[kind], ())
    return TensorSpec(name, PROBABILITIES, (-1,)) if kind == "dictionaryType" else None


def array_from_labels(value: Labels) -> np.ndarray:
    """Return "owl" as an array of rank 0, {"owl": 0.75, ...} as one of pairs: dict(array.tolist()) is it again.

    The fields are `label`, a string or int64, and `probability`, float64.
    """
    if not isinstance(value, dict):
        return np.array(value)
    labels = np.array(list(value))
    pairs = np.empty(len(labels), [("label", labels.dtype), ("probability", np.float64)])
    pairs["label"], pairs["probability"] = labels, list(value.values())
    return pairs
