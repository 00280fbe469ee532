"""Pictures and captions -> a data folder, held against the VAE and the tokenizer themselves."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL
from diffusers.image_processor import VaeImageProcessor
from PIL import Image
from transformers import CLIPTokenizerFast

from edgestep.artifact import BadInput
from edgestep.distill.data import command, precompute
from edgestep.distill.data.open_data import open_data
from edgestep.distill.data.picture import UnreadablePicture, read_picture
from edgestep.distill.workers import Workers

RNG = np.random.default_rng(0)
LONG = "a red heart and a green apple and a cat face and a grinning face " * 3


@pytest.fixture
def teacher(tiny: Path) -> Path:
    return tiny


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Six pictures of the teacher's size, so that no resizing stands between them and the VAE; two do not open."""
    folder = tmp_path / "pictures"
    (folder / "more").mkdir(parents=True)
    for i in range(6):
        path = folder / ("more" if i % 2 else ".") / f"{i}.png"
        Image.fromarray(RNG.integers(0, 255, (16, 16, 3), dtype=np.uint8)).save(path)
        path.with_suffix(".txt").write_text(f"  picture\n {i} \n")
    (folder / "4.txt").write_text(LONG)
    torn = folder / "more" / "7.png"
    torn.write_bytes((folder / "0.png").read_bytes()[:200])
    (folder / "note.png").write_text("I am no picture")
    for name in ("more/7.txt", "note.txt"):
        (folder / name).write_text("a caption")
    return folder


def run(pictures: Path, teacher: Path, out: Path, **options: Any) -> dict[str, Any]:
    return precompute.precompute(pictures, teacher, out, Workers.of(cpu=True), **options)


def test_latents_and_ids_are_the_teachers_own(pictures: Path, teacher: Path, tmp_path: Path):
    told = run(pictures, teacher, tmp_path / "data", batch=2, shard_rows=3)
    assert (told["items"], sum(told["rows"]), told["truncated"]) == (8, 6, 1)
    data = open_data(tmp_path / "data")
    latents, ids = data.take(torch.arange(len(data)))
    order = ["0.png", "2.png", "4.png", "more/1.png", "more/3.png", "more/5.png"]
    texts = ["picture 0", "picture 2", " ".join(LONG.split()), "picture 1", "picture 3", "picture 5"]
    vae = AutoencoderKL.from_pretrained(teacher / "vae")
    seen = VaeImageProcessor(do_resize=False).preprocess([Image.open(pictures / name) for name in order])
    with torch.no_grad():
        expected = vae.encode(seen).latent_dist.mean * vae.config.scaling_factor
    assert torch.allclose(latents, expected, atol=2e-3 * float(expected.abs().max()))
    tokenizer = CLIPTokenizerFast.from_pretrained(teacher / "tokenizer")
    assert ids.tolist() == tokenizer(texts, padding="max_length", truncation=True, max_length=16).input_ids
    assert data.texts(torch.arange(6)) == texts
    assert data.latent_scale == vae.config.scaling_factor


def test_what_cannot_be_read_is_listed(pictures: Path, teacher: Path, tmp_path: Path):
    told = run(pictures, teacher, tmp_path / "data")
    assert [row["file"] for row in told["skipped"]] == ["more/7.png", "note.png"]
    said = command.text_from_about(told, tmp_path / "data")
    assert "6 of 8 pictures" in said
    assert "captions cut to 16 tokens: 1" in said
    assert "pictures skipped: 2" in said
    assert "  note.png: it is in no format that is known" in said
    assert "  more/7.png: " in said
    assert str(tmp_path / "pictures") not in said + json.dumps(told)


def test_a_latent_that_is_not_finite_is_skipped(pictures: Path, teacher: Path, tmp_path: Path):
    plain = precompute.open_encoder

    def burst(folder: Path, device: torch.device) -> Any:
        encoder = plain(folder, device)
        weight = encoder.vae.encoder.conv_in.weight
        encoder.vae.encoder.conv_in.register_forward_pre_hook(
            lambda _, args: (torch.where(args[0] > 0.999, torch.full_like(weight[:1, :1, :1, :1], torch.inf), args[0]),)
        )
        return encoder

    white = np.zeros((16, 16, 3), np.uint8)
    white[3, 3] = 255
    Image.fromarray(white).save(pictures / "0.png")
    for i in range(1, 6):
        path = pictures / ("more" if i % 2 else ".") / f"{i}.png"
        Image.fromarray(RNG.integers(0, 200, (16, 16, 3), dtype=np.uint8)).save(path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(precompute, "open_encoder", burst)
        told = run(pictures, teacher, tmp_path / "data")
    assert {"file": "0.png", "reason": "its latent is not finite in float16"} in told["skipped"]
    assert sum(told["rows"]) == 5


def test_killed_and_run_again_ends_with_the_same_bytes(pictures: Path, teacher: Path, tmp_path: Path):
    run(pictures, teacher, tmp_path / "whole", shard_rows=2)
    plain, begun = precompute.block_from_pictures, []

    def dying(*args: Any) -> Any:
        begun.append(args[1])
        if len(begun) == 3:
            raise KeyboardInterrupt
        return plain(*args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(precompute, "block_from_pictures", dying)
        with pytest.raises(KeyboardInterrupt):
            run(pictures, teacher, tmp_path / "data", shard_rows=2)
    assert not json.loads((tmp_path / "data" / "data.json").read_text())["finished"]
    run(pictures, teacher, tmp_path / "data", shard_rows=2)
    whole, pieces = ({p.name: p.read_bytes() for p in (tmp_path / n).iterdir()} for n in ("whole", "data"))
    assert whole == pieces

    (pictures / "0.txt").write_text("another caption")
    with pytest.raises(BadInput, match="begun with another source_sha256"):
        run(pictures, teacher, tmp_path / "data", shard_rows=2)


def test_captions_can_stand_in_one_file(pictures: Path, teacher: Path, tmp_path: Path):
    lines = [
        {"file": "more/1.png", "text": "one"},
        {"file": "gone.png", "text": "gone"},
        {"file": "0.png", "text": "x"},
    ]
    (pictures / "captions.jsonl").write_text("\n\n".join(json.dumps(line) for line in lines) + "\n")
    told = run(pictures, teacher, tmp_path / "data")
    assert told["skipped"] == [{"file": "gone.png", "reason": "there is no such file"}]
    assert open_data(tmp_path / "data").texts(torch.tensor([0, 1])) == ["one", "x"]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('{"file": "../0.png", "text": "x"}', "stays inside"),
        ('{"file": "/etc/passwd", "text": "x"}', "stays inside"),
        ('{"file": "0.png"}', "line 1 of .* broken"),
        ('{"file": "0.png", "text": 5}', "line 1 of .* no string"),
        ("[1]", "line 1 of .* broken"),
        ("{", "line 1 of .* broken"),
        ('{"file": "0.png", "text": " "}', "no caption for 0.png"),
    ],
)
def test_bad_lines_are_refused(pictures: Path, teacher: Path, tmp_path: Path, line: str, told: str):
    (pictures / "captions.jsonl").write_text(line)
    with pytest.raises(BadInput, match=told):
        run(pictures, teacher, tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_links_that_leave_the_folder_are_refused(pictures: Path, teacher: Path, tmp_path: Path):
    shutil.copy(pictures / "0.png", tmp_path / "secret.png")
    os.symlink(tmp_path / "secret.png", pictures / "link.png")
    with pytest.raises(BadInput, match="leaves the folder"):
        run(pictures, teacher, tmp_path / "data")


def test_empty_captions_are_named_unless_allowed(pictures: Path, teacher: Path, tmp_path: Path):
    (pictures / "0.txt").write_text(" \n")
    (pictures / "2.txt").unlink()
    with pytest.raises(BadInput, match=r"no caption for 0\.png, 2\.png; .*--allow-empty"):
        run(pictures, teacher, tmp_path / "data")
    run(pictures, teacher, tmp_path / "data", allow_empty=True)
    data = open_data(tmp_path / "data")
    assert data.texts(torch.tensor([0, 1])) == ["", ""]


def test_folders_without_pictures_are_refused(teacher: Path, tmp_path: Path):
    with pytest.raises(BadInput, match="no folder"):
        run(tmp_path / "nowhere", teacher, tmp_path / "data")
    with pytest.raises(BadInput, match="no picture in"):
        run(tmp_path, teacher, tmp_path / "data")


def test_folders_that_are_no_teacher_are_refused(pictures: Path, teacher: Path, tmp_path: Path):
    broken = tmp_path / "broken"
    shutil.copytree(teacher, broken)
    config = json.loads((broken / "unet" / "config.json").read_text())
    (broken / "unet" / "config.json").write_text(json.dumps({**config, "sample_size": None}))
    with pytest.raises(BadInput, match="sample_size None"):
        run(pictures, broken, tmp_path / "data")
    shutil.copy(teacher / "unet" / "config.json", broken / "unet" / "config.json")
    shutil.rmtree(broken / "tokenizer")
    with pytest.raises(BadInput, match="no tokenizer"):
        run(pictures, broken, tmp_path / "data")
    weights = broken / "vae" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(BadInput, match="does not load"):
        run(pictures, broken, tmp_path / "data")
    weights.rename(weights.with_suffix(".bin"))
    with pytest.raises(BadInput, match="expected AutoencoderKL in safetensors"):
        run(pictures, broken, tmp_path / "data")
    with pytest.raises(BadInput, match=r"no readable .*unet/config\.json"):
        run(pictures, tmp_path / "nothing", tmp_path / "data")


def test_the_centre_is_kept_and_the_transparent_is_white(tmp_path: Path):
    wide = np.zeros((10, 30, 4), np.uint8)
    wide[:, 10:20] = (10, 200, 30, 255)
    wide[:5, 10:20, 3] = 0
    Image.fromarray(wide).save(tmp_path / "wide.png")
    read = read_picture(tmp_path / "wide.png", (10, 10))
    assert (read[:5] == 255).all()
    assert (read[5:] == (10, 200, 30)).all()
    assert read_picture(tmp_path / "wide.png", (4, 12)).shape == (4, 12, 3)


def test_a_turned_photograph_stands_upright(tmp_path: Path):
    half = np.zeros((16, 16, 3), np.uint8)
    half[:8] = 255
    exif = Image.Exif()
    exif[0x0112] = 3  # turned by half a circle
    Image.fromarray(half).save(tmp_path / "a.jpg", exif=exif)
    read = read_picture(tmp_path / "a.jpg", (16, 16))
    assert read[8:].mean() > 200
    assert read[:8].mean() < 50


def test_pictures_of_16_bits_are_told(tmp_path: Path):
    Image.fromarray(np.full((8, 8), 40_000, np.uint16)).save(tmp_path / "a.png")
    with pytest.raises(UnreadablePicture, match="more than 8 bits"):
        read_picture(tmp_path / "a.png", (8, 8))


def test_the_command_says_what_it_made(pictures: Path, teacher: Path, tmp_path: Path, capsys: Any):
    command.precompute(pictures, teacher, tmp_path / "data", batch=3, shard_rows=4, allow_empty=False, cpu=True)
    assert "6 of 8 pictures as latents of 4 x 8 x 8, 2 shards" in capsys.readouterr().out
