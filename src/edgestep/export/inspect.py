"""A Checkpoint -> an Inspection: what it is and what exporting it takes, read from configs and headers alone."""

from dataclasses import dataclass
from pathlib import Path

from edgestep.artifact import OneStep
from edgestep.export.recipe.contract import contract_from_checkpoint
from edgestep.export.source.checkpoint import PICKLES, Checkpoint
from edgestep.export.source.safetensors_header import Weight, read_header

RUNTIME_BYTES = 900_000_000
"""What Python, torch, diffusers, onnx and openvino take with no model loaded."""
COPIES = 4
"""Float32 copies of the weights at the peak: torch's, ONNX's, its serialised form, and the other runtime's."""


@dataclass(frozen=True)
class ComponentSize:
    """One component's weights: `unet`, 859,520,964 parameters, 1,719,125,304 bytes of files."""

    name: str
    parameters: int
    bytes: int


@dataclass(frozen=True)
class Inspection:
    """What a checkpoint is. `parameters` are 0 for pickles, which are not opened.

    `folded_parameters`: those of the time path, which leave with a fixed t. `export_bytes`: a rough estimate of the
    memory that exporting takes at its peak.
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

    @property
    def parameters(self) -> int:
        """Parameters of all components."""
        return sum(component.parameters for component in self.components)


def inspect_checkpoint(checkpoint: Checkpoint) -> Inspection:
    """Return what a checkpoint is; imports no torch. Raises BadInput as `contract_from_checkpoint` does."""
    contract = contract_from_checkpoint(checkpoint)
    weights = {name: _weights(paths) for name, paths in checkpoint.weights.items()}
    components = tuple(
        ComponentSize(name, sum(w.elements for w in weights[name]), sum(p.stat().st_size for p in paths))
        for name, paths in checkpoint.weights.items()
    )
    floats = sum(c.parameters or c.bytes // 4 for c in components)
    return Inspection(
        folder=checkpoint.folder.name,
        family=contract.family,
        scheduler=checkpoint.scheduler_class,
        licence=checkpoint.licence,
        sha256=checkpoint.sha256,
        contract=contract,
        components=components,
        folded_parameters=sum(w.elements for w in weights["unet"] if _is_time_path(w.name)),
        export_bytes=RUNTIME_BYTES + COPIES * 4 * floats,
    )


def text_from_inspection(inspection: Inspection) -> str:
    """Return the lines that `edgestep inspect` prints."""
    c = inspection.contract
    sizes = "\n".join(
        f"  {part.name:<13}{part.parameters:>13,} parameters {part.bytes:>13,} bytes" for part in inspection.components
    )
    latents = " x ".join(map(str, c.latent_shape))
    share = inspection.folded_parameters / max(inspection.parameters, 1)
    return f"""{inspection.folder}: family {inspection.family}, licence {inspection.licence}
formula: x_in = {c.k_in:.6g} z, x0 = {c.k_z:.6g} z - {c.k_e:.6g} F(x_in, t, prompt)
image = decode(x0 / {c.latent_scale:g}), t = {c.timestep:g}, F predicts {c.prediction_type} by {inspection.scheduler}
latents {latents}, picture {c.image_size[1]} x {c.image_size[0]}, prompts of {c.prompt_tokens} tokens
{sizes}
folds at t: {inspection.folded_parameters:,} parameters ({share:.1%})
memory to export: about {inspection.export_bytes / 1e9:.1f} GB
checkpoint {inspection.sha256}"""


def _weights(paths: tuple[Path, ...]) -> tuple[Weight, ...]:
    return tuple(weight for path in paths if path.suffix not in PICKLES for weight in read_header(path))


def _is_time_path(name: str) -> bool:
    return name.startswith("time_embedding.") or ".time_emb_proj." in name
