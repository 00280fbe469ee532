"""A Checkpoint -> an Inspection: what it is and what exporting it takes, read from configs and headers alone."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from edgestep.artifact import OneStep
from edgestep.export.recipe.contract import contract_from_checkpoint
from edgestep.export.recipe.detect import family_of
from edgestep.export.source.checkpoint import Checkpoint
from edgestep.export.source.weights import LazyWeight, Weights

RUNTIME_BYTES = 600_000_000
"""What Python, torch, diffusers and onnx take with no model loaded."""
COPIES = 4
"""Float32 copies of the largest tensor at the peak: as read, with what is folded in, transposed, serialised."""
FOLDS: Mapping[str, str] = {
    "sd": "the time MLP and every resnet's time_emb_proj, into the biases of its conv1",
    "sdxl": "the time MLP and the six time_ids' columns of add_embedding.linear_1; every time_emb_proj stays: its "
    "input adds the pooled prompt to the time embedding before a SiLU, so it is another one for every prompt",
    "pixart": "adaln_single: its shifts and scales depend on t alone",
    "sana": "time_embed, t and the guidance scale together: its shifts and scales depend on them alone",
}
"""Base -> what a fixed t makes a constant, and what it does not."""


@dataclass(frozen=True)
class ComponentSize:
    """One component's weights: `unet`, 859,520,964 parameters, 1,719,125,304 bytes of files, and its class."""

    name: str
    parameters: int
    bytes: int
    kind: str = ""


@dataclass(frozen=True)
class Inspection:
    """What a checkpoint is.

    `why`: which keys decided the family, `recipe`: where its constants are from. `timesteps`: one per step.
    `folded_parameters`: those that leave with a fixed t, `folds` says which and why no others. `export_bytes`: an
    estimate of the memory that exporting takes at its peak, `largest_tensor` the one that decides it. `pickled`: some
    weights are pickles.
    """

    folder: str
    family: str
    scheduler: str
    licence: str
    sha256: str
    contract: OneStep
    components: tuple[ComponentSize, ...]
    folded_parameters: int
    export_bytes: int
    pipeline: str = ""
    base: str = ""
    why: str = ""
    recipe: str = ""
    timesteps: tuple[float, ...] = ()
    folds: str = ""
    largest_tensor: str = ""
    over: tuple[str, ...] = ()
    pickled: bool = False

    @property
    def parameters(self) -> int:
        """Parameters of all components."""
        return sum(component.parameters for component in self.components)


def inspect_checkpoint(checkpoint: Checkpoint) -> Inspection:
    """Return what a checkpoint is; imports no torch, but for pickles. Raises BadInput as `contract_from_checkpoint`."""
    contract, detected = contract_from_checkpoint(checkpoint), family_of(checkpoint)
    name, largest = _largest(checkpoint.tensors)
    return Inspection(
        folder=checkpoint.folder.name,
        family=contract.family,
        scheduler=checkpoint.scheduler_class,
        licence=checkpoint.licence,
        sha256=checkpoint.sha256,
        contract=contract,
        components=tuple(_size(checkpoint, component) for component in checkpoint.tensors),
        folded_parameters=folded_parameters(checkpoint),
        export_bytes=export_bytes(math.prod(largest.shape)),
        pipeline=checkpoint.pipeline_class,
        base=checkpoint.base,
        why=detected.why,
        recipe=detected.row.source,
        timesteps=(contract.timestep, *(step.timestep for step in contract.next_steps)),
        folds=FOLDS[checkpoint.base],
        largest_tensor=f"{name} {list(largest.shape)}",
        over=_over(checkpoint),
        pickled=checkpoint.pickled,
    )


def export_bytes(largest: int) -> int:
    """Return the memory of a streamed export at its peak, in bytes; `largest` is the largest tensor's elements.

    Weights are read and written one at a time, so the size of the model is no part of it.
    """
    return RUNTIME_BYTES + COPIES * 4 * largest


def folded_parameters(checkpoint: Checkpoint) -> int:
    """Return how many of the denoiser's parameters a fixed t makes constants."""
    weights, config = checkpoint.tensors[checkpoint.denoiser], checkpoint.configs[checkpoint.denoiser]
    if checkpoint.base == "sd":
        return _count(w for n, w in weights.items() if n.startswith("time_embedding.") or ".time_emb_proj." in n)
    if checkpoint.base == "sdxl":
        ids = 6 * int(config.get("addition_time_embed_dim") or 0)
        rows = weights["add_embedding.linear_1.weight"].shape[0] if "add_embedding.linear_1.weight" in weights else 0
        return _count(w for n, w in weights.items() if n.startswith("time_embedding.")) + rows * ids
    part = "adaln_single." if checkpoint.base == "pixart" else "time_embed."
    going = [w for n, w in weights.items() if n.startswith(part)]
    # Two constants take their place: the shifts and scales, and the embedding that they are made from.
    shifts = next((w.shape for n, w in weights.items() if n == f"{part}linear.weight"), (0, 0))
    return _count(going) - sum(shifts)


def text_from_inspection(inspection: Inspection) -> str:
    """Return the lines that `edgestep inspect` prints."""
    i, c = inspection, inspection.contract
    sizes = "\n".join(
        f"  {part.name:<15}{part.parameters:>13,} parameters {part.bytes:>14,} bytes  {part.kind}"
        for part in i.components
    )
    latents = " x ".join(map(str, c.latent_shape))
    share = i.folded_parameters / max(i.parameters, 1)
    over = "".join(f"\n  over it: {what}" for what in i.over)
    return f"""{i.folder}: family {i.family}, licence {i.licence}{over}
because: {i.why}
recipe: {i.recipe}
{_formula(c)}
image = decode(x0 / {c.latent_scale:g}), F predicts {c.prediction_type}, the folder's scheduler is {i.scheduler}
latents {latents}, picture {c.image_size[1]} x {c.image_size[0]}, prompts of {_prompt(c)}
{i.pipeline}:
{sizes}
folds at t: {i.folded_parameters:,} parameters ({share:.1%}): {i.folds}
memory to export: about {i.export_bytes / 1e9:.1f} GB, the largest tensor is {i.largest_tensor}
checkpoint {i.sha256}"""


def _formula(c: OneStep) -> str:
    told = "" if c.guidance_embedding is None else f", told a guidance scale of {c.guidance_embedding:g}"
    lines = [
        f"formula: x_in = {c.k_in:.6g} z, x0 = {c.k_z:.6g} z - {c.k_e:.6g} F(x_in, t, prompt), t = {c.timestep:g}{told}"
    ]
    for step in c.next_steps:
        noise = f" + {step.m_n:.6g} n" if step.m_n else ""
        lines.append(
            f"  then z = {step.m_z:.6g} z + {step.m_x:.6g} x0{noise}, x_in = {step.k_in:.6g} z, "
            f"x0 = {step.k_z:.6g} z - {step.k_e:.6g} F, t = {step.timestep:g}"
        )
    return "\n".join(lines)


def _prompt(c: OneStep) -> str:
    counts = [c.prompt_tokens, *(tokens.prompt_tokens for tokens in c.more_tokenizers)]
    prefix = f", an instruction of {len(c.prompt_prefix)} characters before each" if c.prompt_prefix else ""
    return f"{' and '.join(map(str, counts))} tokens{prefix}"


def _size(checkpoint: Checkpoint, component: str) -> ComponentSize:
    files = sum(path.stat().st_size for path in checkpoint.weights[component])
    parameters = _count(checkpoint.tensors[component].values())
    return ComponentSize(component, parameters, files, checkpoint.classes[component])


def _count(weights: Iterable[LazyWeight]) -> int:
    """Return the elements of the weights; tensors under two names count once."""
    return sum({weight.key: math.prod(weight.shape) for weight in weights}.values())


def _largest(tensors: Mapping[str, Weights]) -> tuple[str, LazyWeight]:
    found = ((f"{component}.{name}", w) for component, weights in tensors.items() for name, w in weights.items())
    return max(found, key=lambda pair: math.prod(pair[1].shape))


def _over(checkpoint: Checkpoint) -> tuple[str, ...]:
    """Return what the source puts over the folder, in words."""
    source = checkpoint.source
    said = []
    if source.unet:
        said.append(f"{checkpoint.denoiser} from {source.unet.name}")
    if source.lora:
        said.append(f"LoRA {source.lora.name} x {source.lora_scale:g}")
    if source.decoder:
        said.append(f"decoder from {source.decoder.name}")
    return tuple(said)
