"""The same rows in Markdown and in a terminal."""

import io
import re
from dataclasses import replace

import pytest
from rich.console import Console

from edgestep.harness.reporting.markdown import escape, markdown_from_results
from edgestep.harness.reporting.summary import COLUMNS
from edgestep.harness.reporting.terminal import table_from_results
from edgestep.harness.results import ParityResult
from tests.harness.made_up import made_artifact, made_latency, made_results


def _table(markdown: str) -> list[list[str]]:
    lines = [line for line in markdown.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def test_markdown_has_one_row_per_artifact_and_the_failed_gate():
    results = made_results()
    markdown = markdown_from_results(results)
    head, _, *rows = _table(markdown)
    assert head == list(COLUMNS) and len(rows) == len(results.artifacts)
    assert all(len(row) == len(COLUMNS) for row in rows)
    assert [row[5] for row in rows] == ["passed"] * 8 + ["failed", "passed", "not checked"]
    assert "- 9 intel w8a8 split: image PSNR 26.4 dB, gate ≥ 28, worst in case-02" in markdown
    assert markdown.startswith("**emoji: 11 artifacts for 3 targets. 9 passed their parity gates, 1 failed,")


@pytest.mark.parametrize("text", ["a|b", "<script>", "two\nlines", "[x](y)", "**bold**", "`code`", "back\\slash"])
def test_text_from_data_cannot_break_the_table(text):
    artifact = made_artifact("x86", "fp32", "split", parity=ParityResult("failed", reason=text))
    results = replace(made_results(), artifacts=(replace(artifact, target=text, scheme=text),))
    markdown = markdown_from_results(results)
    _, _, row = _table(markdown)
    assert len(row) == len(COLUMNS) and row[1] == escape(text) == row[2]
    assert "\n" not in escape(text) and not re.search(r"(?<!\\)[<|*`\[]", escape(text))


def test_an_emulated_latency_is_not_printed():
    slow = made_latency(0.777, kind="emulated")
    results = replace(made_results(), artifacts=(made_artifact("android", "w8a8", "split", latency=slow),))
    assert "777" not in markdown_from_results(results) and "faster" not in markdown_from_results(results)


def test_without_anything():
    bare = replace(made_results(), artifacts=(), baselines=(), ratios=(), checkpoint=None)
    assert "0 artifacts for 0 targets" in markdown_from_results(bare)


@pytest.mark.parametrize("width,columns", [(160, 15), (100, 10)])
def test_the_terminal_shows_what_fits(width, columns):
    table = table_from_results(made_results(), width)
    out = Console(file=io.StringIO(), width=width)
    out.print(table)
    printed = out.file.getvalue()
    assert len(table.columns) == columns and table.row_count == 11
    assert "…" not in printed and "26.4 dB" in printed and "not checked" in printed


def test_markup_in_a_name_is_printed_as_it_is():
    results = replace(made_results(), artifacts=(made_artifact("[red]x[/red]", "fp32", "split"),))
    out = Console(file=io.StringIO(), width=160)
    out.print(table_from_results(results))
    assert "[red]x[/red]" in out.file.getvalue()
