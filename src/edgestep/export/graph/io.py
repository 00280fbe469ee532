"""Graph name -> its inputs and outputs: the names that existing clients feed.

text_encoder, text_encoder_2   input_ids [B,T] int64 (, attention_mask)   -> last_hidden_state [B,T,D], ...
unet, transformer              sample [B,C,h,w], timestep, states ...     -> out_sample [B,C,h,w], which is x0
vae_decoder                    latent_sample [B,C,h,w]                    -> sample [B,3,H,W] in [-1,1]
generator                      ids, noise [B,C,h,w] (, more_noise)        -> image [B,H,W,3] uint8, or float32 in [0,1]

A dimension of -1 is dynamic. Later steps of a loop have graphs of their own, unet_2, unet_3 ...
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from edgestep.artifact import OneStep, TensorSpec

Specs = tuple[TensorSpec, ...]
FREE = -1
"""Size of a dynamic dimension."""


@dataclass(frozen=True)
class Shapes:
    """What all graphs of one checkpoint share. `batch` and `resolution` say which sizes are dynamic."""

    contract: OneStep
    configs: Mapping[str, Mapping[str, Any]]
    batch: bool = False
    resolution: bool = False
    image: str = "uint8"

    @property
    def latents(self) -> tuple[int, int, int, int]:
        """[B,C,h,w]."""
        c, h, w = self.contract.latent_shape
        return (self.one, c, *((FREE, FREE) if self.resolution else (h, w)))

    @property
    def picture(self) -> tuple[int, int]:
        """(H, W)."""
        return (FREE, FREE) if self.resolution else self.contract.image_size

    @property
    def one(self) -> int:
        """The batch."""
        return FREE if self.batch else 1

    def ids(self, name: str = "input_ids", tokens: int | None = None) -> TensorSpec:
        """Return the spec of token ids, or of the mask over them."""
        return TensorSpec(name, "int64", (self.one, tokens or self.contract.prompt_tokens))

    def states(self, width: int, name: str = "encoder_hidden_states") -> TensorSpec:
        """Return the spec of the prompt's embeddings."""
        return TensorSpec(name, "float32", (self.one, self.contract.prompt_tokens, width))

    def floats(self, name: str, *shape: int) -> TensorSpec:
        """Return a float32 spec."""
        return TensorSpec(name, "float32", shape)


def decoder_io(shapes: Shapes) -> tuple[Specs, Specs]:
    """Return inputs and outputs of vae_decoder."""
    return (shapes.floats("latent_sample", *shapes.latents),), (
        shapes.floats("sample", shapes.one, 3, *shapes.picture),
    )


def generator_io(shapes: Shapes, prompt: Specs) -> tuple[Specs, Specs]:
    """Return inputs and outputs of the fused form; `prompt` are the text encoders' inputs."""
    noise = (shapes.floats("noise", *shapes.latents),)
    later = len(shapes.contract.next_steps)
    if any(step.m_n for step in shapes.contract.next_steps):
        noise += (shapes.floats("more_noise", later, *shapes.latents),)
    return (*prompt, *noise), (TensorSpec("image", shapes.image, (shapes.one, *shapes.picture, 3)),)


def examples_of(specs: Specs, batch: int = 2, size: int = 8) -> tuple[TensorSpec, ...]:
    """Return the specs with numbers in place of dynamic sizes, for capturing; `size` is in latent cells or pixels."""
    return tuple(
        replace(
            spec,
            shape=tuple(
                (batch if i == _batch_axis(spec) else size) if dim == FREE else dim for i, dim in enumerate(spec.shape)
            ),
        )
        for spec in specs
    )


def _batch_axis(spec: TensorSpec) -> int:
    return 1 if spec.name == "more_noise" else 0
