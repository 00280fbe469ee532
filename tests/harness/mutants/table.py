"""docs/gates.md, from the table of limits and the catalogue: python -m tests.harness.mutants.table writes it again.

The text stands here, the figures are measured; `test_mutants.py` holds each row against what it measures itself.
"""

import math
import os
import re
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path

from edgestep.harness.figures import measure_name
from edgestep.harness.parity.gates import LIMITS, Limits
from tests.harness.mutants.catalogue import CASES, MUTANTS
from tests.harness.mutants.good import CASES as NUMBER
from tests.harness.mutants.good import Emoji, scratch_emoji
from tests.harness.mutants.mutant import FORMS, damaged
from tests.harness.mutants.outcome import NOT_LOADED, Outcome, outcome_of

PATH = Path(__file__).parents[3] / "docs" / "gates.md"
NOTHING = "\N{EN DASH}"
COLUMNS = {
    "embeddings_sqnr": "embeddings SQNR, dB",
    "x0_sqnr": "x0 SQNR, dB",
    "image_psnr": "image and decoder PSNR, dB",
    "image_ssim": "image SSIM",
    "spread": "sensitivities",
}
"""Field of Limits -> its column."""

HEAD = """# The gates, and what they catch

`edgestep parity` fails an artifact whose worst case is outside one of these limits; {dash} is reported only. The limits
stand in one table, `edgestep/harness/parity/gates.py`. Beside them every artifact must turn the bundle's prompts into
the bundle's ids with its own tokenizer, give the right shapes, no value that is not finite, and no constant tensor
where the reference has none.

{limits}

## Mutants

Each row is the bundled generator in fp32 with one thing wrong, the hashes of its manifest renewed so that the drawing
alone can give it away, held against {cases} cases that PyTorch drew on the CPU. The figures are the worst case's. The
last columns say what the limits of looser schemes would make of the same figures: a gate catches a fault that is larger
than its tolerance, and no other.

{counts}

The test suite makes the mutants anew and compares what it finds with these rows (`tests/harness/test_mutants.py`; the
whole catalogue is marked `slow`). Rows are written by `python -m tests.harness.mutants.table`.
"""

UNSEEN = (
    *("lowest_bit_flipped", "resize_half_pixel_nearest", "group_norm_epsilon", "layer_norm_epsilon"),
    *("coreml lowest_byte_flipped", "coreml group_norm_epsilon"),
)
"""Mutants that move a picture by next to nothing."""

TAIL = """
## What passes

A fault below the tolerance passes. In fp32 these do:

{passing}

- A low bit of one weight, nearest up-sampling by half-pixel centres at a factor of 2 (the same pixels) and a smaller
  epsilon of a norm leave {least} dB or more: fewer than one value in a thousand differs, by one level.
- The fused form shows no x0: what stays above 60 dB in the picture passes there (GELU's tanh, an epsilon of 1e-3,
  one weight's sign) and fails in the split form. Nor does its uint8 picture show NaN: one NaN in the decoder's output
  becomes one black value ({nan} dB), which the limits of fp32 catch and those of fp16 let pass; the split form catches
  it under every scheme.
- A tokenizer that keeps capitals passes, since every prompt of this bundle is in lower case: record a bundle of prompts
  as your users write them.
- Core ML packages are evaluated, and keep no formula of their own: in Apple's layout it is the contract's. Two channels
  or one byte of a layer in the middle of this network move little, {channels} and {byte} dB, which the limits of
  fp32 and fp16 catch and those of w8a8 let pass; two channels of its last layer are caught under every scheme.
- The limits of w8a8 let pass what moves the picture by less than 28 dB PSNR, as w8a8 itself does: a converter's fault
  is found in fp32, before quantization, and the quantized artifact is then held to what quantization may cost.

## False alarms

`python benchmarks/false_alarms.py` replays good artifacts (ONNX fp32, fp16 and w8a8, split and fused; OpenVINO fp32,
fp16 and w8a8) 200 times in all, in fresh processes and on several numbers of threads, and exits with 1 if any fails.
On 2 cores of an x86-64 server: 0 of 200 failed.
"""


def main() -> None:
    """Measure every mutant and write the file."""
    with scratch_emoji() as emoji:
        outcomes = {case: measured(emoji, *case) for case in CASES}
    PATH.parent.mkdir(exist_ok=True)
    PATH.write_text(text_from_outcomes(outcomes))


def measured(emoji: Emoji, form: str, name: str) -> Outcome:
    """Make one mutant and judge it."""
    artifact = emoji.artifact(form)
    with damaged(artifact, MUTANTS[name], emoji.folder / f"mutant-{os.getpid()}") as mutant:
        return outcome_of(mutant, emoji.reference, emoji.drawn(form))


def text_from_outcomes(outcomes: Mapping[tuple[str, str], Outcome]) -> str:
    """Return the whole file."""
    caught = {form: [bool(o.failed["fp32"]) for (f, _), o in outcomes.items() if f == form] for form in FORMS}
    counts = "\n".join(
        f"- {form}: {sum(told)} of {len(told)} caught by the limits of fp32" for form, told in caught.items()
    )
    text = HEAD.format(dash=NOTHING, limits=limits_table(), cases=NUMBER, counts=counts)
    for form in FORMS:
        text += f"\n### {form}\n\n{_header()}"
        text += "".join(row_from_outcome(name, o) + "\n" for (f, name), o in outcomes.items() if f == form)
    return text + tail_from_rows(rows_of(text))


def tail_from_rows(rows: Mapping[tuple[str, str], list[str]]) -> str:
    """Return what is said below the tables; its figures are the rows' own."""
    passing = "\n".join(f"- {form}: {_passing(rows, form)}" for form in FORMS)
    psnr = {case: cells[3] for case, cells in rows.items()}
    unseen = [float(figure) for (_, name), figure in psnr.items() if name in UNSEEN]
    return TAIL.format(
        passing=passing,
        least=f"{min(unseen):.0f}",
        nan=psnr["onnx fused", "nan_first_pixel"],
        channels=psnr["coreml split", "coreml two_channels_swapped"],
        byte=psnr["coreml split", "coreml highest_byte_flipped"],
    )


def limits_table() -> str:
    """Return the table of limits."""
    lines = [f"| scheme | {' | '.join(COLUMNS.values())} |", f"|---{'|---' * len(COLUMNS)}|"]
    lines += [f"| {name} | {' | '.join(_limit(row, f.name) for f in fields(row))} |" for name, row in LIMITS.items()]
    return "\n".join(lines)


def row_from_outcome(name: str, outcome: Outcome) -> str:
    """Return one mutant's row."""
    figures = (_db(outcome.x0_sqnr_db), _db(outcome.image_psnr_db), _ssim(outcome.image_ssim))
    verdicts = ("caught" if outcome.failed[scheme] else "passes" for scheme in ("fp16", "w8a8"))
    what = MUTANTS[name].what
    return f"| `{name}` | {what} | {' | '.join(figures)} | {caught_by(outcome)} | {' | '.join(verdicts)} |"


def caught_by(outcome: Outcome) -> str:
    """Return the gates of fp32 that fail, in words."""
    names = [one if one == NOT_LOADED else measure_name(one) for one in outcome.failed["fp32"]]
    return ", ".join(names) or "passes"


def rows_of(text: str) -> dict[tuple[str, str], list[str]]:
    """Return (form, mutant) -> the cells of its row, from the file's text."""
    rows, form = {}, ""
    for line in text.splitlines():
        form = line.removeprefix("### ") if line.startswith("### ") else form
        if match := re.match(r"\| `([^`]+)` \| ", line):
            rows[form, match[1]] = [cell.strip() for cell in line.strip("|").split("|")]
    return rows


def _passing(rows: Mapping[tuple[str, str], list[str]], form: str) -> str:
    names = [name for (f, name), cells in rows.items() if f == form and cells[5] == "passes"]
    return ", ".join(f"`{name}`" for name in names)


def _header() -> str:
    names = (
        "mutant",
        "what is wrong",
        "x0 SQNR",
        "image PSNR",
        "image SSIM",
        "caught by",
        "fp16 limits",
        "w8a8 limits",
    )
    return f"| {' | '.join(names)} |\n|{'---|' * len(names)}\n"


def _limit(row: Limits, field: str) -> str:
    value = getattr(row, field)
    if value is None:
        return NOTHING
    return f"{1 - value:.2f} to {1 + value:.2f}" if field == "spread" else f"≥ {value:g}"


def _db(value: float) -> str:
    return NOTHING if math.isnan(value) else f"{value:.1f}".replace("-", "\N{MINUS SIGN}")


def _ssim(value: float) -> str:
    return NOTHING if math.isnan(value) else f"{value:.4f}".replace("-", "\N{MINUS SIGN}")


if __name__ == "__main__":
    main()
