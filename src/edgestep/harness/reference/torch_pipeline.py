"""A Source -> diffusers' own pipeline in fp32 on the CPU: the UNet file, the LoRA and the tiny decoder applied."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edgestep.artifact import BadInput
from edgestep.export.source.source import Source

PIPELINES = {
    "sd": "StableDiffusionPipeline",
    "sdxl": "StableDiffusionXLPipeline",
    "pixart": "PixArtAlphaPipeline",
    "sana": "SanaSprintPipeline",
}
"""OneStep.base -> the pipeline that draws it; a network with a guidance embedding on sd is an LCM pipeline's."""
MORE = {"sd": {"safety_checker": None, "requires_safety_checker": False}, "sdxl": {"add_watermarker": False}}
"""What would change the picture behind the generator's back is left out."""
DENOISERS = ("unet", "transformer")
MODELS = ("text_encoder", "text_encoder_2", *DENOISERS, "vae")


def load_pipeline(source: Source, base: str) -> Any:
    """Return the pipeline of `base` with everything in `source` applied, from local files only.

    Raises BadInput where diffusers cannot load the folder, the UNet file's names or shapes are not exactly the
    network's, the LoRA changes nothing, or peft is not installed for it.
    """
    import diffusers
    import torch

    with quiet(), _bad_folder(source.folder):
        pipe = getattr(diffusers, _pipeline_class(source, base)).from_pretrained(
            source.folder,
            variant="fp16" if _only_half(source.folder) else None,
            torch_dtype=torch.float32,  # published weights are often stored in fp16
            local_files_only=True,
            use_safetensors=None if source.allow_pickle else True,  # None: .bin where there is nothing else
            **MORE.get(base, {}),
        )
    if source.unet is not None:
        _apply_weights(pipe, source.unet, source.allow_pickle)
    if source.lora is not None:
        _fuse_lora(pipe, source.lora, source.lora_scale)
    if source.decoder is not None:
        pipe.vae = _tiny_decoder(source.decoder)
    pipe.set_progress_bar_config(disable=True)
    for part in models_of(pipe):
        part.float().eval()
    return pipe


def denoiser_of(pipe: Any) -> Any:
    """Return the network: `unet` or `transformer`."""
    return next(getattr(pipe, name) for name in DENOISERS if hasattr(pipe, name))


def models_of(pipe: Any) -> list[Any]:
    """Return the modules with weights, text encoders first."""
    return [getattr(pipe, name) for name in MODELS if getattr(pipe, name, None) is not None]


def _pipeline_class(source: Source, base: str) -> str:
    import json

    index = source.folder / "model_index.json"
    named = json.loads(index.read_text()).get("_class_name") if index.is_file() else None
    return "LatentConsistencyModelPipeline" if named == "LatentConsistencyModelPipeline" else PIPELINES[base]


def _only_half(folder: Path) -> bool:
    """Say whether the denoiser is there as *.fp16.safetensors alone."""
    files = [path.name for name in DENOISERS for path in (folder / name).glob("*.safetensors*")]
    return bool(files) and all(".fp16" in name for name in files)


def _apply_weights(pipe: Any, path: Path, allow_pickle: bool) -> None:
    import torch
    from safetensors.torch import load_file

    if path.suffix != ".safetensors" and not allow_pickle:
        raise BadInput(f"got {path}, a pickle, which can run code when loaded; allow it with --allow-pickle")
    try:
        state = load_file(path) if path.suffix == ".safetensors" else torch.load(path, weights_only=True)
        denoiser_of(pipe).load_state_dict(state, strict=True)
    except Exception as error:  # torch, pickle and safetensors raise unrelated classes
        raise BadInput(
            f"got {path}, which does not fit the folder's network ({_first_line(error)}); expected its weights, all of "
            "them; name the base folder that it was made for"
        ) from error


def _fuse_lora(pipe: Any, path: Path, scale: float) -> None:
    before = _sums(denoiser_of(pipe))
    try:
        with quiet():
            pipe.load_lora_weights(path.parent, weight_name=path.name, local_files_only=True)
            pipe.fuse_lora(lora_scale=scale)
            pipe.unload_lora_weights()
    except Exception as error:  # peft and diffusers raise unrelated classes, also for a missing peft
        raise BadInput(
            f"got {path}, which diffusers cannot fuse ({_first_line(error)}); expected a LoRA of this base, and peft: "
            "pip install 'edgestep[export]' peft"
        ) from error
    if scale and _sums(denoiser_of(pipe)) == before:
        raise BadInput(f"got {path}, which changes no attention of the network; expected a LoRA of this base")


def _sums(denoiser: Any) -> dict[str, tuple[float, float]]:
    """Return sum and sum of squares of the queries' weights, which every LoRA trains: cheaper than a copy."""
    queries = ((n, w.detach().double()) for n, w in denoiser.named_parameters() if n.endswith("to_q.weight"))
    return {name: (float(weight.sum()), float(weight.square().sum())) for name, weight in queries}


def _tiny_decoder(folder: Path) -> Any:
    from diffusers import AutoencoderTiny

    with quiet(), _bad_folder(folder):
        return AutoencoderTiny.from_pretrained(folder, local_files_only=True)


@contextmanager
def _bad_folder(folder: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # diffusers raises a dozen unrelated classes for a folder that does not fit
        raise BadInput(
            f"got {folder}, which diffusers cannot load ({_first_line(error)}); expected a folder in diffusers' layout"
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


@contextmanager
def quiet() -> Iterator[None]:
    """Within the block diffusers and transformers log errors only; their levels and bars are put back afterwards."""
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    both = (diffusers_logging, transformers_logging)
    levels = [log.get_verbosity() for log in both]
    for log in both:
        log.set_verbosity_error()
        log.disable_progress_bar()
    try:
        yield
    finally:
        for log, level in zip(both, levels, strict=True):
            log.set_verbosity(level)
            log.enable_progress_bar()
