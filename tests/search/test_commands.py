"""The commands: what they write, that a second run does nothing again, and what they refuse."""

import json
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from edgestep.artifact import BadInput, read_artifact
from edgestep.harness.plain import from_plain
from edgestep.search import mixed
from edgestep.search import sensitivity as alone
from edgestep.search.bench import Bench, graph_bytes
from edgestep.search.trials import Figures, Setting
from edgestep.search_commands import MixedOptions, quantize_mixed, sensitivity

every_layer = alone.layers_of


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    path = tmp_path / "prompts.txt"
    path.write_text("red heart\ncat face\n")
    return path


def test_sensitivity_writes_table_plot_and_json_and_goes_on(float_artifact, prompts, tmp_path, capsys, monkeypatch):
    folder, out = float_artifact("onnx", "split"), tmp_path / "out"
    monkeypatch.setattr(alone, "layers_of", lambda *given: every_layer(*given)[::5])
    sensitivity(folder, out, scheme="w8", cases=1, prompts=prompts, json_file=tmp_path / "s.json")
    first = capsys.readouterr()
    report = json.loads((out / "sensitivity.json").read_text())
    assert report == json.loads((tmp_path / "s.json").read_text())
    assert report["schema"] == {"name": "edgestep.sensitivity", "version": 1}
    layers = [(row["layer"], row["width"]) for row in report["layers"]]
    assert len(layers) == len(set(layers)) == len((out / "trials.jsonl").read_text().splitlines())
    assert {width for _, width in layers} == {"w8"}
    for row in report["layers"]:
        assert (row["figures"]["x0_sqnr_db"] == 200) == (row["component"] == "vae_decoder")
    markdown = (out / "sensitivity.md").read_text()
    assert all(f"`{name}`" in markdown for name, _ in layers)
    svg = ElementTree.fromstring((out / "sensitivity.svg").read_text())
    dots = [e for e in svg.iter() if e.tag.endswith("circle")]
    assert len(dots) > len(layers)
    worst = min(report["layers"], key=lambda row: row["figures"]["image_psnr_db"])
    assert first.out.splitlines()[2].startswith(worst["layer"])

    before = (out / "trials.jsonl").read_text()
    sensitivity(folder, out, widths="w8", cases=1, prompts=prompts)
    again = capsys.readouterr()
    assert (out / "trials.jsonl").read_text() == before
    assert f"{len(layers)} of {len(layers)} trials are finished already" in again.err
    assert again.out == first.out


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"scheme": "w5"}, "one of w8a8, w8, w4"),
        ({"widths": "w8,w9"}, "'w9'"),
        ({"widths": ","}, "no width"),
        ({"prompts": Path("nowhere.txt")}, "cannot be read"),
    ],
)
def test_sensitivity_refuses(float_artifact, tmp_path, options, said):
    with pytest.raises(BadInput, match=said):
        sensitivity(float_artifact("onnx", "split"), tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (MixedOptions(), "no goal"),
        (MixedOptions(budget_bytes=5, gate="image_psnr_db>=30"), "--budget-bytes and --gate"),
        (MixedOptions(gate="nothing>=3"), "image PSNR"),
        (MixedOptions(max_latency_ratio=-1.0), "more than 0"),
    ],
)
def test_mixed_refuses(float_artifact, prompts, tmp_path, monkeypatch, options, said):
    monkeypatch.setattr(mixed, "CASES", 2)
    monkeypatch.setattr(mixed, "CALIBRATION", 2)
    with pytest.raises(BadInput, match=said):
        quantize_mixed(float_artifact("onnx", "split"), tmp_path / "out", replace(options, prompts=prompts))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("psnr_on_more", "size_on_more", "calibration"), [(31, 9, 256), (29, 9, 48), (31, 11, 48)])
def test_mixed_is_written_on_more_samples_where_that_keeps_the_goal(
    monkeypatch, psnr_on_more: float, size_on_more: int, calibration: int
):
    def figures(size: int, psnr: float) -> Figures:
        return Figures(20.0, psnr, 0.9, 1e-2, 1e-3, size)

    @contextmanager
    def measurer(*given: Any):
        assert given[4] == mixed.WRITTEN == 256
        yield mixed.Measurer([], None, None, lambda _: None)  # type: ignore[arg-type]

    monkeypatch.setattr(mixed, "_measurer", measurer)
    monkeypatch.setattr(mixed, "run_kept", lambda trials, *_: [figures(size_on_more, psnr_on_more) for _ in trials])
    chosen = mixed.Measured("mixed", {"unet/conv": "w8"}, figures(10, 30), 10)
    given: Any = (None, None, [], Path(), chosen, lambda measured: measured.figures.bytes <= 10, lambda _: None)
    written, samples = mixed.as_written(*given)
    assert samples == calibration
    assert written[-1].assignment == chosen.assignment
    assert written[-1].figures.image_psnr_db == (31 if calibration == 256 else 30)
    assert ("w4-32 for all" in {each.name for each in written}) == (calibration == 256)


@pytest.mark.parametrize("goal", [{"budget_fraction": 0.93}, {"gate": "image_psnr_db>=25"}])
def test_mixed_writes_what_it_measured(float_artifact, prompts, tmp_path, monkeypatch, goal):
    folder, out = float_artifact("onnx", "split"), tmp_path / "out"
    few = mixed.weights_of(folder, read_artifact(folder))[::12]
    assert {each.component for each in few} == {"text_encoder", "unet", "vae_decoder"}
    monkeypatch.setattr(mixed, "weights_of", lambda *_: few)
    for name, value in {"CASES": 2, "CALIBRATION": 2, "WRITTEN": 5, "POLISH": 1, "FRONT": 1, "HALVINGS": 2}.items():
        monkeypatch.setattr(mixed, name, value)
    made = quantize_mixed(folder, out, MixedOptions(prompts=prompts, **goal))
    report = json.loads((tmp_path / "out.search" / "mixed.json").read_text())
    (chosen,) = [point for point in report["points"] if point["chosen"]]
    assert made.scheme == "mixed"
    assert graph_bytes(read_artifact(out)) == chosen["figures"]["bytes"]
    if "gate" in goal:
        assert chosen["figures"]["image_psnr_db"] >= 25
    else:
        assert chosen["figures"]["bytes"] <= 0.93 * report["float_bytes"]
    assert report["widths"].keys() == {each.name for each in few}
    assert report["calibration"] in (2, 5)
    setting = Setting(str(folder), read_artifact(folder).key, ("red heart", "cat face"), 2, report["calibration"])
    with Bench(setting) as bench:
        drawn = bench.measured({c.name: out / c.file for c in made.components})
    assert drawn == from_plain(Figures, chosen["figures"])
    assert ElementTree.fromstring((tmp_path / "out.search" / "mixed.svg").read_text()) is not None
    assert f"Goal: {report['goal']}" in (tmp_path / "out.search" / "mixed.md").read_text()
