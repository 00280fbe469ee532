"""The emoji generator's artifacts with a bundle that has taps: what bisection is tried on."""

from pathlib import Path

from edgestep.harness.reference.bundle import Reference, read_reference
from edgestep.harness.reference.taps import Taps, read_taps, write_taps
from edgestep.harness.reference.torch_one_step import TorchOneStep
from edgestep.harness.reference.torch_taps import record_taps
from tests.harness.mutants.good import EMOJI, Emoji

Tapped = tuple[Emoji, Reference, Taps]


def tapped_from_emoji(emoji: Emoji, folder: Path) -> Tapped:
    """Record the taps of the bundle's first case beside its files, in the new `folder`."""
    for name in ("reference.json", "cases.safetensors"):
        (folder / name).symlink_to(emoji.folder / "reference" / name)
    write_taps(folder, record_taps(TorchOneStep(EMOJI), emoji.reference.cases[:1]))
    reference = read_reference(folder)
    return emoji, reference, read_taps(folder, reference)
