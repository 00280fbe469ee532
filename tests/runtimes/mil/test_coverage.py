"""docs/coreml.md says what the evaluator knows, and every operation that it knows has a test."""

from pathlib import Path

from edgestep.runtimes.mil.ops.registry import BLOCK_OPS, MOVES, OPS, RANDOM
from tests.runtimes.mil.coverage import foreign_figures, known_operations, operations_tested, page
from tests.runtimes.mil.foreign import FOREIGN

PAGE = Path(__file__).parents[3] / "docs" / "coreml.md"


def test_the_page_is_what_the_code_gives():
    text = PAGE.read_text()
    assert page(foreign_figures(text)) == text


def test_the_page_has_every_foreign_architecture_above_the_bar():
    figures = foreign_figures(PAGE.read_text())
    assert list(figures) == list(FOREIGN) and len(figures) >= 12
    assert min(figures.values()) >= 80


def test_every_operation_of_coremltools_is_evaluated():
    missing = {known.name for known in known_operations()} - {*OPS, *BLOCK_OPS}
    assert not missing


def test_every_evaluated_operation_is_named_in_a_test():
    assert not {*OPS, *BLOCK_OPS} - operations_tested()


def test_what_is_said_of_operations_is_said_of_operations_that_are_there():
    assert {*OPS, *BLOCK_OPS} >= MOVES | RANDOM
