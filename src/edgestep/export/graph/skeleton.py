"""A config -> a torch module that has every shape and no weights: for capturing a model that memory does not hold.

Parameters lie on the meta device until `as_fake`, and are fake tensors after it; buffers that are computed when a
module is built (a range of positions) are real, because no checkpoint file holds them.
"""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from edgestep.artifact import BadInput
from edgestep.export.source.weights import LazyWeight, Weights

KINDS = {
    "CLIPTextModel": "transformers",
    "CLIPTextModelWithProjection": "transformers",
    "T5EncoderModel": "transformers",
    "Gemma2Model": "transformers",
    "Gemma2ForCausalLM": "transformers",
    "UNet2DConditionModel": "diffusers",
    "PixArtTransformer2DModel": "diffusers",
    "SanaTransformer2DModel": "diffusers",
    "AutoencoderKL": "diffusers",
    "AutoencoderTiny": "diffusers",
    "AutoencoderDC": "diffusers",
}
"""Class -> the library that has it. Nothing else is ever built: no code comes from a checkpoint."""


def skeleton_from_config(kind: str, config: Mapping[str, Any]) -> Any:
    """Return the module in eval mode, its parameters on the meta device. Raises BadInput without torch or diffusers."""
    try:
        import accelerate
        import diffusers
        import transformers
    except ImportError as error:
        raise BadInput(f"got no {error.name}; exporting needs it: pip install 'edgestep[export]'") from error
    library = {"diffusers": diffusers, "transformers": transformers}[KINDS[kind]]
    with quiet("diffusers", "transformers"), accelerate.init_empty_weights(include_buffers=False):
        try:
            if library is diffusers:
                module = getattr(diffusers, kind).from_config(dict(config))
            else:
                module = _transformer(transformers, kind, config)
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise BadInput(f"got a config that {kind} cannot be built from ({reason}); download it again") from error
    return module.eval().requires_grad_(False)


def _transformer(transformers: Any, kind: str, config: Mapping[str, Any]) -> Any:
    cls = getattr(transformers, kind)
    known = cls.config_class.from_dict({k: v for k, v in config.items() if k != "torch_dtype"})
    # Plain matrix products: exporters know them, and runtimes fuse them where they can.
    known._attn_implementation = "eager"
    return cls(known)


def shapes_of(module: Any) -> dict[str, tuple[int, ...]]:
    """Return the name and shape of everything that a checkpoint of this module holds."""
    return {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}


def as_fake(module: Any, mode: Any) -> None:
    """Replace every meta parameter, in place, by a fake one of `mode` on the CPU; shared parameters stay shared."""
    import torch

    made: dict[int, Any] = {}
    with mode:
        for part in module.modules():
            for name, parameter in part._parameters.items():
                if parameter is None:
                    continue
                if id(parameter) not in made:
                    made[id(parameter)] = torch.nn.Parameter(torch.empty(parameter.shape), requires_grad=False)
                part._parameters[name] = made[id(parameter)]


def materialized(part: Any, weights: Weights, prefix: str) -> Any:
    """Return a real float64 copy of a small submodule: `prefix` + its names are looked up in `weights`."""
    import copy

    import torch

    real = copy.deepcopy(part).to_empty(device="cpu").double()
    state = {name: torch.from_numpy(weights[prefix + name].read()).double() for name in part.state_dict()}
    real.load_state_dict(state, strict=True)
    return real


def changed(weight: LazyWeight, how: str, shape: tuple[int, ...], change: Any) -> LazyWeight:
    """Return the weight that `change(array)` makes of this one when it is read; `how` sets its key apart."""
    return LazyWeight(
        weight.name,
        shape,
        lambda: np.ascontiguousarray(change(weight.read()), np.float32),
        weight.origin,
        f"{weight.key}|{how}",
    )


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
