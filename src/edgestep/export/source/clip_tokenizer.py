"""vocab.json and merges.txt of a CLIP tokenizer -> its tokenizer.json, with the tokenizers library alone.

Byte-level BPE over lower-case words that end in </w>, between the two special tokens (2103.00020, section 2.4).
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgestep.artifact import BadInput

BOS, EOS = "<|startoftext|>", "<|endoftext|>"
WORDS = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
OWN = {"bos": BOS, "eos": EOS, "unk": EOS, "pad": EOS}
MOST_MERGES = 49152 - 256 - 2


def clip_tokenizer_json(folder: Path, special: Mapping[str, Any]) -> bytes:
    """Return tokenizer.json; `special` has bos_token, eos_token, unk_token and pad_token, CLIP's own where missing.

    A pad that is a common sign, as "!" in OpenCLIP's, is special as well: in a prompt it then becomes its own id.
    Raises BadInput for files that do not fit together.
    """
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    vocabulary, merges = _vocabulary(folder / "vocab.json"), _merges(folder / "merges.txt")
    tokens = {role: special.get(f"{role}_token") or text for role, text in OWN.items()}
    named = {role: str(t["content"] if isinstance(t, Mapping) else t) for role, t in tokens.items()}
    normalized = {text for text, t in zip(named.values(), tokens.values(), strict=True) if _is_normalized(t)}
    missing = [text for text in named.values() if text not in vocabulary]
    if missing:
        raise BadInput(f"got no {missing[0]!r} in {folder / 'vocab.json'}; expected CLIP's tokens; download it again")
    try:
        model = models.BPE(
            vocab=vocabulary,
            merges=merges,
            unk_token=named["unk"],
            continuing_subword_prefix="",
            end_of_word_suffix="</w>",
        )
    except Exception as error:  # the library raises bare Exception
        raise BadInput(f"got merges that do not fit vocab.json in {folder} ({error}); download it again") from error
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    split = pre_tokenizers.Split(Regex(WORDS), behavior="removed", invert=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokenizer.decoder = decoders.ByteLevel()
    bos, eos = named["bos"], named["eos"]
    tokenizer.post_processor = processors.RobertaProcessing(
        sep=(eos, vocabulary[eos]), cls=(bos, vocabulary[bos]), trim_offsets=False, add_prefix_space=False
    )
    added = [AddedToken(text, normalized=text in normalized) for text in dict.fromkeys(named.values())]
    tokenizer.add_special_tokens(added)
    return tokenizer.to_str(pretty=True).encode()


def _is_normalized(token: Any) -> bool:
    return isinstance(token, Mapping) and bool(token.get("normalized"))


def _vocabulary(path: Path) -> dict[str, int]:
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
        return {str(token): int(number) for token, number in content.items()}
    except (ValueError, AttributeError, TypeError) as error:
        raise BadInput(f"got a broken {path} ({error}); expected tokens and their ids; download it again") from error


def _merges(path: Path) -> list[tuple[str, str]]:
    lines = path.read_text(encoding="utf-8").strip().split("\n")[1 : MOST_MERGES + 1]
    pairs = [tuple(line.split()) for line in lines]
    if any(len(pair) != 2 for pair in pairs):
        raise BadInput(f"got a line of {path} that is no pair; expected two pieces a line; download it again")
    return pairs
