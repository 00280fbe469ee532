"""Frozen dataclasses <-> plain JSON values: unknown keys are ignored, a number that is not finite is null.

JSON has no NaN and no infinity, and a reader of another language stops at a bare one: a NaN (a measure that could not
be taken) is written as null and read back as NaN. Measures cap their decibels, so that no infinity arises.
"""

import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar, Union, get_args, get_origin

T = TypeVar("T")


def plain_from(value: Any) -> Any:
    """Return dicts, lists, strings, numbers, booleans and None only; every NaN and infinity is None."""
    if dataclasses.is_dataclass(value):
        return {f.name: plain_from(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain_from(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain_from(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def from_plain(kind: type[T], raw: Any) -> T:
    """Return a `kind` from what `plain_from` left; raise ValueError that names the field where it does not fit."""
    return _read(kind, raw, kind.__name__)


def _read(kind: Any, raw: Any, where: str) -> Any:
    origin, args = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return None if raw is None else _read(next(a for a in args if a is not types.NoneType), raw, where)
    if dataclasses.is_dataclass(kind):
        return _read_dataclass(kind, raw, where)
    if origin is tuple:
        return _read_tuple(args, raw, where)
    if origin is not None and issubclass(origin, Mapping):
        _expect(isinstance(raw, dict), where, "an object", raw)
        return {key: _read(args[1], item, f"{where}.{key}") for key, item in raw.items()}
    if kind is float:
        _expect(raw is None or (isinstance(raw, int | float) and not isinstance(raw, bool)), where, "a number", raw)
        return math.nan if raw is None else float(raw)
    _expect(isinstance(raw, kind) and not (kind is int and isinstance(raw, bool)), where, kind.__name__, raw)
    return raw


def _read_dataclass(kind: Any, raw: Any, where: str) -> Any:
    _expect(isinstance(raw, dict), where, "an object", raw)
    hints = typing.get_type_hints(kind)
    known = {}
    for field in dataclasses.fields(kind):
        if field.name in raw:
            known[field.name] = _read(hints[field.name], raw[field.name], f"{where}.{field.name}")
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise ValueError(f"{where} has no {field.name!r}")
    return kind(**known)


def _read_tuple(args: tuple[Any, ...], raw: Any, where: str) -> tuple[Any, ...]:
    _expect(isinstance(raw, list), where, "a list", raw)
    if len(args) == 2 and args[1] is Ellipsis:
        return tuple(_read(args[0], item, f"{where}[{i}]") for i, item in enumerate(raw))
    _expect(len(raw) == len(args), where, f"a list of {len(args)}", raw)
    return tuple(_read(arg, item, f"{where}[{i}]") for i, (arg, item) in enumerate(zip(args, raw, strict=True)))


def _expect(fits: bool, where: str, expected: str, raw: Any) -> None:
    if not fits:
        raise ValueError(f"{where} is {raw!r:.60}, not {expected}")
