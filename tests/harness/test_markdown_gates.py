"""The job's summary: every gate of every artifact, folded where it passed."""

from dataclasses import replace

from edgestep.harness.reporting.markdown_gates import markdown_with_gates
from edgestep.harness.results import GateResult, ParityResult
from tests.harness.made_up import made_artifact, made_results


def test_every_gate_has_a_row_and_what_did_not_pass_is_open():
    results = made_results()
    text = markdown_with_gates(results)
    gates = sum(len(artifact.parity.gates) for artifact in results.artifacts if artifact.parity)
    outcomes = ("| passed |", "| failed |", "| reported |")
    assert sum(line.startswith(outcomes) for line in text.splitlines()) == gates
    assert text.count("<details") == text.count("</details>") == len(results.artifacts)
    opened = [line for line in text.splitlines() if line.startswith("<details open>")]
    assert len(opened) == 2 and "emoji-intel-w8a8-split: failed" in opened[0] and "not checked" in opened[1]
    assert "| failed | image PSNR | 26.4 dB | ≥ 28 | case-02 |" in text


def test_a_limit_given_by_hand_says_so():
    spread = {"median": 35.0, "interval": (34.0, 36.25), "count": 8}
    gate = GateResult("image_psnr_db", 31.0, ">= 30", "case-00", True, scheme_limit=">= 40", **spread)
    artifact = made_artifact("x86", "fp16", "split", parity=ParityResult("passed", (gate,)))
    text = markdown_with_gates(replace(made_results(), artifacts=(artifact,)))
    assert "| ≥ 30 (by hand; the scheme's is ≥ 40) | case-00 | 35.0 dB (34.0 to 36.2 dB) of 8 |" in text


def test_text_from_data_cannot_break_out():
    gate = GateResult("image_psnr_db", 1.0, ">= 30", "a|b", False, "</details><script>\n| x |")
    parity = ParityResult("failed", (gate,), "</details>")
    artifact = made_artifact("x86", "fp16", "split", name="<b>&\n</summary>", parity=parity)
    text = markdown_with_gates(replace(made_results(), artifacts=(artifact,)))
    assert text.count("</details>") == 1 and text.count("</summary>") == 1 and "<script>" not in text
    row = next(line for line in text.splitlines() if line.startswith("| failed |"))
    assert row.replace(r"\|", "").count("|") == 8
