"""A Source -> a checked Checkpoint: configs, weight files, lazily read tensors, hash. Nothing here imports torch.

Only pickles need it, to find out where in the file each tensor begins.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from edgestep.artifact import BadInput
from edgestep.export.source.bases import BASES, Base, Part, base_of_pipeline
from edgestep.export.source.files import check_weight_file, files_by_name, sha256_of_files, weight_files
from edgestep.export.source.json_files import read_json
from edgestep.export.source.lora import fuse_lora
from edgestep.export.source.names import named_as_module, without_wrappers
from edgestep.export.source.pickles import PICKLES, weights_from_pickle
from edgestep.export.source.source import Source
from edgestep.export.source.weights import LazyWeight, Weights, weights_from_safetensors

SCHEDULER, TOKENIZER = "scheduler_config.json", "tokenizer_config.json"
TINY = Part(("AutoencoderTiny",), "diffusion_pytorch_model")


@dataclass(frozen=True)
class Checkpoint:
    """What was handed over, checked. Component names are folder names: text_encoder, unet or transformer, vae ...

    `base`: sd, sdxl, pixart or sana. `configs`: component -> its config, scheduler and tokenizers too; `classes`:
    component -> the class that is built from it; `weights`: component -> its files; `tensors`: component -> its
    tensors by the names of that class, read one at a time, a LoRA fused. With `source.unet` and `source.decoder`,
    those of the denoiser and the VAE come from there.
    `sha256` is over the configs, the tokenizers, the weights and what the source says beside them. `pickled`: some
    weights are pickles, which the caller has allowed. `card` is the front matter of README.md, `licence` its
    `license`, else "unknown".
    """

    folder: Path
    pipeline_class: str
    scheduler_class: str
    configs: Mapping[str, Mapping[str, Any]]
    weights: Mapping[str, tuple[Path, ...]]
    sha256: str
    licence: str
    card: Mapping[str, str]
    source: Source
    base: str
    classes: Mapping[str, str]
    tensors: Mapping[str, Weights]
    pickled: bool = False

    @property
    def denoiser(self) -> str:
        """Name of the component that is run in steps: "unet" or "transformer"."""
        return BASES[self.base].denoiser

    @property
    def tokenizers(self) -> tuple[str, ...]:
        """Folders of the tokenizers, the first one's first."""
        return tuple(BASES[self.base].tokenizers)

    @property
    def variant(self) -> str | None:
        """The diffusers variant that the weights are stored in: "fp16" for *.fp16.safetensors."""
        return "fp16" if ".fp16." in self.weights[self.denoiser][0].name else None


BUNDLED = Path(__file__).parents[2] / "checkpoints"
TINY_DECODER = "emoji-tiny"
"""The name of the tiny decoder that is shipped beside the bundled generator."""


def decoder_folder(name: str) -> Path:
    """Return the folder that a decoder's name means: "emoji-tiny" is the bundled one; a folder is checked later."""
    return BUNDLED / "emoji_tiny_decoder" if name == TINY_DECODER else Path(name)


def checkpoint_folder(name: str) -> Path:
    """Return the folder that a name means: "emoji" is the bundled one, else a folder, else a hub id "org/name".

    Raises BadInput where it is none of them, or the hub cannot be reached.
    """
    if name == "emoji":
        return BUNDLED / "emoji"
    path = Path(name)
    if path.exists():
        return path
    if name.count("/") != 1 or name.startswith((".", "/", "~")) or name.endswith("/"):
        raise BadInput(f"got {name!r}, which is no folder; expected a diffusers folder, a hub id 'org/name' or 'emoji'")
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise BadInput(f"got the hub id {name!r} without huggingface_hub; pip install 'edgestep[export]'") from error
    try:
        # No pickle comes down, and no second copy of everything in one file at the top.
        patterns = ["*.json", "*.txt", "*/*.safetensors", "tokenizer*/*.model", "README.md"]
        ignored = ["safety_checker/*", "image_encoder/*", "*/*.non_ema.*", "*/flax_*"]
        return Path(snapshot_download(name, allow_patterns=patterns, ignore_patterns=ignored))
    except Exception as error:  # the hub's client raises a dozen unrelated classes
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise BadInput(
            f"got {name!r}, which is no folder here and could not be fetched ({reason}); expected a diffusers folder, "
            "or a hub id and a network; download it and give the folder"
        ) from error


def open_checkpoint(folder: Path, *, allow_pickle: bool = False) -> Checkpoint:
    """Open a diffusers folder as it is: `open_source(Source(folder))`."""
    return open_source(Source(folder, allow_pickle=allow_pickle))


def open_source(source: Source) -> Checkpoint:
    """Check what a user hands over and return what it holds; only configs and headers of weights are read.

    Raises BadInput where there is no model_index.json, the pipeline or a component is another class, a config or a
    weight file is missing, a .safetensors is truncated or garbage, an index names a shard that is not there, or the
    weights are pickles and `allow_pickle` is not set (reading them then still runs no code).
    """
    folder = source.folder
    index, base = _index(folder)
    parts = {**base.parts, "vae": TINY} if source.decoder else dict(base.parts)
    folders = {name: folder / name for name in parts} | ({"vae": source.decoder} if source.decoder else {})
    configs = {name: _config(base, path, "config.json") for name, path in folders.items()}
    configs["scheduler"] = _config(base, folder / "scheduler", SCHEDULER)
    configs |= {name: _config(base, folder / name, TOKENIZER) for name in base.tokenizers}
    _check_denoiser(base, folder, configs[base.denoiser])
    weights = {name: _files_of(source, base, name, folders[name], part) for name, part in parts.items()}
    classes = {name: _class_of(folders[name], configs[name], index, name, part) for name, part in parts.items()}
    tensors: dict[str, Weights] = {
        name: _tensors(source, base, name, parts[name], classes[name], weights[name]) for name in parts
    }
    if source.lora is not None:
        pickles = source.allow_pickle
        tensors = fuse_lora(tensors, source.lora, source.lora_scale, denoiser=base.denoiser, allow_pickle=pickles)
    card = _front_matter(folder / "README.md")
    return Checkpoint(
        folder=folder,
        pipeline_class=index["_class_name"],
        scheduler_class=index["scheduler"][1],
        configs=configs,
        weights=weights,
        sha256=_sha256(source, base, folders, weights),
        licence=card.get("license", "unknown"),
        card=card,
        source=source,
        base=base.name,
        classes=classes,
        tensors=tensors,
        pickled=any(path.suffix in PICKLES for paths in weights.values() for path in paths),
    )


def sha256_with_vae(checkpoint: Checkpoint) -> str:
    """Return what `sha256` would be without the tiny decoder; "" where there is none, or no VAE in the folder."""
    if checkpoint.source.decoder is None:
        return ""
    try:
        return open_source(replace(checkpoint.source, decoder=None)).sha256
    except BadInput:
        return ""


def _index(folder: Path) -> tuple[dict[str, Any], Base]:
    if folder.is_file():
        raise BadInput(f"got the file {folder}; expected a diffusers folder with model_index.json; convert it first")
    if not folder.is_dir():
        raise BadInput(f"got {folder}, which does not exist; expected a diffusers folder; check the name")
    path = folder / "model_index.json"
    if not path.is_file():
        raise BadInput(f"got {folder} without model_index.json; expected a diffusers folder of {_pipelines()}")
    index = read_json(path)
    base = base_of_pipeline(index.get("_class_name"))
    if base is None:
        raise BadInput(f"got pipeline class {index.get('_class_name')!r} in {path}; expected {_pipelines()}")
    for component, part in base.parts.items():
        _check_entry(base, path, index, component, part.classes)
    for component, classes in base.tokenizers.items():
        _check_entry(base, path, index, component, classes)
    entry = index.get("scheduler")
    if not (isinstance(entry, list) and len(entry) == 2 and isinstance(entry[1], str)):
        raise BadInput(f"got {entry!r} for scheduler in {path}; expected its library and class; save it again")
    return index, base


def _pipelines() -> str:
    return ", ".join(name for base in BASES.values() for name in base.pipelines)


def _check_entry(base: Base, path: Path, index: Mapping[str, Any], component: str, classes: tuple[str, ...]) -> None:
    entry = index.get(component)
    if not (isinstance(entry, list) and len(entry) == 2 and entry[1] in classes):
        raise BadInput(f"got {entry!r} for {component} in {path}; expected class {' or '.join(classes)}: {base.says}")


def _config(base: Base, folder: Path, name: str) -> dict[str, Any]:
    path = folder / name
    if not path.is_file():
        raise BadInput(f"got no {folder.name}/{name} in {folder.parent}; expected {base.says}; download it again")
    return read_json(path)


def _check_denoiser(base: Base, folder: Path, config: Mapping[str, Any]) -> None:
    for key in base.null:
        if config.get(key):
            raise BadInput(f"got {key} = {config[key]!r} in {folder / base.denoiser}; expected null: {base.says}")
    for key, value in base.equal.items():
        if config.get(key, DEFAULTS.get(key)) != value:
            got = config.get(key, DEFAULTS.get(key))
            raise BadInput(f"got {key} = {got!r} in {folder / base.denoiser}; expected {value!r}: {base.says}")


DEFAULTS = {"resnet_time_scale_shift": "default", "norm_type": "ada_norm_single"}
"""What a config means that does not say."""


def _files_of(source: Source, base: Base, name: str, folder: Path, part: Part) -> tuple[Path, ...]:
    if name == base.denoiser and source.unet is not None:
        check_weight_file(source.unet, allow_pickle=source.allow_pickle)
        return (source.unet,)
    return weight_files(folder, part.stem, allow_pickle=source.allow_pickle, strict=name == base.denoiser)


def _class_of(folder: Path, config: Mapping[str, Any], index: Mapping[str, Any], name: str, part: Part) -> str:
    """Return the class to build: the index's, and where the folder was handed over its own config's."""
    entry = config.get("_class_name") if part is TINY else index[name][1]
    if entry not in part.classes:
        raise BadInput(f"got {entry!r} in {folder / 'config.json'}; expected {' or '.join(part.classes)}; give another")
    return part.rename.get(entry, entry)


def _tensors(source: Source, base: Base, name: str, part: Part, kind: str, paths: tuple[Path, ...]) -> Weights:
    found: dict[str, LazyWeight] = {}
    for path in paths:
        found |= weights_from_safetensors((path,)) if path.suffix not in PICKLES else weights_from_pickle(path)
    if name == base.denoiser and source.unet is not None:
        found = without_wrappers(found, str(source.unet))
    return named_as_module(kind, found, part.extras)


def _sha256(source: Source, base: Base, folders: Mapping[str, Path], weights: Mapping[str, tuple[Path, ...]]) -> str:
    folder = source.folder
    files = {"model_index.json": folder / "model_index.json"}
    files |= {f"scheduler/{SCHEDULER}": folder / "scheduler" / SCHEDULER}
    for name in base.tokenizers:
        files |= files_by_name(folder, (p for p in (folder / name).iterdir() if p.is_file()), name)
    for name, path in folders.items():
        files |= files_by_name(folder, (path / "config.json", *weights[name]), name)
    if source.lora is not None:
        files["lora"] = source.lora
    # How the files are called where they lie is no part of it, so that a copy hashes the same.
    paths = {"folder", "unet", "lora", "decoder", "allow_pickle"}
    plain = Source(folder)
    said = {f.name: getattr(source, f.name) for f in fields(Source) if f.name not in paths}
    said = {name: value for name, value in said.items() if value != getattr(plain, name)}
    return sha256_of_files(files, said)


def _front_matter(readme: Path) -> dict[str, str]:
    """Return the plain `key: value` lines between the two `---` that a model card opens with."""
    lines = readme.read_text(errors="replace").splitlines() if readme.is_file() else []
    if not lines or lines[0].strip() != "---":
        return {}
    found: dict[str, str] = {}
    for line in lines[1:]:
        if line.strip() == "---":
            return found
        key, colon, value = line.partition(":")
        if colon and not line.startswith((" ", "-", "#")) and value.strip():
            found[key.strip()] = value.strip().strip("'\"")
    return {}
