"""CLIP score: 100 x the cosine of a picture's and its prompt's CLIP embeddings, at least 0 (Hessel et al. 2021, eq. 1).

Through torchmetrics, with a CLIP model that is on disk: nothing is downloaded.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from edgestep.artifact import BadInput
from edgestep.distill.evaluation.extras import need


class ClipScore:
    """The mean score of the pictures and prompts that were added."""

    def __init__(self, folder: Path, device: torch.device):
        need("torchmetrics", "--clip-score")
        from torchmetrics.multimodal.clip_score import CLIPScore

        model, processor = _open(folder)
        self._limit = model.config.text_config.max_position_embeddings
        self._processor = processor
        self._metric: Any = CLIPScore(lambda: (model, processor)).to(device)

    @torch.no_grad()
    def add(self, pictures: torch.Tensor, prompts: Sequence[str]) -> None:
        """Take in pictures uint8 [B, 3, H, W] and their prompts, cut to the length that CLIP reads."""
        self._metric.update(list(pictures), [self._cut(prompt) for prompt in prompts])

    def value(self) -> float:
        """Return the mean over what was added, and forget it: the next way begins."""
        score = float(self._metric.compute())
        self._metric.reset()
        return score

    def _cut(self, prompt: str) -> str:
        ids = self._processor.tokenizer(prompt, truncation=True, max_length=self._limit).input_ids
        return self._processor.tokenizer.decode(ids, skip_special_tokens=True)


def _open(folder: Path) -> tuple[Any, Any]:
    from transformers import CLIPModel, CLIPProcessor

    if not (folder / "config.json").is_file():
        raise BadInput(
            f"got {folder} without config.json; expected the folder of a CLIP model; save one with save_pretrained"
        )
    try:
        model = CLIPModel.from_pretrained(folder, local_files_only=True, use_safetensors=True)
        return model.eval(), CLIPProcessor.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, TypeError, RuntimeError, KeyError, AttributeError) as error:
        what = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise BadInput(
            f"got {folder}, no CLIP model ({what}); expected one with its processor, weights in safetensors; save it "
            "again"
        ) from error
