"""How much an evaluation draws."""

from dataclasses import dataclass

from edgestep.artifact import BadInput


@dataclass(frozen=True)
class Sizes:
    """Counts of pictures per way to draw. 2,048 is what the Fréchet distance is published with."""

    pictures: int = 2048
    held_out: int = 1024
    diversity_prompts: int = 64
    diversity_seeds: int = 16
    batch: int = 64
    turns: int = 5
    timed_batch: int = 1
    resamples: int = 200
    seed: int = 0

    def check(self) -> None:
        """Raise BadInput where a measure could not be taken."""
        least = {
            "pictures": 8,
            "held_out": 1,
            "diversity_prompts": 1,
            "diversity_seeds": 2,
            "batch": 1,
            "turns": 1,
            "timed_batch": 1,
        }
        for name, low in least.items():
            if getattr(self, name) < low:
                raise BadInput(f"got {name} = {getattr(self, name)}; expected at least {low}; ask for more")
