"""The tiny SD1.5-shaped checkpoint with a few channels that are far larger than the rest, as trained networks have.

A norm's channel is made larger and the weights that read it smaller by as much: the float function is the same, the
ranges of whole tensors are not. The start token alone gets an embedding that words do not have, as CLIP's does.

Random weights hardly hear the prompt: other words move x0 by a ninth of its own deviation, about what 8 bits do. What
cross-attention gives is made larger, so that there is a sensitivity to keep; a quarter, and no more however large.

    python -m tests.quantize.outliers DIR       a larger one, for benchmarks/quantization.py
"""

import sys
from collections.abc import Callable
from pathlib import Path
from random import Random
from string import ascii_lowercase

import torch
from safetensors.torch import load_file, save_file

from tests.tiny import SMALL, TINY, Sizes, save_tiny_checkpoint

TIMES = 50.0
CHANNEL = 3
START_TOKEN_PEAK = 1e3
HEARD = 4.0
"""What cross-attention gives is so many times larger."""
WORDS_OVER_PLACES, PREDICTED = 40.0, 4.0
"""Of the larger checkpoint: how many times larger the embeddings of words, and the prediction, are made."""

Weights = dict[str, torch.Tensor]


def save_outlier_checkpoint(folder: Path, *, times: float = TIMES, seed: int = 0, sizes: Sizes = TINY) -> None:
    """Write the folder; `times` 1 has the start token's embedding and nothing else that is large."""
    save_tiny_checkpoint(folder, seed=seed, sizes=sizes)
    _edit(folder / "unet", lambda weights: _plant_in_unet(weights, times))
    _edit(folder / "vae", lambda weights: _plant_in_vae(weights, times))
    _edit(folder / "text_encoder", lambda weights: _plant_in_text_encoder(weights, times))


def _edit(folder: Path, plant: Callable[[Weights], None]) -> None:
    path = next(folder.glob("*.safetensors"))
    weights = load_file(path)
    plant(weights)
    save_file({name: weight.contiguous() for name, weight in weights.items()}, path, metadata={"format": "pt"})


def _plant_in_unet(weights: Weights, times: float) -> None:
    for norm in [name[: -len(".weight")] for name in weights if name.endswith(".norm.weight")]:
        _widen(weights, norm, [f"{norm.removesuffix('.norm')}.proj_in"], times)
    for block in {name.split(".norm1.")[0] for name in weights if ".transformer_blocks." in name and ".norm1." in name}:
        _widen(weights, f"{block}.norm1", [f"{block}.attn1.to_{each}" for each in "qkv"], times)
        _widen(weights, f"{block}.norm2", [f"{block}.attn2.to_q"], times)
        _widen(weights, f"{block}.norm3", [f"{block}.ff.net.0.proj"], times)
        # GEGLU: the first half of the projection is the value, which the gate is multiplied with
        _widen(weights, f"{block}.ff.net.0.proj", [f"{block}.ff.net.2"], times)
        for each in "kv":
            weights[f"{block}.attn2.to_{each}.weight"][:, CHANNEL] /= times
        weights[f"{block}.attn2.to_out.0.weight"] *= HEARD


def _plant_in_vae(weights: Weights, times: float) -> None:
    attention = "decoder.mid_block.attentions.0"
    _widen(weights, f"{attention}.group_norm", [f"{attention}.to_{each}" for each in "qkv"], times)


def _plant_in_text_encoder(weights: Weights, times: float) -> None:
    head = "text_model." if any(name.startswith("text_model.") for name in weights) else ""
    for layer in {name.split(".layer_norm1.")[0] for name in weights if ".layer_norm1." in name}:
        _widen(weights, f"{layer}.layer_norm1", [f"{layer}.self_attn.{each}_proj" for each in "qkv"], times)
        _widen(weights, f"{layer}.layer_norm2", [f"{layer}.mlp.fc1"], times)
    _widen(weights, f"{head}final_layer_norm", [], times)
    embedding = weights[f"{head}embeddings.token_embedding.weight"]
    embedding[-2, CHANNEL] = START_TOKEN_PEAK  # the tokenizer ends with the start token and the end token


def _widen(weights: Weights, made_by: str, read_by: list[str], times: float) -> None:
    """Make a channel of what `made_by` gives larger, and what reads it smaller."""
    for kind in ("weight", "bias"):
        weights[f"{made_by}.{kind}"][CHANNEL] *= times
    for reader in read_by:
        weights[f"{reader}.weight"][:, CHANNEL] /= times


def save_prompts(folder: Path, count: int = 96) -> None:
    """Write prompts.txt: four drawn words of three letters: the tiny tokenizer takes a token a letter, 16 of them.

    Two prompts that share words or letters would tell nothing of what a network hears.
    """
    draw = Random(0)
    words = ["".join(draw.choices(ascii_lowercase, k=3)) for _ in range(4 * count)]
    (folder / "prompts.txt").write_text("\n".join(" ".join(words[i::count]) for i in range(count)) + "\n")


def speak_up(folder: Path) -> None:
    """Make prompts tell: words weigh more than their places, and the prediction has noise's own deviation, 1.

    As initialized, a network predicts 0.3, so that x0 is its noise, 14 times as large, and two prompts' pictures lie as
    near as five grey levels.
    """
    _edit(folder / "text_encoder", _enlarge_words)
    _edit(folder / "unet", _enlarge_prediction)


def _enlarge_words(weights: Weights) -> None:
    embedding = next(weight for name, weight in weights.items() if name.endswith("token_embedding.weight"))
    embedding[:-2] *= WORDS_OVER_PLACES


def _enlarge_prediction(weights: Weights) -> None:
    for name in [name for name in weights if name.endswith("attn2.to_out.0.weight")]:
        weights[name] *= 2
    weights["conv_out.weight"] *= PREDICTED


if __name__ == "__main__":
    save_outlier_checkpoint(Path(sys.argv[1]), sizes=SMALL)
    speak_up(Path(sys.argv[1]))
    save_prompts(Path(sys.argv[1]))
