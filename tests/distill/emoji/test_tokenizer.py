"""The tokenizer: any text can be encoded."""

import pytest

from edgestep.distill.emoji.recipe import EmojiRecipe
from edgestep.distill.emoji.tokenizer import train_tokenizer


@pytest.mark.parametrize("text", ["grinning face", "héllo <3", "日本", "a" * 60])
def test_any_text_can_be_encoded_and_comes_back(text: str):
    tokenizer = train_tokenizer(["grinning face", "red heart"], EmojiRecipe(vocabulary=540))
    ids = tokenizer(text).input_ids
    assert tokenizer.unk_token_id not in ids[1:-1]
    assert tokenizer.decode(ids, skip_special_tokens=True).replace(" ", "") == text.replace(" ", "")
