"""Icon packages -> pictures and captions -> token ids; the measure of concepts."""

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from edgestep.artifact import BadInput
from edgestep.distill.autoencoder import CHROMA, luma_chroma
from edgestep.distill.captions import read_captions
from edgestep.distill.measure import concept_accuracy
from edgestep.distill.pictures import build_pictures, fetch_packages, picture_from_svg, read_package, tarball_pattern
from edgestep.distill.recipe import PACKAGES, EmojiRecipe
from edgestep.distill.tokenizer import train_tokenizer

RED = '<rect x="8" y="8" width="16" height="16" fill="#f00"/>'


def write_package(folder: Path, style: str) -> None:
    files = {
        "icons.json": {"icons": {"red-heart": {"body": RED}, "pizza": {"body": RED}}, "width": 32},
        "metadata.json": {"categories": {"Food & Drink": ["pizza"], "Smileys & Emotion": ["red-heart", "ghost"]}},
        "info.json": {"license": {"spdx": "MIT"}},
        "package.json": {"version": "1.2.3"},
    }
    name = tarball_pattern(style).replace("[0-9]*", "1.2.3")
    with tarfile.open(folder / name, "w:gz") as tar:
        for file, content in files.items():
            data = json.dumps(content).encode()
            member = tarfile.TarInfo(f"package/{file}")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))


def test_an_svg_is_drawn_on_white():
    picture = picture_from_svg(RED, 32, 64)
    assert picture.shape == (64, 64, 3)
    assert picture[32, 32].tolist() == [255, 0, 0]
    assert picture[2, 2].tolist() == [255, 255, 255]


def test_packages_become_pictures_and_captions(tmp_path: Path):
    icons, work = tmp_path / "icons", tmp_path / "work"
    icons.mkdir()
    for style in PACKAGES:
        write_package(icons, style)
    fetch_packages(icons)  # all there: npm is not asked
    recipe = EmojiRecipe(canvas_size=32, prompt_tokens=24, vocabulary=540)
    assert build_pictures(icons, work, recipe) == 8
    pictures = load_file(work / "pictures.safetensors")["pictures"]
    assert pictures.shape == (8, 3, 32, 32)
    assert pictures[0, :, 16, 16].tolist() == [255, 0, 0]
    card = json.loads((work / "captions.json").read_text())
    assert card["concepts"] == ["pizza", "red heart"]
    captions = read_captions(work, train_tokenizer(["red heart", "pizza"], recipe), recipe)
    assert captions.texts[captions.null] == ""
    assert [captions.texts[i] for i in captions.styled[:2]] == ["noto pizza", "classic pizza"]
    drawn = captions.draw(torch.arange(8).repeat(500), recipe, torch.Generator().manual_seed(0))
    assert abs((drawn == captions.null).float().mean() - recipe.null_text) < 0.02
    unstyled = torch.isin(drawn, captions.unstyled).float().mean()
    assert abs(unstyled - recipe.unstyled_text) < 0.03


def test_a_tarball_of_something_else_is_refused(tmp_path: Path):
    with tarfile.open(tmp_path / "x.tgz", "w:gz") as tar:
        tar.addfile(tarfile.TarInfo("package/readme"), io.BytesIO(b""))
    with pytest.raises(BadInput, match="no iconify package"):
        read_package(tmp_path / "x.tgz")
    whole = (tmp_path / "x.tgz").read_bytes()
    (tmp_path / "x.tgz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BadInput, match="remove it"):
        read_package(tmp_path / "x.tgz")


@pytest.mark.parametrize("text", ["grinning face", "héllo <3", "日本", "a" * 60])
def test_any_text_can_be_encoded_and_comes_back(text: str):
    tokenizer = train_tokenizer(["grinning face", "red heart"], EmojiRecipe(vocabulary=540))
    ids = tokenizer(text).input_ids
    assert tokenizer.unk_token_id not in ids[1:-1]
    assert tokenizer.decode(ids, skip_special_tokens=True).replace(" ", "") == text.replace(" ", "")


def test_luma_and_chroma_are_bt601():
    grey = luma_chroma(torch.full((1, 3, 1, 1), 0.7)).flatten()
    torch.testing.assert_close(grey, torch.tensor([0.7, 0.0, 0.0]), atol=1e-6, rtol=0)
    blue = luma_chroma(torch.tensor([0.0, 0.0, 1.0]).view(1, 3, 1, 1)).flatten()
    torch.testing.assert_close(blue[:2], torch.tensor([0.114, CHROMA * 0.5]), atol=1e-3, rtol=0)


def test_concept_accuracy_counts_the_nearest():
    known, of = torch.eye(6) * 10, torch.tensor([0, 0, 1, 1, 2, 2])
    drawn = torch.stack([known[0] + 0.1, known[2] + 0.1, known[4] + 0.1])
    found = concept_accuracy(drawn, torch.tensor([0, 1, 0]), known, of)
    assert found["top1"] == pytest.approx(2 / 3)
    assert found["top5"] == pytest.approx(1.0)
    assert np.isfinite(list(found.values())).all()
