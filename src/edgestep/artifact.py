"""The contract that every room shares: what an artifact is, on disk and in memory.

An artifact is a folder with `edgestep.json` (the manifest) and the files that the manifest lists. A reader trusts
nothing that it has not checked: schema, paths that stay inside the folder, sizes, hashes.
"""

import hashlib
import json
import math
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from importlib import metadata
from pathlib import Path, PurePosixPath
from typing import Any

MANIFEST = "edgestep.json"
SCHEMA = "edgestep.artifact/1"
GOLDEN = "golden"
"""Folder in an artifact for what PyTorch drew in a few cases, to be replayed on the device."""


class BadInput(Exception):
    """Input that cannot be used: one line that says what was got, what was expected and what to do. Exit status 2."""


@dataclass(frozen=True)
class TensorSpec:
    """Name, numpy dtype name and shape of one input or output: `TensorSpec("noise", "float32", (1, 16, 8, 8))`."""

    name: str
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class File:
    """One file of an artifact: POSIX path inside the folder, SHA-256 in hex, size in bytes."""

    path: str
    sha256: str
    bytes: int


@dataclass(frozen=True)
class SizedFunction:
    """A function of a file that holds several: its name, latents (C, h, w) and picture (H, W)."""

    name: str
    latent_shape: tuple[int, int, int]
    image_size: tuple[int, int]


@dataclass(frozen=True)
class Component:
    """One graph: text_encoder, unet, vae_decoder (split) or generator (fused); `file` is what a runtime opens.

    `pieces`: files of a graph that was cut, in the order in which they run, `file` the first; each is fed with the
    graph's inputs and what the piece before it gives. Empty for a graph in one file. `functions`: those of a file that
    draws several sizes, the default one, of the contract's size, first; else empty.
    """

    name: str
    file: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    pieces: tuple[str, ...] = ()
    functions: tuple[SizedFunction, ...] = ()

    @property
    def files(self) -> tuple[str, ...]:
        """What a runtime opens, one after the other."""
        return self.pieces or (self.file,)


@dataclass(frozen=True)
class Tokens:
    """A second tokenizer: its folder, the input that its ids feed, what it pads to, and its special tokens."""

    folder: str
    input: str
    prompt_tokens: int
    bos_token_id: int
    eos_token_id: int
    pad_token_id: int
    tokenizer_sha256: str


@dataclass(frozen=True)
class NextStep:
    """A later step of a 2- or 4-step student: z' = m_z z + m_x x0 + m_n n, then x0' = k_z z' - k_e F(k_in z', t, c).

    z and x0 are those of the step before, n is fresh standard normal noise (not used where m_n is 0).
    """

    timestep: float
    k_in: float
    k_z: float
    k_e: float
    m_z: float
    m_x: float
    m_n: float


@dataclass(frozen=True)
class OneStep:
    """One step, one formula: x_in = k_in z, x0 = k_z z - k_e F(x_in, t, c).

    image = decode(x0 / latent_scale + latent_shift). z is standard normal noise. `latent_shape` is (C, h, w),
    `image_size` is (H, W). `guidance` is always "none": the generator is distilled, a client must not apply
    classifier-free guidance. `tokenizer_sha256` is the hash of tokenizer/tokenizer.json.

    `base`: the pipeline that it comes from, which says how a prompt becomes inputs: sd (one CLIP), sdxl (two CLIPs and
    pooled embeddings), pixart (T5 and its attention mask), sana (Gemma 2 and its mask). `more_tokenizers`: the second
    CLIP's of sdxl. `guidance_embedding`: the guidance scale that an LCM's network was told, folded in.
    `prompt_prefix`: text that goes before every prompt (sana). `decoder`: "vae", or "tiny" for an approximation of it.
    `next_steps`: empty for one step, else the loop.
    """

    family: str
    timestep: float
    prediction_type: str
    k_in: float
    k_z: float
    k_e: float
    latent_scale: float
    latent_shift: float
    latent_shape: tuple[int, int, int]
    image_size: tuple[int, int]
    prompt_tokens: int
    bos_token_id: int
    eos_token_id: int
    pad_token_id: int
    tokenizer_sha256: str
    guidance: str = "none"
    base: str = "sd"
    more_tokenizers: tuple[Tokens, ...] = ()
    guidance_embedding: float | None = None
    prompt_prefix: str = ""
    decoder: str = "vae"
    next_steps: tuple[NextStep, ...] = ()


@dataclass(frozen=True)
class Artifact:
    """A manifest. `key` names what it was made from (checkpoint hash, options, version): equal key, equal artifact.

    `format`: onnx, openvino or coreml. `scheme`: fp32, fp16, w8a8 ... `layout`: split or fused. `parent`: the key
    of the artifact that it was quantized from, "" where it came from the checkpoint. `with_vae_sha256`: where a tiny
    decoder stands in for the VAE, the hash of the same checkpoint with its VAE, whose reference it may be held against.
    `options`: what else its graphs were made for; of Core ML `attention`, `compute_unit` and `deployment_target`.
    """

    name: str
    target: str
    format: str
    scheme: str
    layout: str
    contract: OneStep
    components: tuple[Component, ...]
    files: tuple[File, ...]
    checkpoint_sha256: str
    key: str
    parent: str = ""
    licence: str = "unknown"
    tools: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    with_vae_sha256: str = ""
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def bytes(self) -> int:
        """Size of all files that the manifest lists, in bytes, the golden bundle apart: no app ships it."""
        return sum(file.bytes for file in self.files if not file.path.startswith(f"{GOLDEN}/"))

    def component(self, name: str) -> Component:
        """Return the component of that name."""
        for component in self.components:
            if component.name == name:
                return component
        raise BadInput(
            f"got no component {name!r} in {self.name}; expected one of {', '.join(c.name for c in self.components)}; "
            "choose one of these, or export the other layout"
        )


def sha256_of_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hex, reading it in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_of_json(value: Any) -> str:
    """Return the SHA-256 of a value as canonical JSON: the key of a stage."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def tool_versions(*packages: str) -> dict[str, str]:
    """Return {package: version} of those of `packages` that are installed, edgestep always among them."""
    versions = {}
    for package in ("edgestep", *packages):
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions


def files_in(folder: Path) -> tuple[File, ...]:
    """Return a `File` for everything in `folder` but the manifest, sorted by path."""
    found = sorted(p for p in folder.rglob("*") if p.is_file() and p.relative_to(folder).as_posix() != MANIFEST)
    return tuple(File(p.relative_to(folder).as_posix(), sha256_of_file(p), p.stat().st_size) for p in found)


def write_manifest(folder: Path, artifact: Artifact) -> None:
    """Write the manifest into `folder`, in one rename. Call it last, inside `written_aside`."""
    text = json.dumps({"schema": SCHEMA, **asdict(artifact)}, indent=1)
    aside = folder / f".{MANIFEST}.partial"
    aside.write_text(text + "\n")
    os.replace(aside, folder / MANIFEST)


def read_artifact(folder: Path, verify: bool = True) -> Artifact:
    """Read and check a manifest; with `verify`, also that every file has the size and hash that it lists.

    Raises BadInput where there is no manifest, the schema is another one, a field is missing or of another type, a
    path leaves the folder, or a file is missing, truncated or changed.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise BadInput(
            f"got {folder} without {MANIFEST}; expected an artifact folder; make one with 'edgestep export' or 'ship'"
        )
    try:
        raw = json.loads(path.read_text())
        schema = raw.pop("schema")
    except (ValueError, KeyError, AttributeError) as error:
        raise BadInput(f"got a broken {path} ({error}); expected JSON of schema {SCHEMA}; export again") from error
    if schema != SCHEMA:
        raise BadInput(f"got schema {schema!r} in {path}; expected {SCHEMA!r}; export again with this version")
    try:
        artifact = _artifact_from_json(raw)
    except (TypeError, KeyError, ValueError) as error:
        raise BadInput(
            f"got a manifest that does not fit in {path} ({error}); expected {SCHEMA}; export again"
        ) from error
    _check_files(folder, artifact, verify)
    return artifact


def _artifact_from_json(raw: dict[str, Any]) -> Artifact:
    components = tuple(_component(c) for c in raw["components"])
    one_step = _fitting(OneStep, raw["contract"])
    one_step["latent_shape"], one_step["image_size"] = tuple(one_step["latent_shape"]), tuple(one_step["image_size"])
    one_step["more_tokenizers"] = tuple(Tokens(**_fitting(Tokens, t)) for t in one_step.get("more_tokenizers", ()))
    one_step["next_steps"] = tuple(NextStep(**_fitting(NextStep, n)) for n in one_step.get("next_steps", ()))
    contract = OneStep(**one_step)
    constants = [contract.k_in, contract.k_z, contract.k_e, contract.latent_scale]
    constants += [value for step in contract.next_steps for value in asdict(step).values()]
    if not all(math.isfinite(v) for v in constants):
        raise ValueError("a constant of the contract is not finite")
    rest = _fitting(Artifact, raw)
    rest |= {
        "contract": contract,
        "components": components,
        "files": tuple(File(**_fitting(File, f)) for f in raw["files"]),
        "notes": tuple(raw.get("notes", ())),
    }
    return Artifact(**rest)


def _component(raw: dict[str, Any]) -> Component:
    pieces, functions = tuple(raw.get("pieces", ())), tuple(_function(f) for f in raw.get("functions", ()))
    if pieces and pieces[0] != raw["file"]:
        raise ValueError(f"the first piece of {raw['name']} is not its file")
    return Component(raw["name"], raw["file"], _specs(raw["inputs"]), _specs(raw["outputs"]), pieces, functions)


def _function(raw: dict[str, Any]) -> SizedFunction:
    return SizedFunction(raw["name"], tuple(raw["latent_shape"]), tuple(raw["image_size"]))


def _specs(raw: list[dict[str, Any]]) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(s["name"], s["dtype"], tuple(s["shape"])) for s in raw)


def _fitting(kind: type, raw: Mapping[str, Any]) -> dict[str, Any]:
    """Keep the keys that the dataclass knows: a newer writer of the same schema may add more."""
    known = {f.name for f in fields(kind)}
    return {k: v for k, v in raw.items() if k in known}


def _check_files(folder: Path, artifact: Artifact, verify: bool) -> None:
    listed = {file.path for file in artifact.files}
    opened = [(component.name, path) for component in artifact.components for path in component.files]
    for path in [*listed, *(path for _, path in opened)]:
        inside(folder, path)
    for name, path in opened:
        if not any(p == path or p.startswith(path + "/") for p in listed):
            raise BadInput(f"got {path} of {name} not among the files of {folder}; export again")
    for file in artifact.files:
        path = folder / file.path
        size = path.stat().st_size if path.is_file() else -1
        if size != file.bytes:
            got = "nothing" if size < 0 else f"{size} bytes"
            raise BadInput(f"got {got} at {path}; expected {file.bytes} bytes; copy or export the artifact again")
        if verify and sha256_of_file(path) != file.sha256:
            raise BadInput(
                f"got other bytes at {path} than its manifest lists; expected SHA-256 {file.sha256}; export again"
            )


def inside(folder: Path, path: str) -> Path:
    """Return `folder`/`path`; raise BadInput where that is absolute or leaves the folder, by .. or by a link."""
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts or "\\" in path or ":" in path:
        raise BadInput(f"got the path {path!r} in {folder}; expected one that stays inside the folder; do not trust it")
    joined = folder / path
    if not joined.resolve().is_relative_to(folder.resolve()):
        raise BadInput(f"got a link at {joined} that leaves the folder; expected files inside it; do not trust it")
    return joined


@contextmanager
def written_aside(final: Path) -> Iterator[Path]:
    """Yield a fresh folder beside `final`, moved there in one rename when the block ends well, removed when not.

    `final` may exist only as an empty folder. What a killed run left aside is removed first. Raises BadInput where
    `final` is not empty or cannot be written.
    """
    check_writable(final)
    aside = final.parent / f".{final.name}.partial-{os.getpid()}"
    for left in final.parent.glob(f".{final.name}.partial-*"):
        if left == aside or not _runs(left.name.rpartition("-")[2]):
            shutil.rmtree(left, ignore_errors=True)
    aside.mkdir()
    try:
        yield aside
        if final.exists():
            final.rmdir()
        os.replace(aside, final)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _runs(pid: str) -> bool:
    """Tell whether a process of that number is there, which may still be writing."""
    try:
        os.kill(int(pid), 0)
    except (ValueError, ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True


def check_writable(final: Path) -> None:
    """Make `final`'s parent; raise BadInput where `final` is a file or not empty, or its parent cannot be written."""
    if final.is_file() or (final.is_dir() and any(final.iterdir())):
        raise BadInput(f"got {final}, which is not empty; expected a new or empty folder; choose another, or remove it")
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(f"got {final.parent}, which cannot be made ({error.strerror}); choose another folder") from error
    if not os.access(final.parent, os.W_OK):
        raise BadInput(f"got {final.parent}, which cannot be written; expected a writable folder; choose another")
