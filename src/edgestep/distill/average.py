"""The running average of a network's weights (EMA): what is kept and measured, instead of the last step's."""

import copy
from typing import Any

import torch


class Average:
    """avg <- decay avg + (1 - decay) weights; over the first steps the decay grows, so that the start is forgotten."""

    def __init__(self, module: torch.nn.Module, decay: float):
        self.module = copy.deepcopy(module).requires_grad_(False).eval()
        self.decay = decay
        self.updates = 0
        self._pairs = (list(self.module.parameters()), list(module.parameters()))

    @torch.no_grad()
    def update(self) -> None:
        """Take in the module's present weights."""
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        self.updates += 1
        torch._foreach_lerp_(self._pairs[0], self._pairs[1], 1 - decay)

    def state_dict(self) -> dict[str, Any]:
        """Return {"updates", "module"}."""
        return {"updates": self.updates, "module": self.module.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a saved state; strict."""
        self.module.load_state_dict(state["module"])
        self.updates = state["updates"]
