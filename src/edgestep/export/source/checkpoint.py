"""A diffusers folder -> a checked Checkpoint: configs, weight files, hash. Nothing here imports torch."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgestep.artifact import BadInput, inside, sha256_of_file, sha256_of_json
from edgestep.export.source.safetensors_header import read_header

PIPELINES = ("StableDiffusionPipeline",)
CLASSES = {"text_encoder": "CLIPTextModel", "unet": "UNet2DConditionModel", "vae": "AutoencoderKL"}
"""Component with weights -> the only class of it that is exported."""
STEMS = {"text_encoder": "model", "unet": "diffusion_pytorch_model", "vae": "diffusion_pytorch_model"}
PICKLES = (".bin", ".ckpt", ".pkl", ".pt", ".pth")
CONFIGS = {
    "text_encoder": "config.json",
    "unet": "config.json",
    "vae": "config.json",
    "scheduler": "scheduler_config.json",
    "tokenizer": "tokenizer_config.json",
}
SUPPORTED = "a StableDiffusionPipeline of CLIPTextModel, UNet2DConditionModel and AutoencoderKL (Stable Diffusion 1.5)"
NO_UNET = ("addition_embed_type", "class_embed_type", "time_cond_proj_dim", "encoder_hid_dim", "timestep_post_act")
"""UNet config keys that must be null: each adds an input or a time path that the one-step graph does not have."""


@dataclass(frozen=True)
class Checkpoint:
    """A folder that was checked. `configs`: component -> its config; `weights`: component -> its files.

    `sha256` is over the configs, the tokenizer and the weights. `pickled`: the weights are .bin files, which the
    caller has allowed. `card` is the front matter of README.md, `licence` its `license`, else "unknown".
    """

    folder: Path
    pipeline_class: str
    scheduler_class: str
    configs: Mapping[str, Mapping[str, Any]]
    weights: Mapping[str, tuple[Path, ...]]
    sha256: str
    licence: str
    card: Mapping[str, str]
    pickled: bool = False

    @property
    def variant(self) -> str | None:
        """The diffusers variant that the weights are stored in: "fp16" for *.fp16.safetensors."""
        return "fp16" if ".fp16." in self.weights["unet"][0].name else None


def checkpoint_folder(name: str) -> Path:
    """Return the folder that a name means: "emoji" is the bundled one, else a folder, else a hub id "org/name".

    Raises BadInput where it is none of them, or the hub cannot be reached.
    """
    if name == "emoji":
        return Path(__file__).parent.parent / "checkpoints" / "emoji"
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
        patterns = ["*.json", "*.txt", "*/*.safetensors", "README.md"]
        return Path(snapshot_download(name, allow_patterns=patterns, ignore_patterns=["safety_checker/*"]))
    except Exception as error:  # the hub's client raises a dozen unrelated classes
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise BadInput(
            f"got {name!r}, which is no folder here and could not be fetched ({reason}); expected a diffusers folder, "
            "or a hub id and a network; download it and give the folder"
        ) from error


def open_checkpoint(folder: Path, *, allow_pickle: bool = False) -> Checkpoint:
    """Check a diffusers folder and return what it holds.

    Raises BadInput where there is no model_index.json, the pipeline or a component is another class, a config or a
    weight file is missing, a .safetensors is truncated or garbage, or the weights are pickles and `allow_pickle` is not
    set (loading them then still runs no code: torch.load with weights_only=True).
    """
    index = _index(folder)
    configs = {component: _config(folder, component) for component in CONFIGS}
    _check_unet(folder, configs["unet"])
    weights = {component: _weight_files(folder, component, allow_pickle) for component in CLASSES}
    pickled = any(path.suffix in PICKLES for paths in weights.values() for path in paths)
    hashed = [folder / "model_index.json", *(folder / c / f for c, f in CONFIGS.items())]
    hashed += sorted(p for p in (folder / "tokenizer").iterdir() if p.is_file())
    hashed += [path for paths in weights.values() for path in paths]
    card = _front_matter(folder / "README.md")
    return Checkpoint(
        folder=folder,
        pipeline_class=index["_class_name"],
        scheduler_class=index["scheduler"][1],
        configs=configs,
        weights=weights,
        sha256=sha256_of_json({p.relative_to(folder).as_posix(): sha256_of_file(p) for p in hashed}),
        licence=card.get("license", "unknown"),
        card=card,
        pickled=pickled,
    )


def _index(folder: Path) -> dict[str, Any]:
    if folder.is_file():
        raise BadInput(f"got the file {folder}; expected a diffusers folder with model_index.json; convert it first")
    if not folder.is_dir():
        raise BadInput(f"got {folder}, which does not exist; expected a diffusers folder; check the name")
    path = folder / "model_index.json"
    if not path.is_file():
        raise BadInput(f"got {folder} without model_index.json; expected a diffusers folder of {SUPPORTED}")
    index = _json(path)
    if index.get("_class_name") not in PIPELINES:
        raise BadInput(f"got pipeline class {index.get('_class_name')!r} in {path}; expected {SUPPORTED}")
    for component, expected in CLASSES.items():
        entry = index.get(component)
        if not (isinstance(entry, list) and len(entry) == 2 and entry[1] == expected):
            raise BadInput(f"got {entry!r} for {component} in {path}; expected class {expected}: {SUPPORTED}")
    for component in ("scheduler", "tokenizer"):
        entry = index.get(component)
        if not (isinstance(entry, list) and len(entry) == 2 and isinstance(entry[1], str)):
            raise BadInput(f"got {entry!r} for {component} in {path}; expected its library and class; save it again")
    return index


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
    except (ValueError, OSError) as error:
        raise BadInput(f"got a broken {path} ({error}); expected JSON; download the checkpoint again") from error
    if not isinstance(content, dict):
        raise BadInput(f"got a {type(content).__name__} in {path}; expected a JSON object; download it again")
    return content


def _config(folder: Path, component: str) -> dict[str, Any]:
    path = folder / component / CONFIGS[component]
    if not path.is_file():
        raise BadInput(f"got no {component}/{path.name} in {folder}; expected {SUPPORTED}; download it again")
    return _json(path)


def _check_unet(folder: Path, config: Mapping[str, Any]) -> None:
    for key in NO_UNET:
        if config.get(key) is not None:
            raise BadInput(f"got {key} = {config[key]!r} in {folder / 'unet'}; expected null: {SUPPORTED}")
    if config.get("resnet_time_scale_shift", "default") != "default":
        raise BadInput(f"got resnet_time_scale_shift in {folder / 'unet'}; expected 'default': {SUPPORTED}")


def _weight_files(folder: Path, component: str, allow_pickle: bool) -> tuple[Path, ...]:
    """Return the component's files, plain before fp16, safetensors before pickle, one file before shards."""
    parent, stem = folder / component, STEMS[component]
    for name in (f"{stem}.safetensors", f"{stem}.fp16.safetensors"):
        if (parent / name).is_file():
            read_header(parent / name)
            return (parent / name,)
    index = parent / f"{stem}.safetensors.index.json"
    if index.is_file():
        shards = tuple(inside(parent, str(name)) for name in sorted(set(_json(index).get("weight_map", {}).values())))
        for shard in shards:
            read_header(shard)
        return shards
    pickles = sorted(p for p in parent.iterdir() if p.suffix in PICKLES)
    if not pickles:
        raise BadInput(f"got no {stem}.safetensors in {parent}; expected the weights of {component}; download it again")
    if not allow_pickle:
        raise BadInput(
            f"got {pickles[0]}, a pickle, which can run code when loaded; expected {stem}.safetensors; convert it, or "
            "allow it with --allow-pickle"
        )
    return (pickles[0],)


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
