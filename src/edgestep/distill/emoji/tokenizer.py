"""Captions -> CLIPTokenizer with a small byte-level BPE vocabulary of its own.

The vocabulary holds all 256 bytes, alone and at the end of a word, so that any text can be encoded.
"""

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

from edgestep.distill.emoji.recipe import EmojiRecipe

BOS, EOS = "<|startoftext|>", "<|endoftext|>"
WORD = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"


def train_tokenizer(captions: Sequence[str], recipe: EmojiRecipe):
    """Return a `CLIPTokenizerFast` of `recipe.vocabulary` entries at the most, trained on `captions`."""
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
    from transformers import CLIPTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    words.normalizer = normalizers.Lowercase()
    words.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORD), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=recipe.vocabulary - 2,
        initial_alphabet=alphabet,
        end_of_word_suffix="</w>",
        show_progress=False,
    )
    words.train_from_iterator(captions, trainer)
    merges = json.loads(words.to_str())["model"]["merges"]
    base = alphabet + [letter + "</w>" for letter in alphabet]
    merges = [tuple(pair) for pair in merges][: recipe.vocabulary - len(base) - 2]
    tokens = list(dict.fromkeys([*base, *("".join(pair) for pair in merges), BOS, EOS]))
    with tempfile.TemporaryDirectory() as folder:
        vocab, merge_file = Path(folder, "vocab.json"), Path(folder, "merges.txt")
        vocab.write_text(json.dumps({token: i for i, token in enumerate(tokens)}))
        merge_file.write_text("#version: 0.2\n" + "\n".join(" ".join(pair) for pair in merges) + "\n")
        return CLIPTokenizerFast(str(vocab), str(merge_file), model_max_length=recipe.prompt_tokens, pad_token=EOS)
