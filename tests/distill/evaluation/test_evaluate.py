"""The whole evaluation on toys: files, table, the same measures again from what was kept."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgestep.artifact import BadInput
from edgestep.distill.evaluation.classifier import save_classifier
from edgestep.distill.evaluation.command import evaluate_folders
from edgestep.distill.evaluation.drawing import Judged
from edgestep.distill.evaluation.evaluate import evaluate, judge_and_measure, write_measures
from edgestep.distill.evaluation.frechet import frechet_distance
from edgestep.distill.evaluation.gathered import Drawn, Gathered, read_gathered
from edgestep.distill.evaluation.latents import file_of_way, read_latents
from edgestep.distill.evaluation.measures import REAL, measure
from edgestep.distill.evaluation.sizes import Sizes
from edgestep.distill.evaluation.timing import Seconds
from edgestep.distill.evaluation.ways import one_step_way, teacher_way
from edgestep.distill.evaluation.wordings import wordings_of
from tests.distill.evaluation.toys import CONCEPTS, new_judge, new_parts, save_folder, write_data

SMALL = Sizes(pictures=24, held_out=12, diversity_prompts=3, diversity_seeds=4, batch=8, turns=1, resamples=20)


@pytest.fixture
def work(tmp_path: Path) -> Path:
    return write_data(tmp_path / "work")


def test_modules_are_evaluated_and_measured_again_without_drawing(work: Path, tmp_path: Path):
    (teacher, vae), student = new_parts(1), new_parts(2)[0].unet
    ways = [teacher_way(teacher, vae, 2.0, 2), one_step_way("student, 1 step", teacher, student, vae)]
    told = []
    out = tmp_path / "out"
    wordings = wordings_of(work, CONCEPTS)
    result = evaluate(ways, ways[0].name, work, wordings, new_judge(), out, SMALL, told.append)
    assert [row.name for row in result.rows] == [REAL, "teacher, 2 steps", "student, 1 step"]
    assert len(told) == 2
    real, first, second = result.rows
    assert (real.nfe, first.nfe, second.nfe) == (None, 4, 1)
    assert first.diversity is not None
    assert first.diversity.value == pytest.approx(1)
    # what a random network draws is farther from the pictures than the pictures in other poses
    assert real.frechet.value < first.frechet.value
    again = write_measures(read_gathered(out / "evaluation.safetensors"), ways[0].name, out, SMALL, result.about)
    assert again.rows == result.rows
    kept = read_latents(*(out / "latents" / file_of_way(way.name) for way in ways))
    with_half = judge_and_measure(ways, kept, ways[0].name, work, wordings, new_judge(), tmp_path, SMALL)
    assert with_half.rows[2].frechet.value == pytest.approx(second.frechet.value, rel=1e-2)
    assert with_half.about["device"] == result.about["device"]
    assert with_half.rows[2].seconds == second.seconds
    with pytest.raises(BadInput, match="got 24 latents of 'teacher, 2 steps', training; expected 25"):
        more = dataclasses.replace(SMALL, pictures=25)
        judge_and_measure(ways, kept, ways[0].name, work, wordings, new_judge(), tmp_path, more)
    content = json.loads((out / "evaluation.json").read_text())
    assert content["rows"][2]["frechet"]["value"] == second.frechet.value
    assert content["sizes"]["pictures"] == 24
    assert "diversity" not in content["rows"][0]
    lines = (out / "evaluation.md").read_text().splitlines()
    assert len(lines) == 5
    assert {line.count("|") for line in lines} == {13}
    with Image.open(out / "evaluation.png") as page:
        assert page.height == 18 + 12 * 36


def made(real: np.ndarray, drawn: np.ndarray, ranks: np.ndarray, diverse: np.ndarray) -> Gathered:
    seconds = Seconds(0.1, 0.2, 0.3, 0.6)
    judged = Judged(drawn, ranks)
    ideal = Drawn(100, seconds, Judged(real, np.zeros(len(real), int)), judged, diverse)
    ways = {"teacher": ideal, "student": Drawn(1, seconds, judged, judged, diverse * 0.8)}
    return Gathered(Judged(real, np.zeros(len(real), int)), Judged(real, np.zeros(len(real), int)), ways)


def test_rows_hold_the_measures_of_what_was_drawn():
    rng = np.random.default_rng(0)
    real, drawn = rng.normal(size=(300, 5)), rng.normal(size=(300, 5)) + 0.5
    ranks = np.repeat([0, 3, 7], 100)
    sizes = dataclasses.replace(SMALL, resamples=400)
    ideal, same, student = measure(made(real, drawn, ranks, rng.normal(size=(9, 4, 5))), "teacher", sizes)
    assert same.frechet.value == ideal.frechet.value == pytest.approx(0, abs=1e-8)
    assert ideal.frechet.low == 0
    assert student.frechet.value == frechet_distance(real, drawn)
    assert student.frechet.low < student.frechet.value < student.frechet.high
    assert student.kernel.low < student.kernel.value < student.kernel.high
    assert student.top1.value == pytest.approx(1 / 3)
    assert student.held_out_top5 is not None
    assert student.held_out_top5.value == pytest.approx(2 / 3)
    # sqrt(p (1 - p) / n), the binomial's error
    assert student.top1.high - student.top1.low == pytest.approx(2 * 1.96 * np.sqrt(2 / 9 / 300), rel=0.15)
    assert student.diversity is not None
    assert student.diversity.value == pytest.approx(0.8)
    assert student.seconds == {"text": 0.1, "network": 0.2, "decoder": 0.3, "total": 0.6}
    with pytest.raises(BadInput, match="got no 'teacher, 50 steps'"):
        measure(made(real, drawn, ranks, rng.normal(size=(9, 4, 5))), "teacher, 50 steps", sizes)


def test_folders_are_evaluated(work: Path, tmp_path: Path):
    teacher = save_folder(tmp_path / "teacher", *new_parts(1), one_step=False)
    student = save_folder(tmp_path / "student", *new_parts(2), one_step=True)
    save_classifier(new_judge(), tmp_path / "judge", "")
    table = evaluate_folders(
        student,
        teacher,
        work,
        tmp_path / "out",
        others=[f"regression={student}"],
        judge=tmp_path / "judge",
        guidance=2.0,
        teacher_steps=(2, 1),
        times=(999,),
        sizes=SMALL,
        device="cpu",
    )
    content = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    rows = content["rows"]
    names = [REAL, "teacher, 2 steps", "teacher, 1 step", "regression, 1 step", "student, 1 step"]
    assert [row["name"] for row in rows] == names
    assert [line.split(" | ")[0] for line in table.splitlines()[2:]] == [f"| {name}" for name in names]
    assert rows[3]["frechet"] == rows[4]["frechet"]
    assert "CPU" in content["device"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data": "nowhere"}, "without pictures.safetensors and captions.json"),
        ({"others": ["regression"]}, "expected NAME=FOLDER"),
        ({"sizes": dataclasses.replace(SMALL, diversity_seeds=1)}, "diversity_seeds = 1; expected at least 2"),
        ({"judge": "nowhere"}, "got no classifier in"),
        ({"times": (499, 999)}, r"got timesteps \[499, 999\]; expected falling ones below 1000"),
        ({"teacher_steps": (0,)}, "got teacher steps"),
        ({"checkpoint": "nowhere"}, "without model_index.json"),
    ],
)
def test_bad_input_is_refused(work: Path, tmp_path: Path, change: dict, message: str):
    folder = save_folder(tmp_path / "teacher", *new_parts(1), one_step=False)
    save_classifier(new_judge(), tmp_path / "judge", "")
    paths = {"checkpoint": folder, "teacher": folder, "data": work, "judge": tmp_path / "judge"}
    paths |= {name: tmp_path / value for name, value in change.items() if name in paths}
    rest = {"sizes": SMALL, "teacher_steps": (1,)} | {
        name: value for name, value in change.items() if name not in paths
    }
    with pytest.raises(BadInput, match=message):
        evaluate_folders(**paths, out=tmp_path / "out", **rest)


@pytest.mark.parametrize(("read", "what"), [(read_gathered, "no kept evaluation"), (read_latents, "no drawn latents")])
def test_a_file_that_holds_something_else_is_refused(tmp_path: Path, read, what: str):
    with pytest.raises(BadInput, match=what):
        read(tmp_path / "evaluation.safetensors")
    (tmp_path / "evaluation.safetensors").write_bytes(b"no")
    with pytest.raises(BadInput, match=what):
        read(tmp_path / "evaluation.safetensors")
