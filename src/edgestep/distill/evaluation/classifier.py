"""The judge: a small CNN that says which concept a picture shows; the measures are taken in its features.

Pictures [B, 3, 64, 64] in [-1, 1] -> features [B, 64] -> logits over the concepts. It plays the part that Inception-v3
has for photographs (Heusel et al. 2017), trained on the generator's own data, so that nothing is downloaded.
"""

import json
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional as F

from edgestep.artifact import BadInput, written_aside

WEIGHTS = "classifier.safetensors"
CONFIG = "config.json"


@dataclass(frozen=True)
class ClassifierConfig:
    """Concept names in the order of the logits, and the sizes."""

    concepts: tuple[str, ...]
    channels: tuple[int, ...] = (32, 64, 96, 128)
    features: int = 64
    picture_size: int = 64


class Block(nn.Module):
    """Halve the size with a 3 x 3 convolution, then add a residual one."""

    def __init__(self, channels_in: int, channels: int):
        super().__init__()
        self.down = nn.Conv2d(channels_in, channels, 3, stride=2, padding=1, bias=False)
        self.norm = nn.GroupNorm(8, channels)
        self.conv = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm2 = nn.GroupNorm(8, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, C_in, H, W] -> [B, C, H / 2, W / 2]."""
        x = F.silu(self.norm(self.down(x)))
        return x + F.silu(self.norm2(self.conv(x)))


class PictureClassifier(nn.Module):
    """Group norms, no batch norms: a picture's features do not depend on those beside it."""

    def __init__(self, config: ClassifierConfig):
        super().__init__()
        self.config = config
        widths = (3, *config.channels)
        self.blocks = nn.Sequential(*(Block(*pair) for pair in pairwise(widths)))
        self.project = nn.Linear(widths[-1], config.features)
        self.head = nn.Linear(config.features, len(config.concepts))

    def forward(self, pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Pictures float [B, 3, H, W] in [-1, 1], any size -> (features [B, 64], logits [B, concepts])."""
        features = self.project(self.blocks(self._sized(pictures)).mean((2, 3)))
        return features, self.head(features)

    def _sized(self, pictures: torch.Tensor) -> torch.Tensor:
        size = (self.config.picture_size,) * 2
        if pictures.shape[-2:] == size:
            return pictures
        return F.interpolate(pictures, size, mode="bilinear", align_corners=False, antialias=True)

    @torch.no_grad()
    def scale_features(self, mean: torch.Tensor, deviation: float) -> None:
        """Fold features -> (features - mean [D]) / deviation into the weights; the logits stay as they are.

        One deviation for all features: directions keep their weight in distances, and figures of two judges are of
        one size.
        """
        self.head.bias += self.head.weight @ mean
        self.head.weight *= deviation
        self.project.bias -= mean
        self.project.bias /= deviation
        self.project.weight /= deviation

    @torch.no_grad()
    def judge(self, pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (features, logits) in float32, out-of-range values clamped first, as a PNG would."""
        with torch.autocast(pictures.device.type, enabled=False):
            return self(pictures.float().clamp(-1, 1))


def save_classifier(classifier: PictureClassifier, folder: Path, readme: str) -> None:
    """Write config.json, classifier.safetensors (fp16) and README.md aside, then move the folder into place."""
    with written_aside(folder) as aside:
        (aside / CONFIG).write_text(json.dumps(asdict(classifier.config), indent=1, ensure_ascii=False) + "\n")
        state = classifier.state_dict()
        save_file({k: v.to("cpu", torch.float16).contiguous() for k, v in state.items()}, aside / WEIGHTS)
        (aside / "README.md").write_text(readme)


def load_classifier(folder: Path, device: torch.device | str = "cpu") -> PictureClassifier:
    """Return the classifier of `folder`, float32, in evaluation mode; BadInput where the folder does not hold one."""
    try:
        raw = json.loads((folder / CONFIG).read_text())
        config = ClassifierConfig(**{k: tuple(v) if isinstance(v, list) else v for k, v in raw.items()})
        classifier = PictureClassifier(config)
        state = {k: v.float() for k, v in load_file(folder / WEIGHTS).items()}
        classifier.load_state_dict(state, strict=True)
    except Exception as error:  # safetensors raises its own kind, a subclass of Exception alone
        what = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise BadInput(
            f"got no classifier in {folder} ({what}); expected {CONFIG} and {WEIGHTS} that fit each other; "
            "take the one that is shipped, or train one"
        ) from error
    return classifier.to(device).requires_grad_(False).eval()


def bundled_classifier() -> Path:
    """Return the folder of the judge that is shipped: the emoji generator's concepts."""
    return Path(__file__).parents[2] / "checkpoints" / "emoji_judge"
