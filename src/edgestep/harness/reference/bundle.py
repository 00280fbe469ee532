"""A reference bundle on disk: reference.json and cases.safetensors. Reading one needs no torch and trusts nothing.

Tensors are named `case-00.noise` and so on; every one that is there must belong to a case of the index.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from edgestep.artifact import BadInput, sha256_of_file
from edgestep.harness.machine import Machine
from edgestep.harness.plain import from_plain, plain_from
from edgestep.harness.reference.fingerprint import Fingerprint

REFERENCE_SCHEMA = "edgestep.reference/1"
INDEX, TENSORS = "reference.json", "cases.safetensors"
INPUTS = ("input_ids", "input_ids_2", "attention_mask", "noise", "more_noise")
"""The tensors of a case that go in; the others are what came out."""
OF_BASE = {"sdxl": ("input_ids_2", "pooled"), "pixart": ("attention_mask",), "sana": ("attention_mask",)}
"""Base -> the tensors that its cases have beside those that every case has; loops have `more_noise` too."""


@dataclass(frozen=True, eq=False)
class ReferenceCase:
    """One case, batch 1, of a contract with T tokens, latents (C, h, w) and pictures (H, W).

    `input_ids` int64 [1, T]; `noise` float32 [1, C, h, w], standard normal, before any scaling; `prompt_embeds`
    float32 [1, T, D]; `x0` float32 [1, C, h, w]; `image` float32 [1, H, W, 3] in [0, 1]; `picture` uint8 [1, H, W, 3].

    None where the base has none: `input_ids_2` int64 [1, T] and `pooled` float32 [1, E] (sdxl, where `prompt_embeds`
    are both encoders' side by side), `attention_mask` int64 [1, T] (pixart, sana), `more_noise` float32
    [n-1, 1, C, h, w] (loops).
    """

    name: str
    prompt: str
    input_ids: np.ndarray
    noise: np.ndarray
    prompt_embeds: np.ndarray
    x0: np.ndarray
    image: np.ndarray
    picture: np.ndarray
    input_ids_2: np.ndarray | None = None
    attention_mask: np.ndarray | None = None
    more_noise: np.ndarray | None = None
    pooled: np.ndarray | None = None

    @property
    def inputs(self) -> dict[str, np.ndarray]:
        """What a drawer is given, by name: ids, mask and noises, those that the case has."""
        named = {name: getattr(self, name) for name in INPUTS}
        return {name: array for name, array in named.items() if array is not None}


@dataclass(frozen=True)
class CaseIndex:
    """What the index says of a case."""

    name: str
    prompt: str


@dataclass(frozen=True)
class ReferenceIndex:
    """reference.json. `floor`: "fp16 x0_sqnr_db" and the like -> the worst over some cases (NaN: it drew NaN); `notes`
    explain it. `fingerprint` is empty in bundles recorded before it was written.

    `label` says what drew it in words: "PyTorch fp32 on the CPU, no GPU here". `formula_by`: "scheduler" where
    diffusers' own scheduler took the step, "contract" where it has none for it. `checkpoint_sha256` covers the base
    folder, what goes over it and what was overridden by hand. `base`, `steps` and `family` are the contract's; bundles
    recorded before they were written are of one step on sd.
    """

    schema: str
    label: str
    device: str
    precision: str
    checkpoint_sha256: str
    timestep: float
    prompt_tokens: int
    latent_shape: tuple[int, int, int]
    image_size: tuple[int, int]
    machine: Machine
    tools: Mapping[str, str]
    floor: Mapping[str, float]
    cases: tuple[CaseIndex, ...]
    tensors_sha256: str
    recorded: str
    notes: tuple[str, ...] = field(default=())
    base: str = "sd"
    steps: int = 1
    family: str = ""
    formula_by: str = "scheduler"
    fingerprint: Fingerprint = field(default=Fingerprint())


@dataclass(frozen=True, eq=False)
class Reference:
    """A bundle in memory: its index, and its cases in the index's order."""

    index: ReferenceIndex
    cases: tuple[ReferenceCase, ...]


_OPTIONAL = ("input_ids_2", "attention_mask", "more_noise", "pooled")
_ALWAYS = tuple(f.name for f in fields(ReferenceCase) if f.name not in ("name", "prompt", *_OPTIONAL))


def arrays_of(index: ReferenceIndex) -> tuple[str, ...]:
    """Return the names of the tensors that each case of such a bundle has."""
    return (*_ALWAYS, *OF_BASE.get(index.base, ()), *(("more_noise",) if index.steps > 1 else ()))


def write_bundle(folder: Path, index: Mapping[str, Any], cases: tuple[ReferenceCase, ...]) -> None:
    """Write both files into `folder`, the index last; equal cases and index give equal bytes but for `recorded`."""
    from safetensors.numpy import save

    arrays = {(c.name, a): getattr(c, a) for c in cases for a in (*_ALWAYS, *_OPTIONAL)}
    tensors = {f"{c}.{a}": np.ascontiguousarray(array) for (c, a), array in arrays.items() if array is not None}
    (folder / TENSORS).write_bytes(save(tensors))  # save_file would make it readable by its owner only
    whole = {
        **index,
        "schema": REFERENCE_SCHEMA,
        "cases": [{"name": case.name, "prompt": case.prompt} for case in cases],
        "tensors_sha256": sha256_of_file(folder / TENSORS),
    }
    (folder / INDEX).write_text(json.dumps(plain_from(whole), indent=1, sort_keys=True, allow_nan=False) + "\n")


def read_reference(folder: Path) -> Reference:
    """Read and check a bundle.

    Raises BadInput where a file is missing, broken or of another schema, the tensors' hash differs, or a tensor is
    missing, belongs to no case, has another dtype or shape than the index's contract, or is not finite.
    """
    index = _read_index(folder)
    tensors = _read_tensors(folder, index)
    names = arrays_of(index)
    expected = {f"{case.name}.{array}" for case in index.cases for array in names}
    if tensors.keys() != expected:
        wrong = sorted(tensors.keys() ^ expected)[0]
        state = "has no" if wrong in expected else "has one more,"
        raise _broken(folder, f"{TENSORS} {state} {wrong}", f"the tensors of {len(index.cases)} cases")
    cases = []
    for entry in index.cases:
        arrays = {array: tensors[f"{entry.name}.{array}"] for array in names}
        case = ReferenceCase(entry.name, entry.prompt, **arrays)
        _check_case(folder, index, case)
        cases.append(case)
    return Reference(index, tuple(cases))


def _read_index(folder: Path) -> ReferenceIndex:
    path = folder / INDEX
    if not path.is_file():
        raise BadInput(
            f"got {folder} without {INDEX}; expected a reference bundle; record one with 'edgestep reference'"
        )
    try:
        raw = json.loads(path.read_text())
        schema = raw.get("schema") if isinstance(raw, dict) else None
        if schema != REFERENCE_SCHEMA:
            raise BadInput(f"got schema {schema!r} in {path}; expected {REFERENCE_SCHEMA!r}; record it again")
        index = from_plain(ReferenceIndex, raw)
    except ValueError as error:
        raise _broken(folder, f"{INDEX} that does not fit ({error})", REFERENCE_SCHEMA) from error
    names = [case.name for case in index.cases]
    if not names or len(set(names)) != len(names):
        raise _broken(folder, f"the case names {names}", "one or more cases, each name once")
    if index.steps < 1:
        raise _broken(folder, f"{index.steps} steps", "1 or more")
    if not math.isfinite(index.timestep):
        raise _broken(folder, "a timestep that is not finite", "a number")
    return index


def _read_tensors(folder: Path, index: ReferenceIndex) -> dict[str, np.ndarray]:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    path = folder / TENSORS
    if not path.is_file():
        raise _broken(folder, f"no {TENSORS}", "it beside the index")
    if sha256_of_file(path) != index.tensors_sha256:
        raise _broken(folder, f"other bytes in {TENSORS} than the index lists", f"SHA-256 {index.tensors_sha256}")
    try:
        return load_file(path)
    except (SafetensorError, ValueError, KeyError, OSError) as error:
        raise _broken(folder, f"{TENSORS} that cannot be read ({error})", "safetensors") from error


def _check_case(folder: Path, index: ReferenceIndex, case: ReferenceCase) -> None:
    for array, (dtype, shape) in _expected_of(index, case).items():
        value = getattr(case, array)
        if value.dtype != dtype or value.shape != shape:
            got = f"{case.name}.{array} {value.dtype} {list(value.shape)}"
            raise _broken(folder, got, f"{dtype} {list(shape)}")
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            raise _broken(folder, f"{case.name}.{array} with NaN or infinity", "finite numbers")


def _expected_of(index: ReferenceIndex, case: ReferenceCase) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Return {tensor: (dtype, shape)}; widths are the case's own, and sana drops the embeddings of its instruction."""
    latent, picture, tokens = (1, *index.latent_shape), (1, *index.image_size, 3), (1, index.prompt_tokens)
    length, width = case.prompt_embeds.shape[1:] if case.prompt_embeds.ndim == 3 else (-1, -1)
    length = length if index.base == "sana" else index.prompt_tokens
    pooled = case.pooled.shape[-1] if case.pooled is not None and case.pooled.ndim else -1
    shapes = {
        "input_ids": ("int64", tokens),
        "input_ids_2": ("int64", tokens),
        "attention_mask": ("int64", tokens),
        "noise": ("float32", latent),
        "more_noise": ("float32", (index.steps - 1, *latent)),
        "prompt_embeds": ("float32", (1, length, width)),
        "pooled": ("float32", (1, pooled)),
        "x0": ("float32", latent),
        "image": ("float32", picture),
        "picture": ("uint8", picture),
    }
    return {array: shapes[array] for array in arrays_of(index)}


def _broken(folder: Path, got: str, expected: str) -> BadInput:
    return BadInput(f"got {got} in {folder}; expected {expected}; copy the bundle again, or record it again")
