"""The judge: learns colours, is saved and loaded, looks past small faults, resumes."""

import dataclasses
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from edgestep.artifact import BadInput
from edgestep.distill import loop
from edgestep.distill.evaluation.classifier import ClassifierConfig, PictureClassifier, load_classifier, save_classifier
from edgestep.distill.evaluation.judge_training import accuracy_on_unseen_poses, read_labelled, train_classifier
from edgestep.distill.evaluation.soften import BLUR, CONTRAST, LIGHT, NOISE, soften
from edgestep.distill.workers import Workers
from tests.distill.evaluation.toys import CONCEPTS, TINY, new_judge, write_data


@pytest.fixture
def work(tmp_path: Path) -> Path:
    return write_data(tmp_path / "work")


def test_it_learns_concepts_in_poses_that_it_has_not_seen(work: Path):
    classifier = train_classifier(work, TINY, Workers.of(cpu=True))
    assert classifier.config.concepts == CONCEPTS
    accuracy = accuracy_on_unseen_poses(classifier, work, poses=2)
    assert accuracy["top1"] > 0.8
    assert accuracy["top5"] >= accuracy["top1"]
    pictures, concepts, names = read_labelled(work)
    assert [names[i] for i in concepts[:5]] == ["red heart"] * 4 + ["blue square"]
    assert pictures.shape == (24, 3, 48, 48)


def test_features_are_of_one_size_and_scaling_them_changes_no_logit(work: Path):
    classifier = train_classifier(work, dataclasses.replace(TINY, judge_steps=3), Workers.of(cpu=True))
    pictures, _, _ = read_labelled(work)
    plain = F.interpolate(pictures / 127.5 - 1, (32, 32), mode="bilinear", align_corners=False)
    features, logits = classifier.judge(plain)
    assert features.var(0).mean().item() == pytest.approx(1, rel=1e-3)
    assert features.mean(0).abs().max().item() == pytest.approx(0, abs=1e-3)
    classifier.scale_features(torch.full((64,), 0.5), 3.0)
    again, same = classifier.judge(plain)
    torch.testing.assert_close(same, logits, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(again, (features - 0.5) / 3, rtol=1e-4, atol=1e-4)


def test_training_that_was_killed_ends_as_the_unbroken_one(work: Path, tmp_path: Path, monkeypatch):
    recipe = dataclasses.replace(TINY, judge_steps=6)
    whole = train_classifier(write_data(tmp_path / "whole"), recipe, Workers.of(cpu=True))

    def killed(training, step):
        def dying(i, generator):
            if i == 3:
                training.save()
                raise KeyboardInterrupt
            return step(i, generator)

        loop.run(training, dying)

    with monkeypatch.context() as patch:
        patch.setattr("edgestep.distill.evaluation.judge_training.run", killed)
        with pytest.raises(KeyboardInterrupt):
            train_classifier(work, recipe, Workers.of(cpu=True))
    again = train_classifier(work, recipe, Workers.of(cpu=True))
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), again.parameters(), strict=True))


def test_the_shipped_size_is_small():
    judge = PictureClassifier(ClassifierConfig(tuple(f"concept {i}" for i in range(459))))
    count = sum(p.numel() for p in judge.parameters())
    assert 300_000 < count < 700_000
    features, logits = judge.judge(torch.zeros(2, 3, 64, 64))
    assert features.shape == (2, 64)
    assert logits.shape == (2, 459)


def test_a_pictures_features_do_not_depend_on_those_beside_it_or_on_its_size():
    judge = new_judge()
    pictures = torch.rand(5, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    together, _ = judge.judge(pictures)
    torch.testing.assert_close(judge.judge(pictures[2:3])[0], together[2:3], rtol=1e-5, atol=1e-6)
    flat = torch.full((1, 3, 32, 32), 0.3)
    torch.testing.assert_close(judge.judge(F.interpolate(flat, (96, 96)))[0], judge.judge(flat)[0])
    torch.testing.assert_close(judge.judge(flat + 7)[0], judge.judge(torch.ones_like(flat))[0])


def test_saved_and_loaded_it_gives_the_same_features_within_fp16(tmp_path: Path):
    judge = new_judge(3)
    save_classifier(judge, tmp_path / "judge", "# judge\n")
    again = load_classifier(tmp_path / "judge")
    assert again.config == judge.config
    assert not any(p.requires_grad for p in again.parameters())
    assert {p.dtype for p in again.parameters()} == {torch.float32}
    pictures = torch.rand(4, 3, 32, 32) * 2 - 1
    for first, second in zip(judge.judge(pictures), again.judge(pictures), strict=True):
        torch.testing.assert_close(first, second, rtol=2e-2, atol=2e-2)
    assert (tmp_path / "judge" / "README.md").read_text() == "# judge\n"


@pytest.mark.parametrize("fault", ["no folder", "no weights", "other sizes", "no json", "truncated"])
def test_a_folder_that_does_not_fit_is_refused_in_one_line(tmp_path: Path, fault: str):
    folder = tmp_path / "judge"
    if fault != "no folder":
        save_classifier(new_judge(), folder, "")
    weights, config = folder / "classifier.safetensors", folder / "config.json"
    if fault == "no weights":
        weights.unlink()
    if fault == "other sizes":
        config.write_text(config.read_text().replace('"features": 6', '"features": 7'))
    if fault == "no json":
        config.write_text("{")
    if fault == "truncated":
        weights.write_bytes(weights.read_bytes()[:-9])
    with pytest.raises(BadInput, match="got no classifier in") as caught:
        load_classifier(folder)
    assert "\n" not in str(caught.value)


def test_faults_are_as_strong_as_told():
    pictures = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(1)) - 0.5
    noise = torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(2))
    none = torch.zeros(3, 4)
    none[:, [LIGHT, CONTRAST]] = 0.5
    torch.testing.assert_close(soften(pictures, none, noise), pictures)
    for column, value, expected in [
        (NOISE, 1.0, (pictures + 0.1 * noise).clamp(-1, 1)),
        (LIGHT, 1.0, pictures + 0.1),
        (CONTRAST, 0.0, 0.85 * pictures),
    ]:
        strengths = none.clone()
        strengths[:, column] = value
        torch.testing.assert_close(soften(pictures, strengths, noise), expected)
    blurred = none.clone()
    blurred[:, BLUR] = 1
    tent = torch.tensor([1.0, 2, 3, 2, 1]) / 9
    kernel = (tent[:, None] * tent).expand(3, 1, 5, 5)
    wanted = F.conv2d(F.pad(pictures, (2, 2, 2, 2), mode="replicate"), kernel, groups=3)
    torch.testing.assert_close(soften(pictures, blurred, noise), wanted)
