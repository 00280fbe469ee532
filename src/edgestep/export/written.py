"""What a format's writer hands back."""

from dataclasses import dataclass

from edgestep.artifact import Component


@dataclass(frozen=True)
class Written:
    """The graphs that were written, in the order in which they run, and lines for the manifest's notes."""

    components: tuple[Component, ...]
    notes: tuple[str, ...] = ()
