"""classify: probabilities and class names -> the best name, and each name's probability."""

import torch

from edgestep.runtimes.mil.arguments import Value, several
from edgestep.runtimes.mil.ops.families import Op


def classify(probabilities: torch.Tensor, classes: Value) -> tuple[str | int, dict[str | int, float]]:
    """Return the label of the greatest, a string or an int, and {label: probability}; as many labels as numbers."""
    labels = [_label(each) for each in (classes.tolist() if isinstance(classes, torch.Tensor) else several(classes))]
    numbers = probabilities.reshape(-1).tolist()
    return labels[int(probabilities.argmax())], dict(zip(labels, numbers, strict=True))


def _label(value: Value | int) -> str | int:
    return value if isinstance(value, str) else int(value)  # type: ignore[arg-type]


OPS: dict[str, Op] = {"classify": classify}
