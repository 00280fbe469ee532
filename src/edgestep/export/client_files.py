"""A Checkpoint -> the small files that existing clients read beside the graphs: configs, tokenizers, scheduler.

With them optimum's ORTDiffusionPipeline opens an ONNX artifact of sd or sdxl, and openvino_genai.Text2ImagePipeline an
OpenVINO one. For pixart and sana no client has a one-step pipeline; their files say what the graphs are all the same.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgestep.export.clients.configs import component_configs, model_index
from edgestep.export.clients.schedulers import scheduler_config
from edgestep.export.openvino.tokenizer import write_openvino_tokenizer
from edgestep.export.source.checkpoint import Checkpoint
from edgestep.export.source.tokenizer import bpe_file, tokenizer_json

TOKENIZER_FILES = (
    "vocab.json",
    "merges.txt",
    "spiece.model",  # transformers makes T5's anew from it, tokenizer.json or not
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
)
"""What is copied; Gemma's tokenizer.model, 4 MB, is not: tokenizer.json says all that it does."""
CLIP_BASES = ("sd", "sdxl")
"""What openvino_genai has pipelines for."""


def write_client_files(folder: Path, checkpoint: Checkpoint, format: str) -> None:
    """Write everything of the split form but the graphs, which are there already.

    A loop gets no model_index.json: every client would run its first graph again and again and call that a picture.
    """
    configs = component_configs(checkpoint)
    for later in _later_steps(folder, checkpoint):
        configs[later] = configs[checkpoint.denoiser]
    for name, config in configs.items():
        _write_json(folder / name / "config.json", config)
    scheduler = scheduler_config(format, checkpoint.configs["scheduler"])
    _write_json(folder / "scheduler" / "scheduler_config.json", scheduler)
    if not _later_steps(folder, checkpoint):
        _write_json(folder / "model_index.json", model_index(checkpoint, scheduler["_class_name"]))
    write_tokenizer(folder / "tokenizer", checkpoint)
    if format == "openvino" and checkpoint.base in CLIP_BASES:
        for name in checkpoint.tokenizers:
            write_openvino_tokenizer(folder / name)


def write_apple_files(folder: Path, checkpoint: Checkpoint) -> None:
    """Write what Apple's Swift package reads beside its models: vocab.json and merges.txt; and our own tokenizers."""
    write_tokenizer(folder / "tokenizer", checkpoint)
    own = checkpoint.folder / checkpoint.tokenizers[0]
    for file in ("vocab.json", "merges.txt"):
        if (own / file).is_file():
            shutil.copyfile(own / file, folder / file)
        else:
            (folder / file).write_text(bpe_file(file, tokenizer_json(own)))


def write_tokenizer(folder: Path, checkpoint: Checkpoint) -> None:
    """Write the first tokenizer to `folder` and the others beside it, each with the tokenizer.json of the contract."""
    for name in checkpoint.tokenizers:
        target, own = folder.with_name(name), checkpoint.folder / name
        target.mkdir(parents=True, exist_ok=True)
        for file in TOKENIZER_FILES:
            if (own / file).is_file():
                shutil.copyfile(own / file, target / file)
        (target / "tokenizer.json").write_bytes(tokenizer_json(own))


def _later_steps(folder: Path, checkpoint: Checkpoint) -> list[str]:
    """Return unet_2, unet_3 ... where the graphs are of a loop."""
    return sorted({path.name.partition(".")[0] for path in folder.glob(f"{checkpoint.denoiser}_[0-9]*")})


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")
