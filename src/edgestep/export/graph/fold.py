"""A denoiser at a fixed t -> the same without what depends on t alone.

sd      conv1.bias += time_emb_proj(silu(temb)) in every resnet: the whole time path goes, 27.9 M parameters and 24
        matrix products in Stable Diffusion 1.5. Exact up to rounding for `resnet_time_scale_shift="default"`, where a
        resnet adds the projection to conv1's output.
sdxl    the time embedding also carries the pooled prompt, through silu: its projections stay. What goes is the time
        MLP, into the bias of the prompt's MLP, and the six time_ids, into the bias before it: 4.0 M parameters.
pixart, sana
        the six shifts and scales that every block adds to its table are constants of t.

Weights are not touched: what a fold changes is wrapped, and computed in float64 when it is read.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgestep.export.graph.skeleton import changed, materialized
from edgestep.export.source.weights import LazyWeight, Weights


@dataclass(frozen=True)
class Folded:
    """What a fold left: the weights by name, and how many parameters it removed."""

    weights: Weights
    removed: int


def fold_sd(unet: Any, weights: Weights, timestep: float, guidance: float | None = None) -> Folded:
    """Fold t, and the guidance scale of an LCM with time_cond_proj_dim, into a meta UNet2DConditionModel, in place."""
    import torch

    temb = _time_embedding(unet, weights, timestep, guidance)
    kept: dict[str, LazyWeight] = {n: w for n, w in weights.items() if not n.startswith("time_embedding.")}
    removed = sum(p.numel() for p in unet.time_embedding.parameters())
    for name, module in unet.named_modules():
        projection = getattr(module, "time_emb_proj", None)
        if projection is None:
            continue
        removed += sum(p.numel() for p in projection.parameters())
        activated = temb if module.skip_time_act else module.nonlinearity(temb)
        real = materialized(projection, weights, f"{name}.time_emb_proj.")
        with torch.no_grad():
            shift = real(activated)[0].numpy()
        bias = weights[f"{name}.conv1.bias"]
        kept[f"{name}.conv1.bias"] = changed(bias, f"t={timestep:g},{guidance}", bias.shape, _plus(shift))
        for part in ("weight", "bias"):
            kept.pop(f"{name}.time_emb_proj.{part}", None)
        module.time_emb_proj = None
    unet.time_embedding = _nothing(None)  # resnets pass None by
    return Folded(kept, removed)


def fold_sdxl(unet: Any, weights: Weights, timestep: float, time_ids: tuple[float, ...] | None) -> Folded:
    """Fold t, and the time_ids where they are fixed, into a meta UNet2DConditionModel with text_time, in place."""
    import torch

    with torch.no_grad():
        temb = _time_embedding(unet, weights, timestep, None)[0].numpy()
    removed = sum(p.numel() for p in unet.time_embedding.parameters())
    kept = {n: w for n, w in weights.items() if not n.startswith("time_embedding.")}
    second = weights["add_embedding.linear_2.bias"]
    kept[second.name] = changed(second, f"t={timestep:g}", second.shape, _plus(temb))
    unet.time_embedding = _nothing(_Zero(torch.float32))
    if time_ids is not None:
        removed += _fold_time_ids(unet, weights, kept, time_ids)
    return Folded(kept, removed)


def _fold_time_ids(unet: Any, weights: Weights, kept: dict[str, LazyWeight], time_ids: tuple[float, ...]) -> int:
    """Bring the time_ids' columns of add_embedding.linear_1 into its bias; return how many parameters that removes."""
    import torch

    linear, ids = unet.add_embedding.linear_1, torch.tensor(time_ids, dtype=torch.float64)
    with torch.no_grad():
        constants = unet.add_time_proj(ids).double().flatten().numpy()
    text = linear.in_features - constants.size
    weight, bias = weights["add_embedding.linear_1.weight"], weights["add_embedding.linear_1.bias"]
    how = f"time_ids={time_ids}"

    def with_ids(array: np.ndarray) -> np.ndarray:
        return array.astype(np.float64) + weight.read()[:, text:].astype(np.float64) @ constants

    kept[weight.name] = changed(weight, how, (linear.out_features, text), lambda array: array[:, :text])
    kept[bias.name] = changed(bias, how, bias.shape, with_ids)
    unet.add_embedding.linear_1 = torch.nn.Linear(text, linear.out_features, device="meta")
    unet.get_aug_embed = lambda emb, encoder_hidden_states, added_cond_kwargs: unet.add_embedding(
        added_cond_kwargs["text_embeds"]
    )
    return linear.out_features * constants.size


def fold_constants(transformer: Any, weights: Weights, part: str, arguments: tuple, named: Mapping[str, Any]) -> Folded:
    """Replace `transformer.<part>`, which returns (shifts, embedding) of t alone, by those two constants, in place.

    `part` is adaln_single (PixArt, after PixArt-alpha 2310.00426 section 2.3) or time_embed (Sana).
    """
    import torch

    module = getattr(transformer, part)
    with torch.no_grad():
        real = materialized(module, weights, f"{part}.")
        values = [value.float().numpy() for value in real(*arguments, **named)]
    kept = {n: w for n, w in weights.items() if not n.startswith(f"{part}.")}
    for name, value in zip(("shifts", "embedding"), values, strict=True):
        full = f"{part}.{name}"
        kept[full] = LazyWeight(full, value.shape, lambda value=value: value, "folded", f"{part}.{name}|{arguments}")
    setattr(transformer, part, _Constants(*(value.shape for value in values)))
    return Folded(kept, sum(p.numel() for p in module.parameters()) - sum(value.size for value in values))


def _Constants(shifts: tuple[int, ...], embedding: tuple[int, ...]) -> Any:
    import torch

    class Constants(torch.nn.Module):
        """Stands where the embedding of t was, and hands out what it gave."""

        def __init__(self) -> None:
            super().__init__()
            self.shifts = torch.nn.Parameter(torch.empty(shifts, device="meta"), requires_grad=False)
            self.embedding = torch.nn.Parameter(torch.empty(embedding, device="meta"), requires_grad=False)

        def forward(self, *_: Any, batch_size: int = 1, **__: Any) -> tuple[Any, Any]:
            """Return them, once per picture of the batch."""
            return self.shifts.expand(batch_size, -1), self.embedding.expand(batch_size, -1)

    return Constants()


def _time_embedding(unet: Any, weights: Weights, timestep: float, guidance: float | None) -> Any:
    """Return temb, float64 [1, D]."""
    import torch

    embedding = materialized(unet.time_embedding, weights, "time_embedding.")
    with torch.no_grad():
        t = unet.time_proj(torch.tensor([timestep], dtype=torch.float64)).double()
        condition = None
        if unet.config.time_cond_proj_dim is not None:
            condition = torch.from_numpy(guidance_features(float(guidance or 0), unet.config.time_cond_proj_dim))[None]
        return embedding(t, condition)


def guidance_features(scale: float, width: int) -> np.ndarray:
    """Return the sinusoidal features, float64 [width], of w = scale - 1 that an LCM is told (2310.04378, section 4.3).

    sin and cos of 1000 w / 10000^(k / (width/2 - 1)), the sines first.
    """
    import torch

    half = width // 2
    # In float32 and by torch, as diffusers has it: at angles of thousands one rounding of a frequency is worth 4e-4.
    rate = torch.log(torch.tensor(10000.0)) / (half - 1)
    angles = torch.tensor(1000.0 * (scale - 1.0)) * torch.exp(torch.arange(half, dtype=torch.float32) * -rate)
    features = torch.cat([torch.sin(angles), torch.cos(angles)]).double().numpy()
    return np.pad(features, (0, width - features.size))


def _plus(shift: np.ndarray) -> Any:
    return lambda array: array.astype(np.float64) + shift


class _Zero:
    """The neutral element of addition: diffusers adds the prompt's embedding to what the time embedding returned."""

    def __init__(self, dtype: Any) -> None:
        self.dtype = dtype  # what the embeddings of free time_ids are brought to

    def __add__(self, other: Any) -> Any:
        return other


def _nothing(value: Any) -> Any:
    import torch

    class NoTime(torch.nn.Module):
        """Stands where the time embedding was."""

        def forward(self, *_: Any) -> Any:
            """Return what takes its place."""
            return value

    return NoTime()
