"""Concepts -> prompts.txt of the finished checkpoint: what reference bundles and calibration draw from."""

from collections.abc import Sequence
from math import gcd

FIRST = (
    "grinning face",
    "red heart",
    "pizza",
    "cat face",
    "rocket",
    "face with tears of joy",
    "red apple",
    "panda",
    "rainbow",
    "smiling face with sunglasses",
    "tulip",
    "birthday cake",
)
"""Kinds mixed, so that the first few already differ in shape and colour."""


def prompts_from_concepts(concepts: Sequence[str], styles: Sequence[str]) -> list[str]:
    """Return a prompt per concept, styles in turn, common ones first, the others evenly mixed over the alphabet."""
    first = [concept for concept in FIRST if concept in concepts]
    others = [concept for concept in concepts if concept not in first]
    stride = 37  # neighbours in the list are far apart in the alphabet
    while others and gcd(stride, len(others)) > 1:
        stride += 1
    mixed = [others[i * stride % len(others)] for i in range(len(others))]
    return [f"{styles[i % len(styles)]} {concept}" for i, concept in enumerate([*first, *mixed])]
