"""A LoRA file over a checkpoint's weights: W + scale * alpha / rank * up @ down, made when W is read.

up is [out, rank] or [out, rank, 1, 1], down [rank, in] or [rank, in, kh, kw]; the product has W's shape (2106.09685).
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from edgestep.artifact import BadInput, sha256_of_json
from edgestep.export.source.files import check_weight_file
from edgestep.export.source.lora_names import LoraName, name_of_key, path_in
from edgestep.export.source.pickles import PICKLES, weights_from_pickle
from edgestep.export.source.weights import LazyWeight, Weights, weights_from_safetensors

SPELLED = 3


@dataclass(frozen=True)
class LoraLayer:
    """One layer of a LoRA, still under the file's name: `down` and `up` are read when they are used."""

    name: LoraName
    down: LazyWeight
    up: LazyWeight
    alpha: float | None

    @property
    def rank(self) -> int:
        """Rows of `down`."""
        return self.down.shape[0]

    def delta(self, shape: tuple[int, ...], scale: float) -> np.ndarray:
        """Return scale * alpha / rank * up @ down as float32 of `shape`."""
        factor = scale * (self.rank if self.alpha is None else self.alpha) / self.rank
        product = self.up.read().reshape(self.up.shape[0], self.rank) @ self.down.read().reshape(self.rank, -1)
        product *= np.float32(factor)
        return product.reshape(shape)

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Whether the product has that many rows and columns."""
        up, down = self.up.shape, self.down.shape
        outer = up[0] == shape[0] and math.prod(down[1:]) == math.prod(shape[1:])
        return outer and up[1] == self.rank and math.prod(up[2:]) == 1


def fuse_lora(
    tensors: Mapping[str, Weights], file: Path, scale: float, *, denoiser: str, allow_pickle: bool = False
) -> dict[str, Weights]:
    """Return every component's weights with the LoRA over them; nothing but the file's header and alphas is read now.

    Knows the names that kohya's scripts, peft and diffusers write, for UNets, transformers and text encoders. Raises
    BadInput where the file holds no LoRA, one of another kind (LoHa, LoKr, DoRA), or layers that the checkpoint does
    not have or that have other shapes: a LoRA for another base.
    """
    if not math.isfinite(scale):
        raise BadInput(f"got a LoRA scale of {scale}; expected a finite number such as 1; choose one")
    layers = layers_from_file(file, denoiser, allow_pickle=allow_pickle)
    found = {component: dict(weights) for component, weights in tensors.items()}
    strange: list[str] = []
    unfit: list[str] = []
    paths = {component: _paths(weights) for component, weights in tensors.items()}
    for layer in layers:
        component = layer.name.component
        path = path_in(paths.get(component, {}), layer.name)
        if path is None:
            strange.append(layer.name.key)
            continue
        weight = found[component][f"{path}.weight"]
        if not layer.fits(weight.shape):
            up, down = (list(half.shape) for half in (layer.up, layer.down))
            unfit.append(f"{layer.name.key} {up} x {down} for {list(weight.shape)}")
            continue
        found[component][weight.name] = _fused(weight, layer, scale)
    _check(file, len(layers), strange, unfit)
    return dict(found)


def layers_from_file(file: Path, denoiser: str, *, allow_pickle: bool = False) -> tuple[LoraLayer, ...]:
    """Return the layers of a LoRA file; names without a prefix are taken for the denoiser's."""
    check_weight_file(file, allow_pickle=allow_pickle)
    weights = weights_from_pickle(file) if file.suffix in PICKLES else weights_from_safetensors((file,))
    halves: dict[LoraName, dict[str, LazyWeight]] = {}
    for key, weight in weights.items():
        named = name_of_key(key, denoiser)
        if named is None:
            raise BadInput(
                f"got {key!r} in {file}; expected a LoRA of up and down weights (kohya's, peft's or diffusers' names); "
                "convert it, or give it with --unet where it is a whole network"
            )
        name, part = named
        halves.setdefault(name, {})[part] = weight
    alphas = _alphas_of_peft(file)
    layers = tuple(_layer(file, name, parts, alphas) for name, parts in halves.items())
    if not layers:
        raise BadInput(f"got no layer in {file}; expected a LoRA of up and down weights; download it again")
    return layers


def _layer(file: Path, name: LoraName, parts: Mapping[str, LazyWeight], alphas: Mapping[str, float]) -> LoraLayer:
    if "up" not in parts or "down" not in parts:
        raise BadInput(f"got only {', '.join(parts)} of {name.key} in {file}; expected up and down; download it again")
    up, down = parts["up"], parts["down"]
    if len(up.shape) < 2 or len(down.shape) < 2 or not down.shape[0]:
        raise BadInput(f"got {name.key} of shapes {up.shape} and {down.shape} in {file}; expected matrices")
    rank = down.shape[0]
    alpha = float(parts["alpha"].read().reshape(-1)[0]) if "alpha" in parts else alphas.get(name.component)
    # Rank-stabilised LoRA (2312.03732) divides by the root of the rank.
    if alpha is not None and alphas.get(f"{name.component}.rslora"):
        alpha *= math.sqrt(rank)
    return LoraLayer(name, down, up, alpha)


def _alphas_of_peft(file: Path) -> dict[str, float]:
    """Return component -> alpha of the configs that diffusers keeps in the header; an alpha tensor comes before it."""
    if file.suffix != ".safetensors":
        return {}
    with file.open("rb") as opened:
        header = json.loads(opened.read(int.from_bytes(opened.read(8), "little")))
    raw = (header.get("__metadata__") or {}).get("lora_adapter_metadata")
    try:
        config = json.loads(raw) if raw else {}
    except ValueError as error:
        raise BadInput(f"got broken LoRA settings in the header of {file} ({error}); download it again") from error
    found: dict[str, float] = {}
    for key, value in config.items():
        component, _, setting = key.rpartition(".")
        if setting in ("use_dora", "alpha_pattern") and value:
            raise BadInput(f"got a LoRA with {setting} in {file}; expected one alpha for all layers; fuse it elsewhere")
        if setting == "lora_alpha" and value is not None:
            found[component] = float(value)
        if setting == "use_rslora":
            found[f"{component}.rslora"] = float(bool(value))
    return found


def _paths(weights: Weights) -> dict[str, str]:
    """Return the layers' paths under both spellings: `a.b.to_q` and kohya's `a_b_to_q` -> `a.b.to_q`."""
    paths = [
        name.removesuffix(".weight")
        for name, weight in weights.items()
        if name.endswith(".weight") and len(weight.shape) > 1
    ]
    return {path.replace(".", "_"): path for path in paths} | {path: path for path in paths}


def _fused(weight: LazyWeight, layer: LoraLayer, scale: float) -> LazyWeight:
    def read() -> np.ndarray:
        whole = weight.read()
        whole += layer.delta(weight.shape, scale)
        return whole

    key = sha256_of_json([weight.key, layer.up.key, layer.down.key, layer.alpha, scale])
    return replace(weight, read=read, key=key)


def _check(file: Path, total: int, strange: list[str], unfit: list[str]) -> None:
    said = []
    if strange:
        said.append(f"{len(strange)} of {total} layers that this checkpoint lacks ({_some(strange)})")
    if unfit:
        said.append(f"{len(unfit)} of {total} of other shapes ({_some(unfit)})")
    if said:
        raise BadInput(
            f"got {file} with {' and '.join(said)}; expected a LoRA that was made for this base; give that one, or the "
            "base that it was made for"
        )


def _some(names: list[str]) -> str:
    return ", ".join(names[:SPELLED]) + (", ..." if len(names) > SPELLED else "")
