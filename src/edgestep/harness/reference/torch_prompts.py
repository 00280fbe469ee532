"""A prompt -> token ids and mask -> what the pipeline is conditioned on, by the pipeline's own parts.

sd       one CLIP, its last hidden state                                     prompt_embeds [B, 77, D]
sdxl     two CLIPs, the hidden states before the last, side by side;         prompt_embeds [B, 77, D + E]
         the second one's pooled output                                      pooled [B, E]
pixart   T5, the prompt in lower case, 120 tokens and their mask             prompt_embeds [B, 120, D]
sana     Gemma 2, an instruction before the prompt, which the network        prompt_embeds [B, 300, D]
         does not see: the first token and the last 299 remain
"""

import inspect
from typing import Any

import numpy as np

from edgestep.artifact import BadInput

IDS, IDS_2, MASK = "input_ids", "input_ids_2", "attention_mask"
INPUTS = {"sd": (IDS,), "sdxl": (IDS, IDS_2), "pixart": (IDS, MASK), "sana": (IDS, MASK)}
"""OneStep.base -> the inputs that come from a prompt, all int64 [B, T]."""


def inputs_from_prompt(pipe: Any, base: str, prompt: str) -> dict[str, np.ndarray]:
    """Return int64 [1, T] arrays by name, as in INPUTS; BadInput for an empty or over-long prompt, never cut."""
    if not prompt.strip():
        raise BadInput("got an empty prompt; expected some words; name what to draw")
    most, text = prompt_tokens(pipe, base), prompt
    if base in ("pixart", "sana"):
        text = pipe._text_preprocessing(prompt, clean_caption=False)[0]  # lower case, stripped
        pipe.tokenizer.padding_side = "right"
    if base == "sana":
        text = instruction(pipe) + text
    first = _tokens(pipe.tokenizer, text, most, prompt)
    found = {IDS: first.input_ids, MASK: first.attention_mask}
    if base == "sdxl":
        found[IDS_2] = _tokens(pipe.tokenizer_2, text, most, prompt).input_ids
    return {name: np.array([found[name]], dtype=np.int64) for name in INPUTS[base]}


def prompt_tokens(pipe: Any, base: str) -> int:
    """Return T, what a prompt is padded to: the pipeline's own defaults."""
    if base == "pixart":
        return _default(pipe, "max_sequence_length")
    if base == "sana":
        return len(pipe.tokenizer.encode(instruction(pipe))) + _default(pipe, "max_sequence_length") - 2
    return min(pipe.tokenizer.model_max_length, pipe.text_encoder.config.max_position_embeddings)


def instruction(pipe: Any) -> str:
    """Return the text that SanaSprintPipeline puts before every prompt."""
    return "\n".join(_default(pipe, "complex_human_instruction"))


def conditioning(pipe: Any, base: str, inputs: dict[str, Any]) -> dict[str, Any]:
    """Return the keywords of the pipeline's call for input tensors by name: embeddings, and what goes with them."""
    if base == "sd":
        return {"prompt_embeds": pipe.text_encoder(inputs[IDS])[0]}
    if base == "sdxl":
        first = pipe.text_encoder(inputs[IDS], output_hidden_states=True)
        second = pipe.text_encoder_2(inputs[IDS_2], output_hidden_states=True)
        sides = [first.hidden_states[-2], second.hidden_states[-2]]
        return {"prompt_embeds": _torch().concat(sides, dim=-1), "pooled_prompt_embeds": second[0]}
    mask = inputs[MASK]
    embeds = pipe.text_encoder(inputs[IDS], attention_mask=mask)[0]
    if base == "sana":
        kept = [0, *range(1 - _default(pipe, "max_sequence_length"), 0)]
        embeds, mask = embeds[:, kept], mask[:, kept]
    told = {"prompt_embeds": embeds, "prompt_attention_mask": mask}
    return {**told, "negative_prompt": None} if base == "pixart" else told


def _tokens(tokenizer: Any, text: str, most: int, prompt: str) -> Any:
    tokens = tokenizer(text, padding="max_length", max_length=most, truncation=False)
    if len(tokens.input_ids) > most:
        got = f"a prompt of {len(tokens.input_ids)} tokens ({prompt[:40]!r})"
        raise BadInput(f"got {got}; expected at most {most}; shorten it")
    return tokens


def _default(pipe: Any, name: str) -> Any:
    return inspect.signature(type(pipe).__call__).parameters[name].default


def _torch() -> Any:
    import torch

    return torch
