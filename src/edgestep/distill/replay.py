"""Forward and backward pass recorded once as CUDA graphs, then replayed: a small network's step waits for launches.

Seen on an H100 with a slow host: 75 ms a step of the emoji teacher, of which the GPU works for a tenth.
"""

from collections.abc import Callable
from typing import Any

import torch


class Call(torch.nn.Module):
    """A module under another name: recording replaces `forward`, and each shape is recorded on its own."""

    def __init__(self, module: torch.nn.Module):
        super().__init__()
        self.module = module

    def forward(self, *inputs: torch.Tensor) -> Any:
        """Call the module."""
        return self.module(*inputs)


class Replayed(torch.nn.Module):
    """`module`, which takes and returns tensors of few shapes, each recorded when it first comes.

    The module's parameters may change in place, not be replaced; inputs must not need gradients. Gradients of one
    call must be used up before the next call of that shape.
    """

    def __init__(self, module: torch.nn.Module):
        super().__init__()
        self.module = module
        self._recorded: dict[Any, Callable[..., Any]] = {}

    def forward(self, *inputs: torch.Tensor) -> Any:
        """Replay, or record."""
        cast = torch.is_autocast_enabled("cuda")
        key = (cast, *((tuple(x.shape), x.dtype) for x in inputs))
        if key not in self._recorded:
            self._recorded[key] = self._record(inputs, cast)
        return self._recorded[key](*inputs)

    def _record(self, inputs: tuple[torch.Tensor, ...], cast: bool) -> Callable[..., Any]:
        samples = tuple(x.detach().clone() for x in inputs)
        with torch.enable_grad(), torch.autocast("cuda", torch.bfloat16, enabled=cast, cache_enabled=False):
            return torch.cuda.make_graphed_callables(Call(self.module), samples, allow_unused_input=True)
