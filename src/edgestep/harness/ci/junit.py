"""Results -> JUnit XML: a suite per artifact, a test case per gate, for the page that a CI makes of it.

A gate that failed or could not decide is a failure, with figure, limit and case; what was not checked is skipped. A
verdict that is not "passed" never looks like one: where no gate says why, a case named "parity" does.
"""

import re
from collections.abc import Mapping
from xml.etree import ElementTree

from edgestep.harness.figures import limit_text, measure_name, measure_text
from edgestep.harness.results import EVALUATED, FAILED, PASSED, UNCHECKED, ArtifactResult, GateResult, Results

_NOT_IN_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 cannot hold, not even escaped."""


def junit_from_results(results: Results, prompts: Mapping[str, str] | None = None) -> str:
    """Return the XML; `prompts` (case name -> prompt) tells what a failed case draws, by default the results' own."""
    prompts = prompts or {case.case: case.prompt for case in results.cases}
    root = ElementTree.Element("testsuites", name="edgestep")
    for artifact in results.artifacts:
        _add_suite(root, artifact, prompts)
    _count(root)
    ElementTree.indent(root)
    body = ElementTree.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{body}\n'


def _add_suite(root: ElementTree.Element, artifact: ArtifactResult, prompts: Mapping[str, str]) -> None:
    suite = ElementTree.SubElement(root, "testsuite", name=_legal(artifact.name))
    parity = artifact.parity
    if parity and parity.evidence == EVALUATED:
        properties = ElementTree.SubElement(suite, "properties")
        ElementTree.SubElement(properties, "property", name="evidence", value=parity.called)
    verdict = parity.verdict if parity else UNCHECKED
    reason = parity.reason if parity else "parity was not asked for"
    for gate in parity.gates if parity else ():
        case = _add_case(suite, artifact, gate.measure)
        _mark(case, gate, verdict, reason, prompts)
    if _says_nothing(suite, verdict):
        case = _add_case(suite, artifact, "parity")
        if verdict == UNCHECKED:
            ElementTree.SubElement(case, "skipped", message=_legal(reason))
        elif verdict != PASSED:
            _fail(case, verdict, f"parity {verdict}", reason)
    _count(suite)


def _says_nothing(suite: ElementTree.Element, verdict: str) -> bool:
    """Whether no case of the suite stands for the verdict yet."""
    if verdict in (PASSED, UNCHECKED):
        return suite.find("testcase") is None
    return suite.find("testcase/failure") is None


def _add_case(suite: ElementTree.Element, artifact: ArtifactResult, name: str) -> ElementTree.Element:
    classname = f"edgestep.{artifact.target}.{artifact.name}" if artifact.target else f"edgestep.{artifact.name}"
    return ElementTree.SubElement(suite, "testcase", classname=_legal(classname), name=_legal(name))


def _mark(case: ElementTree.Element, gate: GateResult, verdict: str, reason: str, prompts: Mapping[str, str]) -> None:
    """Leave a passed gate as it is; add the failure, or why it is skipped."""
    if verdict == UNCHECKED:
        ElementTree.SubElement(case, "skipped", message=_legal(f"{_sentence(gate)}; {reason}"))
    elif gate.passed is False:
        _fail(case, FAILED, _sentence(gate), _details(gate, prompts))
    elif gate.passed is None and verdict == PASSED:
        ElementTree.SubElement(case, "skipped", message=_legal(gate.reason))
    elif gate.passed is None:
        _fail(case, gate.word, f"{gate.word}: {_sentence(gate)}", _details(gate, prompts))


def _fail(case: ElementTree.Element, kind: str, message: str, text: str) -> None:
    failure = ElementTree.SubElement(case, "failure", type=kind, message=_legal(message))
    failure.text = _legal(text)


def _sentence(gate: GateResult) -> str:
    """Return `image PSNR 26.4 dB, limit ≥ 28, worst in case-02`, with the scheme's limit where it is another."""
    text = f"{measure_name(gate.measure)} {measure_text(gate.measure, gate.worst, gate.limit)}"
    text += f", limit {limit_text(gate.limit)}"
    text += f" given by hand for {limit_text(gate.scheme_limit)}" if gate.scheme_limit else ""
    return f"{text}, worst in {gate.case}" if gate.case else text


def _details(gate: GateResult, prompts: Mapping[str, str]) -> str:
    """Return figure and limit, then the worst case, every other one outside the limit, and the reason."""
    lines = [f"figure: {measure_text(gate.measure, gate.worst, gate.limit)}", f"limit: {gate.limit}"]
    lines += [f"case: {_told(name, prompts)}" for name in gate.case.split("/") if name]
    for one in gate.failures:
        if one.case != gate.case:
            names = " / ".join(_told(name, prompts) for name in one.case.split("/"))
            lines.append(f"also outside: {_figure(gate, one.value)}{names}")
    return "\n".join([*lines, *([f"reason: {gate.reason}"] if gate.reason else [])])


def _figure(gate: GateResult, value: float) -> str:
    # a structural gate counts cases and has no figures over them: a case has none of its own
    return f"{measure_text(gate.measure, value, gate.limit)} in " if gate.count else ""


def _told(name: str, prompts: Mapping[str, str]) -> str:
    return f"{name}: {prompts[name]}" if name in prompts else name


def _count(element: ElementTree.Element) -> None:
    cases = list(element.iter("testcase"))
    for outcome, tag in (("failures", "failure"), ("skipped", "skipped")):
        element.set(outcome, str(sum(case.find(tag) is not None for case in cases)))
    element.set("tests", str(len(cases)))
    element.set("errors", "0")


def _legal(text: str) -> str:
    return _NOT_IN_XML.sub("\N{REPLACEMENT CHARACTER}", text)
