"""CLIP score and Inception FID: through torchmetrics where it is, one clear line where it is not."""

import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from edgestep.artifact import BadInput
from edgestep.distill.evaluation import extras
from edgestep.distill.evaluation.clip_score import ClipScore
from edgestep.distill.evaluation.command import evaluate_folders
from edgestep.distill.evaluation.frechet import frechet_distance
from edgestep.distill.evaluation.inception import InceptionFid
from edgestep.distill.evaluation.large import evaluate_large
from edgestep.distill.evaluation.real_pictures import real_batches
from edgestep.distill.evaluation.sizes import Sizes
from edgestep.distill.evaluation.ways import one_step_way, teacher_way
from tests.distill.evaluation.toys import new_parts, save_folder, write_data

CPU = torch.device("cpu")
SMALL = Sizes(pictures=8, held_out=4, diversity_prompts=2, diversity_seeds=2, batch=3, turns=1, resamples=5)

HAS = {name: find_spec(name) is not None for name in ("torchmetrics", "torch_fidelity", "torchvision")}
needs_torchmetrics = pytest.mark.skipif(not HAS["torchmetrics"], reason="needs the extra 'metrics'")
needs_fidelity = pytest.mark.skipif(not all(HAS.values()), reason="needs the extra 'metrics'")


def write_captioned(folder: Path) -> Path:
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(5):
        Image.fromarray(rng.integers(0, 255, (40, 50, 3), dtype=np.uint8)).save(folder / f"{i}.png")
        (folder / f"{i}.txt").write_text(f"red heart {i}")
    return folder


def save_clip(folder: Path) -> Path:
    """A CLIP model of random weights, its tokenizer the toy teacher's."""
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPProcessor

    tokenizer = new_parts()[0].tokenizer
    text = {"vocab_size": len(tokenizer), "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1}
    text |= {"num_attention_heads": 2, "max_position_embeddings": 8, "projection_dim": 12}
    text |= {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    vision = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    vision |= {"image_size": 32, "patch_size": 8, "projection_dim": 12}
    torch.manual_seed(0)
    model = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=12))
    model.save_pretrained(folder)
    sizes = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}
    CLIPProcessor(CLIPImageProcessor(**sizes), tokenizer).save_pretrained(folder)
    return folder


@needs_torchmetrics
def test_clip_score_is_a_hundred_times_the_mean_cosine(tmp_path: Path):
    from transformers import CLIPModel, CLIPProcessor

    folder = save_clip(tmp_path / "clip")
    pictures = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8)
    prompts = ["red heart", "blue square", "a", "red heart " * 30]
    score = ClipScore(folder, CPU)
    score.add(pictures[:3], prompts[:3])
    score.add(pictures[3:], prompts[3:])
    value = score.value()
    model, processor = CLIPModel.from_pretrained(folder).eval(), CLIPProcessor.from_pretrained(folder)
    texts = processor.tokenizer(prompts, padding=True, truncation=True, max_length=8, return_tensors="pt")
    with torch.no_grad():
        seen = model.get_image_features(processor.image_processor(list(pictures), return_tensors="pt").pixel_values)
        read = model.get_text_features(texts.input_ids, texts.attention_mask)
    wanted = 100 * torch.cosine_similarity(seen, read).mean().item()
    assert value == pytest.approx(max(wanted, 0), abs=1e-2)
    score.add(pictures[:1], prompts[:1])
    assert score.value() == pytest.approx(max(100 * torch.cosine_similarity(seen[:1], read[:1]).item(), 0), abs=1e-2)


@needs_torchmetrics
def test_folders_of_captioned_pictures_take_a_clip_score(tmp_path: Path):
    teacher = save_folder(tmp_path / "teacher", *new_parts(1), one_step=False)
    student = save_folder(tmp_path / "student", *new_parts(2), one_step=True)
    table = evaluate_folders(
        student,
        teacher,
        write_captioned(tmp_path / "data"),
        tmp_path / "out",
        teacher_steps=(2,),
        clip_score=save_clip(tmp_path / "clip"),
        sizes=SMALL,
    )
    rows = json.loads((tmp_path / "out" / "evaluation-large.json").read_text())["rows"]
    assert [(row["name"], row["nfe"]) for row in rows] == [("teacher, 2 steps", 4), ("student, 1 step", 1)]
    assert all(0 <= row["clip_score"] <= 100 and row["inception_fid"] is None for row in rows)
    assert table.splitlines()[3].startswith("| student, 1 step | 1 |")


@needs_fidelity
@pytest.mark.slow
def test_inception_fid_is_the_frechet_distance_of_its_features(tmp_path: Path):
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
    from torchmetrics.image import fid

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FeatureExtractorInceptionV3, "load_state_dict", lambda *_: None)
        patch.setattr(torch, "load", lambda *_, **__: {})
        torch.manual_seed(0)
        torch.save(fid.FrechetInceptionDistance(2048, feature_extractor_weights_path="none").inception.state_dict(),
                   tmp_path / "inception.pth")  # fmt: skip
    work = write_data(tmp_path / "work")
    inception = InceptionFid(tmp_path / "inception.pth", CPU)
    teacher, vae = new_parts(1)
    ways = [one_step_way("a", teacher, teacher.unet, vae), one_step_way("b", teacher, teacher.unet, vae)]
    rows = evaluate_large(ways, ["red heart"] * 6, work, tmp_path / "out", SMALL, None, inception)
    assert rows[0].inception_fid == pytest.approx(rows[1].inception_fid, rel=1e-6)
    real = torch.cat(list(real_batches(work, (32, 32), 5)))
    assert real.shape == (24, 3, 48, 48)
    features = inception._metric.inception
    drawn = real.flip(0)[:12] // 2
    inception.add(drawn, real=False)
    wanted = frechet_distance(features(real).numpy(), features(drawn).numpy())
    assert inception.value() == pytest.approx(wanted, rel=1e-2)


def test_pictures_are_fitted_and_unreadable_ones_left_out(tmp_path: Path):
    data = write_captioned(tmp_path / "data")
    (data / "2.png").write_bytes(b"no picture")
    blocks = list(real_batches(data, (32, 24), 3))
    assert [tuple(block.shape) for block in blocks] == [(3, 3, 32, 24), (1, 3, 32, 24)]
    assert blocks[0].dtype == torch.uint8
    for i in (1, 3, 4):
        (data / f"{i}.png").write_bytes(b"no picture")
    with pytest.raises(BadInput, match="got 1 readable pictures"):
        list(real_batches(data, (32, 24), 3))


@pytest.mark.parametrize(("option", "package"), [("clip_score", "torchmetrics"), ("inception_fid", "torch_fidelity")])
def test_a_missing_extra_is_named_before_anything_is_drawn(tmp_path: Path, monkeypatch, option: str, package: str):
    def without(name: str):
        if name == package:
            raise ModuleNotFoundError(f"No module named {name!r}")

    monkeypatch.setattr(extras, "import_module", without)
    what = rf"got --{option.replace('_', '-')} without {package.replace('_', '-')} here \(.*edgestep\[metrics\]"
    with pytest.raises(BadInput, match=what):
        evaluate_folders(tmp_path, tmp_path, write_data(tmp_path / "work"), tmp_path / "out", **{option: tmp_path})


def test_a_folder_of_pictures_without_a_measure_is_refused(tmp_path: Path):
    with pytest.raises(BadInput, match="--clip-score or --inception-fid"):
        evaluate_folders(tmp_path, tmp_path, write_captioned(tmp_path / "data"), tmp_path / "out")


@needs_fidelity
def test_weights_that_are_pickled_code_are_refused(tmp_path: Path):
    import pickle

    (tmp_path / "inception.pth").write_bytes(pickle.dumps({"a": pytest.approx}))
    with pytest.raises(BadInput, match="no Inception weights"):
        InceptionFid(tmp_path / "inception.pth", CPU)


@needs_torchmetrics
def test_a_folder_without_a_clip_model_is_refused(tmp_path: Path):
    with pytest.raises(BadInput, match=r"without config\.json"):
        ClipScore(tmp_path, CPU)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(BadInput, match="no CLIP model"):
        ClipScore(tmp_path, CPU)


def test_large_rows_come_without_either_measure(tmp_path: Path):
    teacher, vae = new_parts(1)
    ways = [teacher_way(teacher, vae, 2.0, 2)]
    rows = evaluate_large(ways, ["red heart"] * 2, tmp_path, tmp_path / "out", SMALL, None, None)
    assert (rows[0].clip_score, rows[0].inception_fid, rows[0].nfe) == (None, None, 4)
