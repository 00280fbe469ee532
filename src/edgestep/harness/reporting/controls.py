"""Rows -> what each quantized artifact gains over its naive counterpart: the control of every quantization."""

from collections.abc import Sequence
from dataclasses import dataclass

from edgestep.harness.figures import MISSING, measure_text, size_text
from edgestep.harness.parity.gates import IMAGE_PSNR, IMAGE_SSIM, X0_SQNR
from edgestep.harness.reporting.summary import Row
from edgestep.harness.results import ParityResult

CONTROL_TITLE = "What the care bought"
CONTROL_TEXT = (
    "Naive is the same generator in plain INT8, measured on the same cases: weights and activations of 8 bits, one "
    "range per tensor from its least to its greatest number, every layer quantized. Worst cases."
)
CONTROL_COLUMNS = (
    "#",
    "artifact",
    "size",
    "naive size",
    "PSNR",
    "naive PSNR",
    "SSIM",
    "naive SSIM",
    "x0 SQNR",
    "naive x0",
)


@dataclass(frozen=True)
class ControlRow:
    """One artifact beside its control, as texts in the order of `CONTROL_COLUMNS`."""

    row: Row
    cells: tuple[str, ...]


def controls_from_rows(rows: Sequence[Row]) -> tuple[ControlRow, ...]:
    """Return a row for each artifact that has a control and was itself measured."""
    return tuple(
        ControlRow(row, _cells(row))
        for row in rows
        if row.artifact.control is not None and row.artifact.parity is not None and row.artifact.parity.gates
    )


def _cells(row: Row) -> tuple[str, ...]:
    control, own = row.artifact.control, row.artifact.parity
    assert control is not None and own is not None
    pairs = [
        text
        for measure in (IMAGE_PSNR, IMAGE_SSIM, X0_SQNR)
        for text in (_worst(own, measure), _worst(control.parity, measure))
    ]
    return (str(row.number), row.label, size_text(row.artifact.bytes), size_text(control.bytes), *pairs)


def _worst(parity: ParityResult, measure: str) -> str:
    found = next((gate for gate in parity.gates if gate.measure == measure), None)
    return MISSING if found is None else measure_text(measure, found.worst)
