"""Results <-> JSON: the keys that other tools rely on, unknown keys, and numbers that are not finite."""

import json
import math
from dataclasses import replace

import pytest

from edgestep.artifact import BadInput, OneStep
from edgestep.harness.machine import machine_here
from edgestep.harness.results import (
    ArtifactResult,
    Baseline,
    CasePicture,
    CheckpointSummary,
    GateResult,
    LatencyResult,
    ParityResult,
    Ratio,
    Results,
    read_results,
    write_results,
)

CONTRACT = OneStep("lcm", 999.0, "epsilon", 1.0, 14.6, 14.5, 0.18, 0.0, (4, 8, 8), (16, 16), 16, 0, 1, 1, "00")


def _results() -> Results:
    gates = (GateResult("x0 sqnr", 41.5, ">= 40", "case-3", True), GateResult("image ssim", 0.9, ">= 0.99", "c", False))
    latency = LatencyResult(
        "real",
        load_s=0.5,
        first_s=0.1,
        p50_s=0.01,
        p90_s=0.02,
        p99_s=0.03,
        interval_s=(0.009, 0.011),
        samples_s=(0.01, 0.01, 0.03),
        peak_anonymous_bytes=1 << 20,
        components={"unet": 0.005},
        threads=2,
    )
    artifact = ArtifactResult(
        "emoji-onnx-fp16", "x86", "fp16", "split", "onnx", 123, ParityResult("failed", gates), latency, "a", ("0.png",)
    )
    return Results(
        machine=machine_here(),
        tools={"edgestep": "0.1.0"},
        contract=CONTRACT,
        checkpoint=CheckpointSummary("emoji", "ab"),
        artifacts=(artifact, replace(artifact, name="mac", latency=None, parity=ParityResult("unchecked"))),
        baselines=(Baseline("PyTorch eager, one step", latency),),
        ratios=(Ratio("one step", "a", "b", 41.0, (38.0, 44.0), 5),),
        cases=(CasePicture("case-0", "pizza", "pictures/0.png"),),
    )


def test_results_survive_json():
    results = _results()
    assert Results.from_json(results.to_json()) == results


def test_keys_are_those_of_the_design():
    raw = json.loads(_results().to_json())
    assert raw["schema"] == {"name": "edgestep.report", "version": 1}
    assert {"schema", "machine", "tools", "contract", "artifacts"} <= raw.keys()
    artifact = raw["artifacts"][0]
    assert {"name", "target", "scheme", "layout", "bytes", "parity", "latency"} <= artifact.keys()
    assert artifact["parity"]["verdict"] == "failed"
    assert {"measure", "worst", "limit", "case", "passed"} <= artifact["parity"]["gates"][0].keys()
    assert {
        "kind",
        "load_s",
        "first_s",
        "p50_s",
        "p90_s",
        "p99_s",
        "interval_s",
        "samples_s",
        "peak_anonymous_bytes",
    } <= artifact["latency"].keys()


def test_unknown_keys_are_ignored():
    raw = json.loads(_results().to_json())
    raw["colour"] = "blue"
    raw["artifacts"][0]["latency"]["weather"] = {"rain": True}
    assert Results.from_json(json.dumps(raw)) == _results()


def test_a_number_that_is_not_finite_is_null():
    failed = LatencyResult("real", failure="the worker crashed", load_s=math.inf)
    results = replace(_results(), baselines=(Baseline("b", failed),))
    text = results.to_json()
    assert "NaN" not in text and "Infinity" not in text
    assert json.loads(text)["baselines"][0]["latency"]["p50_s"] is None
    assert math.isnan(Results.from_json(text).baselines[0].latency.p50_s)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("schema", "version"), 2),
        (("schema",), "edgestep.report/1"),
        (("artifacts",), {}),
        (("artifacts", 0, "bytes"), "many"),
        (("artifacts", 0, "latency", "interval_s"), [1.0]),
        (("machine",), None),
    ],
)
def test_what_does_not_fit_is_bad_input(path, value):
    raw = json.loads(_results().to_json())
    at = raw
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    with pytest.raises(BadInput, match="got"):
        Results.from_json(json.dumps(raw))


@pytest.mark.parametrize("text", ["", "[]", "null", "{}", "{"])
def test_text_that_is_no_results_is_bad_input(text):
    with pytest.raises(BadInput, match="expected report"):
        Results.from_json(text)


def test_files(tmp_path):
    write_results(_results(), tmp_path / "deep" / "report.json")
    assert read_results(tmp_path / "deep" / "report.json") == _results()
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["report.json"]
    with pytest.raises(BadInput, match="cannot be read"):
        read_results(tmp_path / "none.json")
    with pytest.raises(BadInput, match="cannot be written"):
        write_results(_results(), tmp_path / "deep" / "report.json" / "in-a-file.json")


def test_machine_names_no_host_and_no_user():
    import getpass
    import platform

    text = repr(machine_here())
    assert platform.node() not in text
    assert f"'{getpass.getuser()}'" not in text
    assert machine_here().cores >= 1
