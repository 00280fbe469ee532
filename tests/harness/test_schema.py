"""The published JSON Schemas: equal to the code's, true of real files, and as strict as the reader, by `jsonschema`."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from edgestep.artifact import BadInput
from edgestep.cli import parity
from edgestep.harness.ci.compare import compare_results
from edgestep.harness.ci.schema import PROMISED, SCHEMAS, schema_named
from edgestep.harness.plain import plain_from
from edgestep.harness.reference.bundle import INDEX
from edgestep.harness.results import LatencyResult, Results
from tests.harness.made_up import made_results

DOCS = Path(__file__).parents[2] / "docs" / "schemas"


def validator(name: str) -> Draft202012Validator:
    return Draft202012Validator(json.loads((DOCS / f"{name}.json").read_text()))


def plain(results: Results) -> Any:
    return json.loads(results.to_json())


@pytest.mark.parametrize("name", SCHEMAS)
def test_the_published_file_is_what_the_code_gives(name: str):
    Draft202012Validator.check_schema(schema_named(name))
    published = json.loads((DOCS / f"{name}.json").read_text())
    assert published == schema_named(name), f"run: edgestep schema {name} > docs/schemas/{name}.json"


def test_nothing_else_is_published():
    assert sorted(path.stem for path in DOCS.iterdir()) == sorted(SCHEMAS)


def test_made_up_results_fit():
    validator("report").validate(plain(made_results()))
    bare = replace(made_results(), artifacts=(), contract=None, checkpoint=None, reference_machine=None)
    validator("report").validate(plain(bare))
    broken = replace(made_results().artifacts[0], latency=LatencyResult("real", failure="crashed"))
    validator("report").validate(plain(replace(made_results(), artifacts=(broken,))))


def test_a_comparison_fits():
    whole = made_results()
    comparison = compare_results(whole, replace(whole, artifacts=whole.artifacts[2:], contract=None))
    validator("comparison").validate(json.loads(json.dumps(plain_from(comparison))))


def test_what_the_commands_write_fits(split_folder: Path, bundle_folder: Path, tmp_path: Path):
    status = parity(split_folder, bundle_folder, json_file=tmp_path / "parity.json")
    written = json.loads((tmp_path / "parity.json").read_text())
    assert (status == 0) == (written["artifacts"][0]["parity"]["verdict"] == "passed")
    validator("parity").validate(written)
    validator("report").validate(written)
    validator("artifact").validate(json.loads((split_folder / "edgestep.json").read_text()))
    validator("reference").validate(json.loads((bundle_folder / INDEX).read_text()))


def test_parity_must_be_judged_and_a_report_need_not():
    unjudged = plain(replace(made_results(), artifacts=(replace(made_results().artifacts[0], parity=None),)))
    assert validator("report").is_valid(unjudged)
    assert not validator("parity").is_valid(unjudged)
    assert not validator("parity").is_valid(plain(replace(made_results(), artifacts=())))


def test_more_keys_are_free():
    raw = plain(made_results())
    for at in (raw, raw["machine"], raw["artifacts"][0], raw["artifacts"][0]["parity"]["gates"][0]):
        at["colour"] = {"any": ["thing"]}
    validator("report").validate(raw)


def test_these_keys_stay():
    """The list of design.md, "Results as JSON": each of them missing is an error."""
    stay = {
        (): "schema machine tools contract artifacts",
        ("artifacts", 0): "name target scheme layout bytes parity latency",
        ("artifacts", 0, "parity"): "verdict gates",
        ("artifacts", 0, "parity", "gates", 0): "measure worst limit case passed",
        ("artifacts", 0, "latency"): "kind load_s first_s p50_s p90_s p99_s interval_s samples_s peak_anonymous_bytes",
    }
    for path, keys in stay.items():
        for key in keys.split():
            raw = plain(made_results())
            del at(raw, path)[key]
            assert not validator("report").is_valid(raw), (path, key)


@pytest.mark.parametrize(
    "path,value",
    [
        (("schema", "version"), 2),
        (("schema", "name"), "edgestep.other"),
        (("artifacts", 0, "parity", "verdict"), "fine"),
        (("artifacts", 0, "latency", "kind"), "guessed"),
    ],
)
def test_words_that_are_not_of_the_vocabulary(path, value):
    raw = plain(made_results())
    at(raw, path[:-1])[path[-1]] = value
    assert not validator("report").is_valid(raw)


def at(raw: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        raw = raw[key]
    return raw


def paths(raw: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    items = raw.items() if isinstance(raw, dict) else enumerate(raw) if isinstance(raw, list) else ()
    for key, value in items:
        yield (*path, key)
        yield from paths(value, (*path, key))


@pytest.mark.parametrize("value", [None, {"x": "y"}, ["z"], True], ids=["null", "object", "list", "true"])
def test_the_schema_accepts_what_the_reader_accepts(value: Any):
    """Put another value in the place of each one, and ask both."""
    whole = made_results()
    small = replace(
        whole, artifacts=whole.artifacts[:1], baselines=whole.baselines[:1], ratios=whole.ratios[:1], cases=()
    )
    text, schema, differ = small.to_json(), validator("report"), []
    for path in paths(json.loads(text)):
        raw = json.loads(text)
        at(raw, path[:-1])[path[-1]] = value
        try:
            Results.from_json(json.dumps(raw))
            reads = True
        except BadInput:
            reads = False
        if reads != schema.is_valid(raw):
            differ.append((path, reads))
    assert differ == []


def test_every_promised_key_is_a_field():
    for kind, keys in PROMISED.items():
        assert set(keys) <= set(kind.__dataclass_fields__), kind


def test_another_name_is_bad_input():
    with pytest.raises(BadInput, match="expected one of report, parity"):
        schema_named("colour")
