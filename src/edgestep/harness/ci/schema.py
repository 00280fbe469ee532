"""Frozen dataclasses -> JSON Schema (draft 2020-12): what the files hold that edgestep writes.

More keys are free, these stay: `additionalProperties` is open everywhere, and a key that is required is never removed
or given another type within a version. A number that could not be taken is null, see plain.py.
"""

import dataclasses
import inspect
import types
import typing
from collections.abc import Mapping
from typing import Any, Union, get_args, get_origin

from edgestep.artifact import SCHEMA as ARTIFACT_SCHEMA
from edgestep.artifact import Artifact, BadInput
from edgestep.harness.bisection.results import BISECT_SCHEMA, BISECT_VERSION, BisectReport
from edgestep.harness.ci.comparison import COMPARISON_SCHEMA, COMPARISON_VERSION, Comparison
from edgestep.harness.model_run import RUN_SCHEMA, RUN_VERSION, ModelRun
from edgestep.harness.reference.bundle import REFERENCE_SCHEMA, ReferenceIndex
from edgestep.harness.results import (
    DEVICE,
    EVALUATED,
    REPORT_SCHEMA,
    REPORT_VERSION,
    VERDICTS,
    ArtifactResult,
    GateResult,
    LatencyResult,
    ParityResult,
    Results,
)

DRAFT = "https://json-schema.org/draft/2020-12/schema"

PROMISED: dict[type, tuple[str, ...]] = {
    Results: ("schema", "machine", "tools", "contract", "artifacts"),
    ArtifactResult: ("name", "target", "scheme", "layout", "bytes", "parity", "latency"),
    ParityResult: ("verdict", "gates"),
    GateResult: ("measure", "worst", "limit", "case", "passed"),
    LatencyResult: (
        *("kind", "load_s", "first_s", "p50_s", "p90_s", "p99_s", "interval_s", "samples_s"),
        "peak_anonymous_bytes",
    ),
    Comparison: ("schema", "worse", "better", "notes", "compared", "added"),
}
"""Keys that are always written, beside those that have no default."""

CLOSED: dict[tuple[type, str], tuple[str, ...]] = {
    (ParityResult, "verdict"): VERDICTS,
    (ParityResult, "evidence"): (DEVICE, EVALUATED),
    (LatencyResult, "kind"): ("real", "emulated"),
    (ModelRun, "evidence"): (DEVICE, EVALUATED),
}
"""Fields of a closed vocabulary."""

_ATOMS: dict[Any, str] = {str: "string", int: "integer", bool: "boolean"}


def schema_named(name: str) -> dict[str, Any]:
    """Return the schema of that name, one of SCHEMAS; raise BadInput for another."""
    if name not in SCHEMAS:
        raise BadInput(f"got the schema {name!r}; expected one of {', '.join(SCHEMAS)}; choose one")
    return SCHEMAS[name]()


def _report(name: str = "report", title: str = "What ship, export, quantize, parity and bench write") -> dict[str, Any]:
    return _whole(name, title, Results, _versioned(REPORT_SCHEMA, REPORT_VERSION))


def _parity() -> dict[str, Any]:
    """The report's object with one artifact or more, each of them judged."""
    schema = _report("parity", "What edgestep parity writes: a report whose artifacts are all judged")
    judged = {"type": "object", "properties": {"parity": {"$ref": f"#/$defs/{ParityResult.__name__}"}}}
    return {**schema, "properties": {"artifacts": {"minItems": 1, "items": judged}}}


def _reference() -> dict[str, Any]:
    return _whole("reference", "reference.json of a reference bundle", ReferenceIndex, {"const": REFERENCE_SCHEMA})


def _artifact() -> dict[str, Any]:
    schema = _whole("artifact", "edgestep.json of an artifact", Artifact, {"const": ARTIFACT_SCHEMA}, null=False)
    schema["$defs"][Artifact.__name__]["required"].insert(0, "schema")
    return schema


def _comparison() -> dict[str, Any]:
    versioned = _versioned(COMPARISON_SCHEMA, COMPARISON_VERSION)
    return _whole("comparison", "What edgestep compare writes", Comparison, versioned)


def _bisect() -> dict[str, Any]:
    versioned = _versioned(BISECT_SCHEMA, BISECT_VERSION)
    return _whole("bisect", "What edgestep bisect writes", BisectReport, versioned)


def _run() -> dict[str, Any]:
    return _whole("run", "What edgestep run writes", ModelRun, _versioned(RUN_SCHEMA, RUN_VERSION))


SCHEMAS = {
    "report": _report,
    "parity": _parity,
    "reference": _reference,
    "artifact": _artifact,
    "comparison": _comparison,
    "bisect": _bisect,
    "run": _run,
}
"""Name -> what makes it."""


def _versioned(name: str, version: int) -> dict[str, Any]:
    properties = {"name": {"const": name}, "version": {"const": version}}
    return {"type": "object", "properties": properties, "required": ["name", "version"]}


def _whole(name: str, title: str, kind: type, schema: dict[str, Any], null: bool = True) -> dict[str, Any]:
    """Return the document: a reference to `kind`'s definition, whose key "schema" is `schema`."""
    definitions: dict[str, Any] = {}
    root = _schema_from_type(kind, definitions, null)
    definitions[kind.__name__]["properties"] = {
        "schema": schema,
        **{key: value for key, value in definitions[kind.__name__]["properties"].items() if key != "schema"},
    }
    head = {"$schema": DRAFT, "$id": f"urn:edgestep:schema:{name}:1", "title": title}
    return {**head, **root, "$defs": dict(sorted(definitions.items()))}


def _schema_from_type(kind: Any, definitions: dict[str, Any], null: bool) -> dict[str, Any]:
    """Return the schema of a field's type; dataclasses go to `definitions`. `null`: a float that is not finite is."""
    origin, args = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        (inner,) = (arg for arg in args if arg is not types.NoneType)
        return _or_null(_schema_from_type(inner, definitions, null))
    if dataclasses.is_dataclass(kind):
        return _schema_from_dataclass(kind, definitions, null)
    if origin is tuple:
        return _schema_from_tuple(args, definitions, null)
    if origin is not None and issubclass(origin, Mapping):
        return {"type": "object", "additionalProperties": _schema_from_type(args[1], definitions, null)}
    if kind is float:
        return {"type": ["number", "null"]} if null else {"type": "number"}
    return {"type": _ATOMS[kind]}


def _schema_from_dataclass(kind: Any, definitions: dict[str, Any], null: bool) -> dict[str, Any]:
    name = kind.__name__
    if name not in definitions:
        definitions[name] = {}  # reserved: a dataclass may hold itself
        hints = typing.get_type_hints(kind)
        fields = dataclasses.fields(kind)
        definitions[name] = {
            "type": "object",
            "description": inspect.cleandoc(kind.__doc__ or ""),
            "properties": {f.name: _schema_from_field(kind, f.name, hints, definitions, null) for f in fields},
            "required": [f.name for f in fields if _always_there(kind, f)],
            "additionalProperties": True,
        }
    return {"$ref": f"#/$defs/{name}"}


def _schema_from_field(
    kind: Any, name: str, hints: Mapping[str, Any], definitions: dict[str, Any], null: bool
) -> dict[str, Any]:
    if (kind, name) in CLOSED:
        return {"enum": list(CLOSED[kind, name])}
    return _schema_from_type(hints[name], definitions, null)


def _schema_from_tuple(args: tuple[Any, ...], definitions: dict[str, Any], null: bool) -> dict[str, Any]:
    if len(args) == 2 and args[1] is Ellipsis:
        return {"type": "array", "items": _schema_from_type(args[0], definitions, null)}
    items = [_schema_from_type(arg, definitions, null) for arg in args]
    return {"type": "array", "prefixItems": items, "minItems": len(items), "maxItems": len(items)}


def _or_null(schema: dict[str, Any]) -> dict[str, Any]:
    if isinstance(schema.get("type"), str) and len(schema) == 1:
        return {"type": [schema["type"], "null"]}
    if schema.get("type") == ["number", "null"]:
        return schema
    return {"anyOf": [schema, {"type": "null"}]}


def _always_there(kind: Any, field: dataclasses.Field[Any]) -> bool:
    if field.name in PROMISED.get(kind, ()):
        return True
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
