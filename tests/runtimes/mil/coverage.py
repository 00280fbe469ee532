"""python -m tests.runtimes.mil.coverage > docs/coreml.md

What the evaluator knows of MIL, out of coremltools' own list of operations, and what each is held against.
"""

import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SYSTEMS = {6: "iOS 15", 7: "iOS 16", 8: "iOS 17", 9: "iOS 18"}
"""Core ML's specification version -> the system that brought it."""
CONSTANTS = ("const", "_const_symbolic")
"""What the loader reads, not an operation to execute."""
TESTS = Path(__file__).parent
FOREIGN_ROW = re.compile(r"^\| (.+?) \| (iOS \d+) \| ([\d.]+|inf) \|$", re.MULTILINE)

HEAD = """# Core ML without a Mac: what the evaluator knows

`edgestep run`, `parity` and `bisect` execute Core ML's ML Programs with PyTorch, on any machine. This page is written
by `python -m tests.runtimes.mil.coverage > docs/coreml.md`; a test holds it against the code.

What that proves is graph parity: that the program in the package computes what the PyTorch model does, in exact
numbers (`--numerics fp32`) or with every float16 tensor rounded after every operation (`--numerics fp16`). It is not
parity of the Neural Engine, whose arithmetic nobody outside Apple can execute: for that, an artifact carries golden
cases, and `edgestep parity ARTIFACT --runtime coreml-ane` replays them on a Mac.
"""
OPERATIONS = """
## Operations

All {count} operations of coremltools {version}, from iOS 15 to iOS 18. `new` marks the system that brought an
operation, `changed` one that redefined it. Each is held against coremltools' own `value_inference`, where it has that,
by tests over random shapes, axes and broadcasts; the others against PyTorch, NumPy or what `coremltools.optimize`
decompresses.
An operation that is not here is refused when a package is loaded, by its name, location and opset.

| operation | family | {systems} | evaluated | held against |
|---|---|{rule}---|---|
"""
FOREIGN_HEAD = """
## Programs that nobody here wrote

Small models of `transformers`', `diffusers`' and PyTorch's classes at random weights, converted by
`coremltools.convert` alone in float32, evaluated, and compared with their PyTorch modules. The bar is 80 dB;
inf stands for the same bits.

| architecture | target | SQNR, dB |
|---|---|---|
"""


@dataclass(frozen=True)
class Known:
    """One operation of coremltools: its family, what each specification version did to it, and how it is checked."""

    name: str
    family: str
    systems: tuple[str, ...]
    inferred: bool


def known_operations() -> list[Known]:
    """Return every operation from iOS 15 to iOS 18, by family and name."""
    from coremltools.converters.mil.mil.ops.registry import SSAOpRegistry

    found = []
    for name, versions in SSAOpRegistry.core_ops.items():
        classes = {int(str(version)): cls for version, cls in versions.items()}
        if name in CONSTANTS or not classes.keys() & SYSTEMS.keys():
            continue
        family = next(reversed(classes.values())).__module__.rpartition(".")[2]
        found.append(Known(name, family, _history(classes), any(map(_infers, classes.values()))))
    return sorted(found, key=lambda known: (known.family, known.name))


def _history(classes: dict[int, type]) -> tuple[str, ...]:
    words, last = [], None
    for version in SYSTEMS:
        cls = classes.get(version)
        words.append("-" if cls is None else "new" if last is None else "changed" if cls is not last else "yes")
        last = cls or last
    return tuple(words)


def _infers(cls: type) -> bool:
    return any("value_inference" in base.__dict__ for base in cls.__mro__ if base.__name__ != "Operation")


def operations_tested() -> set[str]:
    """Return every word that the tests of the operations name."""
    words: set[str] = set()
    for path in TESTS.glob("test_*.py"):
        words.update(re.findall(r"\w+", path.read_text()))
    return words


def operation_rows() -> Iterator[str]:
    """Yield the table's rows."""
    from edgestep.runtimes.mil.ops.registry import BLOCK_OPS, OPS

    for known in known_operations():
        evaluated = "yes" if known.name in OPS or known.name in BLOCK_OPS else "no"
        against = "value_inference" if known.inferred else "PyTorch, NumPy or coremltools.optimize"
        yield f"| `{known.name}` | {known.family} | {' | '.join(known.systems)} | {evaluated} | {against} |"


def page(measured: dict[str, float]) -> str:
    """Return docs/coreml.md; `measured` maps foreign architectures to dB."""
    from importlib.metadata import version

    from tests.runtimes.mil.foreign import FOREIGN

    rows = list(operation_rows())
    text = HEAD + OPERATIONS.format(
        count=len(rows),
        version=version("coremltools").rpartition(".")[0] or version("coremltools"),
        systems=" | ".join(SYSTEMS.values()),
        rule="---|" * len(SYSTEMS),
    )
    text += "\n".join(rows) + "\n" + FOREIGN_HEAD
    for name, db in measured.items():
        text += f"| {name} | {FOREIGN[name].target.replace('iOS', 'iOS ')} | {db:.1f} |\n"
    return text


def foreign_figures(text: str) -> dict[str, float]:
    """Return what a page says of the foreign architectures."""
    return {name: float(db) for name, _, db in FOREIGN_ROW.findall(text)}


def main() -> None:
    """Measure and print the page."""
    from tests.runtimes.mil.foreign import FOREIGN, sqnr_of

    with tempfile.TemporaryDirectory() as folder:
        measured = {name: sqnr_of(name, Path(folder)) for name in FOREIGN}
    print(page(measured), end="")


if __name__ == "__main__":
    main()
