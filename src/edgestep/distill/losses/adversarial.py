"""DMD2's GAN term (Yin et al. 2024b, section 4.3): a head on the fake score's middle block tells drawn from real.

Softplus (non-saturating logistic) losses; the head looks at noised latents, so it judges at every noise level.
"""

import torch
from torch.nn import functional as F


class AdversarialHead(torch.nn.Module):
    """Middle block's features [B, C, h, w], h and w from 1, -> one logit each [B]: convolutions, then their mean."""

    def __init__(self, channels: int, groups: int = 8):
        super().__init__()
        self.look = torch.nn.Sequential(
            torch.nn.Conv2d(channels, channels, 3, padding=1),
            torch.nn.GroupNorm(groups, channels),
            torch.nn.SiLU(),
            torch.nn.Conv2d(channels, channels, 4, stride=2, padding=2),
            torch.nn.GroupNorm(groups, channels),
            torch.nn.SiLU(),
        )
        self.judge = torch.nn.Linear(channels, 1)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return logits [B]; above 0 means real."""
        return self.judge(self.look(features).mean((2, 3)))[:, 0]


class ScoreAndHead(torch.nn.Module):
    """The fake score and its head as one module: one forward pass, one exchange of gradients."""

    def __init__(self, unet: torch.nn.Module, head: AdversarialHead):
        super().__init__()
        self.unet, self.head = unet, head
        self._features: list[torch.Tensor] = []
        unet.mid_block.register_forward_hook(lambda _module, _inputs, output: self._features.append(output))

    def forward(
        self, x_t: torch.Tensor, t: torch.Tensor, prompt_embeds: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (prediction [B, C, h, w], logits [B])."""
        self._features.clear()
        predicted = self.unet(x_t, t, prompt_embeds).sample
        return predicted, self.head(self._features.pop().float())


def discriminator_loss(real: torch.Tensor, drawn: torch.Tensor) -> torch.Tensor:
    """Return softplus(-D(real)) + softplus(D(drawn)), means over logits [B]."""
    return F.softplus(-real).mean() + F.softplus(drawn).mean()


def generator_loss(drawn: torch.Tensor) -> torch.Tensor:
    """Return softplus(-D(drawn)), the mean over logits [B]."""
    return F.softplus(-drawn).mean()
