"""A Checkpoint -> its torch modules in float32, checked for missing and non-finite weights."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from edgestep.artifact import BadInput
from edgestep.export.source.checkpoint import Checkpoint


@dataclass(frozen=True)
class TorchModels:
    """CLIPTextModel, UNet2DConditionModel and AutoencoderKL, in eval mode, float32, on the CPU."""

    text_encoder: Any
    unet: Any
    vae: Any


def load_models(checkpoint: Checkpoint) -> TorchModels:
    """Load the three models.

    Raises BadInput without torch and diffusers, and for weights that are missing or not finite.
    """
    try:
        import torch
        from diffusers import AutoencoderKL, UNet2DConditionModel
        from transformers import CLIPTextModel
    except ImportError as error:
        raise BadInput(f"got no {error.name}; exporting needs it: pip install 'edgestep[export]'") from error
    classes = {"text_encoder": CLIPTextModel, "unet": UNet2DConditionModel, "vae": AutoencoderKL}
    loaded = {}
    for component, kind in classes.items():
        dtype = {"dtype" if component == "text_encoder" else "torch_dtype": torch.float32}
        with quiet("diffusers", "transformers"):
            try:
                model, info = kind.from_pretrained(
                    checkpoint.folder / component,
                    use_safetensors=not checkpoint.pickled,
                    variant=checkpoint.variant,
                    output_loading_info=True,
                    local_files_only=True,
                    **dtype,
                )
            except (OSError, ValueError, RuntimeError, KeyError) as error:
                reason = str(error).strip().splitlines()[0]
                raise BadInput(f"got weights of {component} that do not load ({reason}); download it again") from error
        _check_weights(component, model, info)
        loaded[component] = model.eval().requires_grad_(False)
    return TorchModels(**loaded)


def _check_weights(component: str, model: Any, info: dict[str, Any]) -> None:
    missing = sorted(info["missing_keys"])
    if missing:
        raise BadInput(f"got no {missing[0]} ({len(missing)} missing) in the weights of {component}; download it again")
    for name, parameter in model.named_parameters():
        if not parameter.isfinite().all():
            raise BadInput(f"got numbers that are not finite in {name} of {component}; expected finite weights")


@contextmanager
def quiet(*names: str) -> Iterator[None]:
    """Keep these loggers below errors silent inside the block, and no longer."""
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
