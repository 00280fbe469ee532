"""Icon packages -> pictures, captions, and pictures of other things, some of them held out."""

import io
import json
import tarfile
from pathlib import Path

import pytest
from safetensors.numpy import load_file

from edgestep.artifact import BadInput
from edgestep.distill.emoji.concepts import MORE, concepts_from_packages, is_held_out, others_in_packages
from edgestep.distill.emoji.pictures import (
    build_pictures,
    fetch_packages,
    picture_from_svg,
    read_held_out_pictures,
    read_package,
    read_training_pictures,
    tarball_pattern,
)
from edgestep.distill.emoji.recipe import PACKAGES, EmojiRecipe

RED = '<rect x="8" y="8" width="16" height="16" fill="#f00"/>'
BLUE = RED.replace("#f00", "#00f")
OTHERS = [f"thing-{i}" for i in range(40)]
"""Names that are no concept: blue where they are held out, red where not."""


def icons_of(style: str) -> dict[str, dict[str, str]]:
    wanted = {"red-heart": {"body": RED}, "pizza": {"body": RED}, "flag-nowhere": {"body": RED}}
    others = OTHERS if style in {"noto", "fluent"} else OTHERS[:5]
    return wanted | {name: {"body": BLUE if is_held_out(name) else RED} for name in others}


def write_package(folder: Path, style: str) -> None:
    files = {
        "icons.json": {"icons": icons_of(style), "width": 32},
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


@pytest.fixture
def work(tmp_path: Path) -> Path:
    icons = tmp_path / "icons"
    icons.mkdir()
    for style in PACKAGES:
        write_package(icons, style)
    fetch_packages(icons)  # all there: npm is not asked
    recipe = EmojiRecipe(canvas_size=32)
    assert build_pictures(icons, tmp_path / "work", recipe) == 8
    return tmp_path / "work"


def test_packages_become_pictures_and_captions(work: Path):
    pictures = load_file(work / "pictures.safetensors")["pictures"]
    assert pictures.shape == (8, 3, 32, 32)
    assert pictures[0, :, 16, 16].tolist() == [255, 0, 0]
    assert pictures[0, :, 0, 0].tolist() == [255, 255, 255]
    card = json.loads((work / "captions.json").read_text())
    assert card["concepts"] == ["pizza", "red heart"]
    assert card["rows"] == [[concept, style] for concept in card["concepts"] for style in PACKAGES]
    assert card["packages"]["noto"] == {"version": "1.2.3", "licence": "MIT"}


def test_held_out_names_are_never_in_training(work: Path):
    held_out = [name for name in OTHERS if is_held_out(name)]
    assert 0 < len(held_out) < len(OTHERS) / 2
    styles_of = {name: [style for style in PACKAGES if name in icons_of(style)] for name in OTHERS}
    training, kept = read_training_pictures(work), read_held_out_pictures(work)
    assert len(kept) == sum(len(styles_of[name]) for name in held_out)
    assert len(training) == 8 + sum(len(styles_of[name]) for name in OTHERS if name not in held_out)
    assert kept[:, :, 16, 16].tolist() == [[0, 0, 255]] * len(kept)
    assert training[:, :, 16, 16].tolist() == [[255, 0, 0]] * len(training)


def test_a_sixteenth_of_all_names_is_held_out_and_no_concept_is_among_the_others():
    assert sum(is_held_out(f"name {i}") for i in range(16_000)) == pytest.approx(1000, rel=0.1)
    names = ["pizza", "rocket", "owl", "flag-france", "waving-hand-medium-skin-tone", "abacus"]
    package = {"icons": dict.fromkeys(names, ""), "aliases": {}, "categories": {"Food & Drink": ["pizza"]}}
    half = package | {"icons": dict.fromkeys(names[:-1], "")}
    concepts = concepts_from_packages({"a": package, "b": half})
    assert "rocket" in MORE
    assert concepts == ["pizza", "rocket"]
    assert others_in_packages({"a": package, "b": half}, concepts) == ["abacus", "owl"]


def test_a_tarball_of_something_else_is_refused(tmp_path: Path):
    with tarfile.open(tmp_path / "x.tgz", "w:gz") as tar:
        tar.addfile(tarfile.TarInfo("package/readme"), io.BytesIO(b""))
    with pytest.raises(BadInput, match="no iconify package"):
        read_package(tmp_path / "x.tgz")
    whole = (tmp_path / "x.tgz").read_bytes()
    (tmp_path / "x.tgz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BadInput, match="remove it"):
        read_package(tmp_path / "x.tgz")
