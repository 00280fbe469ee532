"""Inception FID (Heusel et al. 2017), through torchmetrics and torch-fidelity, with weights that are on disk."""

import tempfile
from pathlib import Path
from typing import Any

import torch

from edgestep.artifact import BadInput
from edgestep.distill.evaluation.extras import need


class InceptionFid:
    """Fréchet distance of the pictures added as drawn to those added as real, in Inception-v3's 2,048 features."""

    def __init__(self, weights: Path, device: torch.device):
        for package in ("torch_fidelity", "torchmetrics"):
            need(package, "--inception-fid")
        self._metric: Any = _open(weights).to(device)
        self._metric.reset_real_features = False

    @torch.no_grad()
    def add(self, pictures: torch.Tensor, real: bool) -> None:
        """Take in pictures uint8 [B, 3, H, W]."""
        self._metric.update(pictures, real=real)

    def value(self) -> float:
        """Return the distance, and forget the drawn pictures: the next way begins."""
        distance = float(self._metric.compute())
        self._metric.reset()
        return distance


def _open(weights: Path) -> Any:
    from torchmetrics.image.fid import FrechetInceptionDistance

    try:
        state = torch.load(weights, weights_only=True, map_location="cpu")
        with tempfile.TemporaryDirectory() as folder:
            # torch-fidelity unpickles whatever it is given: it gets a copy of what is known to be tensors alone
            checked = Path(folder) / "inception.pth"
            torch.save(state, checked)
            return FrechetInceptionDistance(2048, feature_extractor_weights_path=str(checked))
    except Exception as error:  # torch.load and pickle raise what they like
        what = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise BadInput(
            f"got {weights}, no Inception weights ({what}); expected torch-fidelity's Inception-v3 state dict, "
            "tensors alone; fetch pt_inception-2015-12-05"
        ) from error
