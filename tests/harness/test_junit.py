"""JUnit XML read back by an XML parser: outcomes as the verdicts say, whatever the texts hold."""

from dataclasses import replace
from xml.etree import ElementTree

import pytest

from edgestep.harness.ci.junit import junit_from_results
from edgestep.harness.results import CaseFigure, CasePicture, GateResult, ParityResult, Results
from tests.harness.made_up import made_artifact, made_results

OK = GateResult("image_ssim", 0.9991, ">= 0.99", "case-01", True)
BAD = GateResult("image_psnr_db", 26.43, ">= 28", "case-02", False, "worst of 6")
OPEN = GateResult("noise_sensitivity", float("nan"), "0.9 .. 1.1", "", None, "record 3 or more cases")


def parsed(results: Results, **options) -> ElementTree.Element:
    return ElementTree.fromstring(junit_from_results(results, **options).encode())


def suite_of(parity: ParityResult | None, **options) -> ElementTree.Element:
    artifact = made_artifact("x86", "w8a8", "split", parity=parity)
    suite = parsed(replace(made_results(), artifacts=(artifact,)), **options).find("testsuite")
    assert suite is not None
    return suite


def outcomes(suite: ElementTree.Element) -> dict[str | None, str]:
    def outcome(case: ElementTree.Element) -> str:
        return case[0].tag if len(case) else "passed"

    return {case.get("name"): outcome(case) for case in suite.iter("testcase")}


def test_one_suite_per_artifact_and_one_case_per_gate():
    results = made_results()
    root = parsed(results)
    assert [suite.get("name") for suite in root] == [artifact.name for artifact in results.artifacts]
    gates = sum(len(a.parity.gates) for a in results.artifacts if a.parity)
    assert root.get("tests") == str(gates + 1)  # the artifact that was not checked has no gate
    assert (root.get("failures"), root.get("skipped"), root.get("errors")) == ("1", "1", "0")
    for suite in root:
        assert suite.get("tests") == str(len(suite.findall("testcase")))
        assert suite.get("failures") == str(len(suite.findall("testcase/failure")))


def test_a_failure_tells_figure_limit_case_and_prompt():
    prompts = {"case-02": "twemoji, green apple"}
    suite = suite_of(ParityResult("failed", (OK, BAD)), prompts=prompts)
    assert outcomes(suite) == {"image_ssim": "passed", "image_psnr_db": "failure"}
    failure = suite.find("testcase/failure")
    assert failure is not None and failure.get("type") == "failed"
    assert failure.get("message") == "image PSNR 26.4 dB, limit ≥ 28, worst in case-02"
    lines = (failure.text or "").splitlines()
    assert lines == ["figure: 26.4 dB", "limit: >= 28", "case: case-02: twemoji, green apple", "reason: worst of 6"]


def test_both_cases_of_a_pair_are_told():
    pair = GateResult("prompt_sensitivity", 0.5, "0.9 .. 1.1", "case-00/case-03", False)
    failure = suite_of(ParityResult("failed", (pair,)), prompts={"case-03": "cat"}).find("testcase/failure")
    assert failure is not None and "case: case-00\ncase: case-03: cat" in (failure.text or "")


def test_every_case_outside_the_limit_is_told():
    more = (CaseFigure("case-02", 26.43), CaseFigure("case-05", 27.5))
    failure = suite_of(
        ParityResult("failed", (replace(BAD, failures=more, count=6),)), prompts={"case-05": "sun"}
    ).find("testcase/failure")
    assert failure is not None and "also outside: 27.5 dB in case-05: sun" in (failure.text or "")
    assert (failure.text or "").count("case-02") == 1
    shapes = GateResult("shapes", 2.0, "0 cases", "case-00", False, failures=(CaseFigure("case-01", 3.0),))
    failure = suite_of(ParityResult("failed", (shapes,))).find("testcase/failure")
    assert failure is not None and "also outside: case-01" in (failure.text or "")


def test_undecided_is_a_failure_by_that_word():
    suite = suite_of(ParityResult("undecided", (OK, OPEN)))
    assert outcomes(suite) == {"image_ssim": "passed", "noise_sensitivity": "failure"}
    failure = suite.find("testcase/failure")
    assert failure is not None and failure.get("type") == "undecided"
    assert "undecided" in (failure.get("message") or "") and "record 3" in (failure.text or "")


def test_unreachable_is_a_failure_by_that_word():
    gate = replace(BAD, passed=None, unreachable=True)
    failure = suite_of(ParityResult("undecided", (replace(gate, scheme_limit=">= 20"),))).find("testcase/failure")
    assert failure is not None and failure.get("type") == "unreachable"
    assert failure.get("message") == (
        "unreachable: image PSNR 26.4 dB, limit ≥ 28 given by hand for ≥ 20, worst in case-02"
    )


@pytest.mark.parametrize(
    "parity,reason",
    [
        (ParityResult("unchecked", reason="Core ML does not run here"), "Core ML does not run here"),
        (None, "parity was not asked for"),
    ],
)
def test_unchecked_is_skipped(parity, reason):
    suite = suite_of(parity)
    assert outcomes(suite) == {"parity": "skipped"}
    assert suite.get("skipped") == "1"
    skipped = suite.find("testcase/skipped")
    assert skipped is not None and skipped.get("message") == reason


def test_an_approximation_never_looks_like_a_pass():
    parity = ParityResult("unchecked", (OK, OPEN), "approximation: a tiny decoder", approximation=True)
    assert set(outcomes(suite_of(parity)).values()) == {"skipped"}


@pytest.mark.parametrize("verdict", ["failed", "undecided"])
@pytest.mark.parametrize("gates", [(), (OK,)])
def test_a_verdict_that_no_gate_tells_has_a_case_of_its_own(verdict, gates):
    suite = suite_of(ParityResult(verdict, gates, "onnxruntime crashed: signal 11"))
    assert outcomes(suite)["parity"] == "failure"
    failure = suite.find("testcase/failure")
    assert failure is not None and failure.text == "onnxruntime crashed: signal 11"


ODD = [
    "a < b & c > d",
    "say \"cheese\" and 'smile'",
    "]]></failure><failure>",
    "<!-- <![CDATA[ ]]>",
    "émoji 😀 \u202eright to left",
    "line\nbreak\ttab",
    "null \x00 bell \x07 escape \x1b[31m",
    "half a pair \ud83d and \uffff",
    "",
]


@pytest.mark.parametrize("odd", ODD)
def test_odd_texts_come_back_as_they_were_or_replaced_where_xml_cannot_hold_them(odd):
    def legal(text: str) -> str:
        def fits(c: str) -> bool:
            return c in "\t\n\r" or " " <= c <= "\ud7ff" or "\ue000" <= c <= "\ufffd" or c > "\uffff"

        return "".join(c if fits(c) else "\ufffd" for c in text)

    gate = replace(BAD, reason=odd, case="case-02")
    artifact = made_artifact("x86", "w8a8", "split", name=f"n {odd}", parity=ParityResult("failed", (gate,), odd))
    skipped = made_artifact("mac", "fp16", "split", parity=ParityResult("unchecked", reason=odd))
    cases = (CasePicture("case-02", odd, ""),)
    root = parsed(replace(made_results(), artifacts=(artifact, skipped), cases=cases))
    assert [case.get("name") for case in root.iter("testcase")] == ["image_psnr_db", "parity"]
    assert next(suite.get("name") for suite in root) == legal(f"n {odd}")
    failure, skip = next(root.iter("failure")), next(root.iter("skipped"))
    assert f"case: case-02: {legal(odd)}" in (failure.text or "")
    assert skip.get("message") == legal(odd)
