"""The page holds what the results say, whatever they say, and asks for nothing from outside itself."""

import math
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from edgestep.artifact import BadInput
from edgestep.harness.reporting.report import command_for, html_from_results, reference_name, shortened, write_report
from edgestep.harness.results import GateResult, ParityResult, Ratio, read_results, write_results
from tests.harness.made_up import MACHINE, PROMPTS, TEACHER, made_artifact, made_latency, made_results, with_pictures

VOID = {"meta", "link", "img", "br"}


class _Page(HTMLParser):
    """Collects tags with attributes and text, and notices tags that are not closed in order."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.wrong: list[str] = []
        self.words: list[str] = []
        self.feed(html)
        self.close()
        plain = str.maketrans({"\N{MULTIPLICATION SIGN}": "x", "\N{EN DASH}": "-"})
        self.text = re.sub(r"\s+", " ", " ".join(self.words)).translate(plain)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)

    def handle_data(self, data):
        if not self.open or self.open[-1] != "style":
            self.words.append(data)


def _page(results, folder) -> _Page:
    page = _Page(html_from_results(results, folder))
    assert not page.wrong and not page.open
    return page


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    return with_pictures(made_results(), folder), folder


@pytest.fixture(scope="module")
def page(drawn):
    return _page(*drawn)


def test_headline_tells_what_was_shipped_and_how_much_faster(page):
    text = page.text
    assert "emoji: 11 artifacts for 3 targets. 9 passed their parity gates, 1 failed, 1 was not checked." in text
    # The fastest that passed: fused w8a8 for intel; the failed split one may not win.
    assert re.search(r"200x faster than the teacher: one step of 10 intel w8a8 fused .* 192-210x", text)


def test_every_artifact_stands_in_the_table_with_its_figures(page):
    text = page.text
    for artifact in made_results().artifacts:
        assert f"{artifact.target} {artifact.scheme} {artifact.layout}" in text
    assert "42.3 MB" in text and "13.1 ms" in text and "14.7 ms" in text and "182 MB" in text
    assert "54.7 dB gate ≥ 40" in text and "113.4 dB gate ≥ 80" in text


def test_a_failed_gate_stands_before_the_table_with_its_limit_and_case(page):
    text = page.text
    told = text.index("intel w8a8 split : image PSNR 26.4 dB , gate ≥ 28, worst in case-02")
    assert text.index("What failed") < told < text.index("Quality is the worst case")
    assert "✕ failed" in text and "✓ passed" in text and "- not checked" in text


def test_a_failed_gate_without_a_column_is_named_at_the_verdict(tmp_path):
    parity = made_artifact("x86", "fp32", "split").parity
    gates = [replace(g, passed=False) if g.measure == "prompt_sensitivity" else g for g in parity.gates]
    failed = made_artifact("x86", "fp32", "split", parity=replace(parity, verdict="failed", gates=tuple(gates)))
    assert "✕ failed prompt sensitivity" in _page(replace(made_results(), artifacts=(failed,)), tmp_path).text


def test_two_noises_of_one_prompt_are_told_apart_and_shown_once_at_the_top(tmp_path):
    prompts = (PROMPTS[0], PROMPTS[0], PROMPTS[1])
    page = _page(with_pictures(made_results(), tmp_path, prompts), tmp_path)
    assert f"{PROMPTS[0]} case-00" in page.text and f"{PROMPTS[0]} case-01" in page.text
    alts = [attributes["alt"] for tag, attributes in page.tags if tag == "img"]
    assert alts[:3] == [PROMPTS[0], PROMPTS[1], f"reference: {PROMPTS[0]}"]


def test_all_passed_is_said_too(tmp_path):
    results = replace(made_results(), artifacts=(made_artifact("x86", "fp32", "split"),))
    text = _page(results, tmp_path).text
    assert "Every gate that was checked passed." in text and "What failed" not in text


def test_asks_for_nothing_from_outside(drawn, page):
    assert not {"script", "iframe", "object", "embed", "video", "audio"} & {tag for tag, _ in page.tags}
    for tag, attributes in page.tags:
        for name, value in attributes.items():
            assert not name.startswith("on"), (tag, name)
            if name in ("src", "srcset", "data", "poster") or (name == "href" and tag != "a"):
                assert value is not None and value.startswith("data:"), (tag, value)
    css = re.findall(r"<style>(.*?)</style>", html_from_results(*drawn), re.S)
    assert css and not re.search(r"url\(|@import|@font-face", "".join(css))
    assert [a["href"] for tag, a in page.tags if tag == "a"] == ["report.json"]
    policies = [a["content"] for _, a in page.tags if a.get("http-equiv") == "Content-Security-Policy"]
    assert policies == ["default-src 'none'; style-src 'unsafe-inline'; img-src data:"]


EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)> {{ 7 * 7 }} & ]]>"


def test_everything_from_data_is_escaped(tmp_path):
    gate = GateResult("image_psnr_db", 3.0, EVIL, EVIL, False, EVIL)
    artifact = replace(
        made_artifact("x86", "fp32", "split"),
        **dict.fromkeys(("name", "target", "scheme", "layout", "format"), EVIL),
        parity=ParityResult("failed", (gate, replace(gate, measure=EVIL)), EVIL),
        latency=replace(made_latency(0.01, split=True), components={EVIL: 0.004, "unet": 0.006}),
    )
    results = made_results()
    results = with_pictures(replace(results, artifacts=()), tmp_path, (EVIL, PROMPTS[0]))
    results = replace(
        results,
        artifacts=(artifact, replace(artifact, latency=replace(artifact.latency, failure=EVIL))),
        checkpoint=replace(results.checkpoint, name=EVIL, licence=EVIL),
        contract=replace(results.contract, family=EVIL, prediction_type=EVIL, tokenizer_sha256=EVIL),
        machine=replace(MACHINE, processor=EVIL, flags=(EVIL,)),
        reference_machine=replace(MACHINE, accelerator=EVIL),
        baselines=(replace(results.baselines[0], name=EVIL),),
        ratios=(Ratio(EVIL, EVIL, EVIL, 2.0, (1.0, 3.0)), Ratio("", EVIL, EVIL, math.nan, (1, 2), 0, EVIL)),
        reference_floor={EVIL: 1.0},
        tools={EVIL: EVIL},
    )
    html = html_from_results(results, tmp_path, command=EVIL, made=EVIL)
    assert "<script" not in html and "<img src=x" not in html
    page = _Page(html)
    assert not page.wrong and not page.open
    assert not [a for _, a in page.tags if "onerror" in a]
    assert page.text.count("alert(1)") > 20 and "49" not in re.findall(r"\b49\b", page.text)


def test_pictures_stand_side_by_side_with_the_reference(drawn, page):
    results, _ = drawn
    alts = [attributes["alt"] or "" for tag, attributes in page.tags if tag == "img"]
    with_a_picture = sum(bool(artifact.pictures) for artifact in results.artifacts)
    for prompt in PROMPTS:
        assert f"reference: {prompt}" in alts
        assert sum(alt.endswith(f": {prompt}") for alt in alts) == 1 + with_a_picture
    assert sum("times ten" in alt for alt in alts) == with_a_picture * len(PROMPTS)
    assert "PyTorch, CPU fp32" in page.text and "No pictures from 11 mac fp16 split" in page.text
    assert "2 more cases" in page.text


def test_a_reference_says_what_device_drew_it():
    assert reference_name(MACHINE) == "PyTorch, CPU fp32"
    assert reference_name(replace(MACHINE, accelerator="Some GPU")) == "PyTorch, CUDA fp32, Some GPU"
    assert "not recorded" in reference_name(None)


@pytest.mark.parametrize("picture", ["../outside.png", "/etc/passwd", "missing.png", "broken.png"])
def test_a_picture_that_cannot_be_used_leaves_a_gap(tmp_path, picture):
    folder = tmp_path / "report"
    results = with_pictures(made_results(), folder, PROMPTS[:1])
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    (tmp_path / "outside.png").write_bytes((folder / results.cases[0].picture).read_bytes())
    first = replace(results.artifacts[0], pictures=(picture,))
    page = _page(replace(results, artifacts=(first, *results.artifacts[1:])), folder)
    assert "No pictures from 1 x86 fp32 split" in page.text


def test_an_emulated_latency_is_never_printed(tmp_path):
    slow = made_latency(0.777, kind="emulated", split=True)
    results = replace(made_results(), artifacts=(made_artifact("android", "w8a8", "split", latency=slow),))
    html = html_from_results(results, tmp_path)
    assert "777" not in html and "≈" not in html
    text = _page(results, tmp_path).text
    assert "emulated: no time is claimed" in text and "That proves the picture, not the speed" in text
    assert "No speed-up is claimed" in text


def test_without_anything(tmp_path):
    bare = replace(made_results(), artifacts=(), baselines=(), ratios=(), contract=None, checkpoint=None, tools={})
    text = _page(bare, tmp_path).text
    assert "0 artifacts for 0 targets" in text and "No artifact was made." in text
    assert "nan" not in text.lower() and "None" not in text


def test_one_artifact_that_nobody_ran(tmp_path):
    only = made_artifact("mac", "fp16", "split", parity=None, latency=None)
    text = _page(replace(made_results(), artifacts=(only,), ratios=()), tmp_path).text
    assert "1 artifact for 1 target. 0 passed their parity gates, 1 was not checked." in text
    assert "nobody has shown that it is" in text and "not timed" in text
    assert "No speed-up is claimed: no artifact passed its gates." in text


def test_figures_that_are_not_numbers(tmp_path):
    gates = (
        GateResult("finite", 2.0, "0 cases", "case-01", False, "3 of 12288 in x0"),
        GateResult("image_psnr_db", math.nan, ">= 60", "case-01", False),
        GateResult("image_ssim", math.nan, ">= 0.999", "", False),
        GateResult("noise_sensitivity", math.nan, "0.99 .. 1.01", "", None, "no pair of cases"),
    )
    broken = made_artifact("x86", "fp32", "split", parity=ParityResult("failed", gates), latency=made_latency(math.nan))
    endless = made_artifact(
        "x86", "fp32", "fused", latency=replace(made_latency(0.01), p90_s=math.inf, first_s=math.nan)
    )
    equal = made_artifact("x86", "fp16", "split")
    equal = replace(equal, parity=replace(equal.parity, gates=(GateResult("image_psnr_db", 200.0, ">= 40", "", True),)))
    ratios = (Ratio("r", endless.name, TEACHER, math.nan, (math.nan, math.nan), failure="stopped"),)
    text = _page(replace(made_results(), artifacts=(broken, endless, equal), ratios=ratios), tmp_path).text
    assert "not finite 2 cases , gate 0 cases, worst in case-01: 3 of 12288 in x0" in text
    assert "image PSNR NaN" in text and "✕ NaN" in text and "noise sensitivity undecided: no pair of cases" in text
    assert "equal gate ≥ 40" in text and "What failed, and what is in doubt" in text
    assert "≈ 144x" in text and "not interleaved, so without an interval" in text


def test_twenty_artifacts_and_a_very_long_prompt(tmp_path):
    some = made_results().artifacts
    many = tuple(replace(some[i % len(some)], name=f"artifact-{i}") for i in range(20))
    prompt = "a very long prompt " * 100
    results = with_pictures(replace(made_results(), artifacts=many), tmp_path, (prompt, PROMPTS[0]))
    page = _page(results, tmp_path)
    assert "20 artifacts" in page.text and prompt.strip() in page.text and prompt[:140].rstrip() + " …" in page.text


def test_written_beside_its_json_and_again_from_it(drawn):
    results, folder = drawn
    page = write_report(results, folder / "report.html")
    write_results(results, folder / "report.json")
    again = html_from_results(read_results(folder / "report.json"), folder)
    assert page.read_text(encoding="utf-8") == again
    assert not list(folder.glob(".*partial"))


def test_an_output_that_cannot_be_written_is_bad_input(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="cannot be written"):
        write_report(made_results(), tmp_path / "file" / "report.html")


def test_the_command_that_makes_it_again():
    assert command_for(made_results()) == "edgestep ship emoji --target x86 --target intel --target mac --out DIR"
    spaced = replace(made_results().checkpoint, name="my model; rm")
    assert "'my model; rm'" in command_for(replace(made_results(), checkpoint=spaced))


def test_a_long_name_is_shortened():
    assert shortened("emoji") == "emoji" and shortened("/a/b/" + "deep/" * 20 + "mine/") == "mine"
    assert len(shortened("x" * 400)) == 41
