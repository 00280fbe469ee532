"""A judge's folder: what its README says; made once."""

import dataclasses
from pathlib import Path

import torch

from edgestep.distill.evaluation.classifier import load_classifier
from edgestep.distill.evaluation.judge_card import make_judge, save_judge
from edgestep.distill.workers import Workers
from tests.distill.evaluation.toys import TINY, new_judge, write_data


def test_the_folder_says_how_well_the_judge_sees(tmp_path: Path):
    work = write_data(tmp_path / "work")
    accuracy = save_judge(new_judge(), work, tmp_path / "judge")
    text = (tmp_path / "judge" / "README.md").read_text()
    assert f"top 1 {100 * accuracy['top1']:.2f} %, top 5 {100 * accuracy['top5']:.2f} %" in text
    assert "| `noto` | MIT | 1 |" in text
    assert "6 concepts" in text
    assert load_classifier(tmp_path / "judge").config == new_judge().config


def test_a_judge_that_is_there_is_not_trained_again(tmp_path: Path):
    work, workers = write_data(tmp_path / "work"), Workers.of(cpu=True)
    first = make_judge(work, dataclasses.replace(TINY, judge_steps=2), workers)
    kept = (work / "judge" / "classifier.safetensors").read_bytes()
    again = make_judge(work, dataclasses.replace(TINY, judge_steps=9), workers)
    assert (work / "judge" / "classifier.safetensors").read_bytes() == kept
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
