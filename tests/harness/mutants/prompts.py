"""Mutants of what the network is told of the prompt, and of what it sees of the noise."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from edgestep.artifact import read_artifact
from tests.harness.mutants.mutant import adopt_tokenizer, change_contract, replace_bytes
from tests.harness.mutants.onnx_graph import FORMULA, Graph, edited

TOKENS = "text_encoder.text_model.embeddings.token_embedding/Gather"
POSITIONS = "text_encoder.text_model.embeddings.position_embedding/Gather"
LAYER = "text_encoder.text_model.encoder.layers"
FINAL_NORM = "text_encoder.text_model.final_layer_norm/LayerNormalization"
GRINNING_FACE, PIZZA = (532, 621, 535), (530, 1432, 320)
"""The tokens of two prompts of the bundle, "noto grinning face" and "fluent pizza"."""


def swapped_prompts(folder: Path) -> None:
    """The prompt "noto grinning face" draws "fluent pizza", and the other way round."""
    with edited(folder, "text_encoder") as graph:
        table = graph.weight(TOKENS, 0)
        table[[*GRINNING_FACE, *PIZZA]] = table[[*PIZZA, *GRINNING_FACE]]
        graph.set_weight(TOKENS, 0, table)


def bos_dropped(folder: Path) -> None:
    """The ids lose their start token: each moves one to the left, a pad token fills the end."""
    contract = read_artifact(folder, verify=False).contract
    order = np.arange(1, contract.prompt_tokens + 1) % contract.prompt_tokens
    with edited(folder, "text_encoder") as graph:
        table = graph.weight(TOKENS, 0)
        table[contract.bos_token_id] = table[contract.pad_token_id]  # the one that goes round to the end
        graph.set_weight(TOKENS, 0, table)
        graph.after_input("input_ids", ("Gather", (order,), {"axis": 1}))


def padded_with_another_token(folder: Path) -> None:
    """What stands behind the first end token is id 0, not the end token again."""
    contract = read_artifact(folder, verify=False).contract
    with edited(folder, "text_encoder") as graph:
        table = graph.weight(TOKENS, 0)
        row = table[contract.pad_token_id] - table[0]
        shift = np.zeros((1, contract.prompt_tokens, table.shape[1]), np.float32)
        shift[:, 5:] = -row  # the prompts of the bundle have 3 tokens, start and end apart
        graph.after(TOKENS, ("Add", (shift,), {}))


def causal_mask_dropped(folder: Path) -> None:
    """Every token of the prompt attends to every other."""
    tokens = read_artifact(folder, verify=False).contract.prompt_tokens
    with edited(folder, "text_encoder") as graph:
        for node in graph.graph.node:
            if node.op_type in ("Add", "Attention") and "expand" in node.input:
                node.input[list(node.input).index("expand")] = graph.constant(
                    np.zeros((1, 1, tokens, tokens), np.float32)
                )


def positions_off_by_one(folder: Path) -> None:
    """Each token is told the position of the next."""
    with edited(folder, "text_encoder") as graph:
        graph.set_weight(POSITIONS, 0, np.roll(graph.weight(POSITIONS, 0), -1, axis=0))


def silu_for_quick_gelu(folder: Path) -> None:
    """x sigmoid(x) for x sigmoid(1.702 x) in the text encoder."""
    with edited(folder, "text_encoder") as graph:
        for layer in range(3):
            graph.set_weight(f"{LAYER}.{layer}.mlp.activation_fn/Mul", 1, np.float32(1))


def clip_skip(folder: Path) -> None:
    """The embeddings are those of the layer before the last."""
    with edited(folder, "text_encoder") as graph:
        graph.node(FINAL_NORM).input[0] = graph.node(f"{LAYER}.1/Add_2").output[0]


def stale_text_encoder(folder: Path) -> None:
    """The text encoder is of another training step: each weight matrix is off by 1 % of its own spread."""
    random = np.random.default_rng(0)
    with edited(folder, "text_encoder") as graph:
        for node in graph.nodes("MatMul", LAYER):
            weight = _constant_or_none(graph, node.name)
            if weight is not None:
                noise = random.standard_normal(weight.shape, np.float32) * weight.std()
                graph.set_weight(node.name, 1, weight + np.float32(0.01) * noise)


def prompt_ignored(folder: Path) -> None:
    """Every prompt gives the embeddings of nothing."""
    with edited(folder, "text_encoder") as graph:
        graph.after(FINAL_NORM, ("Mul", (np.float32(0),), {}))


def noise_ignored(folder: Path) -> None:
    """Every noise is seen as zeros."""
    with edited(folder, "unet") as graph:
        graph.after_input(graph.noise, ("Mul", (np.float32(0),), {}))


def noise_negated(folder: Path) -> None:
    """The network sees -z, the formula too."""
    with edited(folder, "unet") as graph:
        graph.after_input(graph.noise, ("Neg", (), {}))


def noise_forgotten_in_formula(folder: Path) -> None:
    """x0 = -k_e F."""
    with edited(folder, "unet") as graph:
        graph.set_weight(FORMULA[0], 1, np.float32(0))


def another_tokenizer(folder: Path) -> None:
    """Another tokenizer.json lies in the folder; the contract still names the right one's hash."""
    _change_tokenizer(folder, _swap_words)


def another_tokenizer_vouched_for(folder: Path) -> None:
    """Another tokenizer.json, where two words have changed places, and the contract names its hash."""
    _change_tokenizer(folder, _swap_words)
    adopt_tokenizer(folder)


def tokenizer_without_bos(folder: Path) -> None:
    """The tokenizer adds no start and end token, and the contract names its hash."""
    _change_tokenizer(folder, lambda raw: raw.update(post_processor=None))
    adopt_tokenizer(folder)


def tokenizer_keeps_case(folder: Path) -> None:
    """The tokenizer does not lower the prompt's case, and the contract names its hash."""
    _change_tokenizer(folder, lambda raw: raw["normalizer"].update(normalizers=raw["normalizer"]["normalizers"][:2]))
    adopt_tokenizer(folder)


def contract_pads_with_another_token(folder: Path) -> None:
    """The contract names id 0 as the pad token: what feeds the graph is padded with it."""
    change_contract(folder, pad_token_id=0)


def tokenizer_missing(folder: Path) -> None:
    """There is no tokenizer.json."""
    (folder / "tokenizer" / "tokenizer.json").unlink()


def _swap_words(raw: dict) -> None:
    words = raw["model"]["vocab"]
    words["face</w>"], words["heart</w>"] = words["heart</w>"], words["face</w>"]


def _change_tokenizer(folder: Path, change: Callable[[dict], object]) -> None:
    path = folder / "tokenizer" / "tokenizer.json"
    raw = json.loads(path.read_text())
    change(raw)
    replace_bytes(path, json.dumps(raw).encode())


def _constant_or_none(graph: Graph, node: str) -> np.ndarray | None:
    names = {one.name for one in graph.graph.initializer}
    return graph.weight(node, 1) if graph.node(node).input[1] in names else None
