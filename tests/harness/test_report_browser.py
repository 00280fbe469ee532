"""The page in a real browser: fits a phone, asks for nothing, says nothing to the console, legible in both schemes."""

import re
import shutil
from dataclasses import replace
from importlib.resources import files

import pytest

from edgestep.harness.reporting.report import write_report
from tests.harness.made_up import PROMPTS, made_results, with_pictures

ARGUMENTS = [
    *("--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
]
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
    if CHROMIUM is None:
        pytest.skip("no chromium here")
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield started
        started.close()


@pytest.fixture(scope="module")
def hard_page(tmp_path_factory):
    """Twenty artifacts, a long prompt without a space, a prompt that is a script, one that would widen the page."""
    folder = tmp_path_factory.mktemp("report")
    some = made_results().artifacts
    many = tuple(replace(some[i % len(some)], name=f"artifact-{i}") for i in range(20))
    prompts = ("x" * 900, "<script>document.title='taken over'</script>", *PROMPTS[:4])
    results = made_results()
    named = replace(results.checkpoint, name="org/" + "n" * 120)
    results = with_pictures(replace(results, artifacts=many, checkpoint=named), folder, prompts)
    return write_report(results, folder / "report.html")


@pytest.mark.parametrize("width", [320, 390, 768, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_fits_its_width_asks_for_nothing_and_is_quiet(browser, hard_page, width, scheme):
    page = browser.new_page(viewport={"width": width, "height": 844}, color_scheme=scheme)
    asked, said = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(hard_page.as_uri())
    page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true })")
    assert page.evaluate("document.scrollingElement.scrollWidth") <= width
    assert [url for url in asked if not url.startswith("data:")] == [hard_page.as_uri()]
    assert said == []
    assert "taken over" not in page.title()
    assert page.evaluate("[...document.images].every(i => i.complete && i.naturalWidth > 0)")
    assert page.evaluate("getComputedStyle(document.querySelector('.strip img')).imageRendering") == "pixelated"
    page.close()


def test_no_text_of_a_plot_leaves_the_page(browser, hard_page):
    page = browser.new_page(viewport={"width": 390, "height": 844})
    page.goto(hard_page.as_uri())
    boxes = page.evaluate(
        "[...document.querySelectorAll('svg text')].map(t => [t.textContent, ...['left', 'right'].map("
        "k => t.getBoundingClientRect()[k]), parseFloat(getComputedStyle(t).fontSize)])"
    )
    assert len(boxes) > 60
    assert [box for box in boxes if box[1] < 0 or box[2] > 390 or box[3] < 12] == []
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_of_text_have_contrast_aa(scheme):
    """WCAG 2 asks for 4.5 : 1 between text and what is behind it."""
    css = (files("edgestep.harness.reporting") / "templates" / "report.css").read_text()
    roots = re.findall(r":root \{(.*?)\}", css, re.S)
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", roots[0] if scheme == "light" else roots[1]))
    pairs = [(ink, back) for ink in ("ink", "quiet", "good", "bad", "doubt") for back in ("paper", "raised")]
    pairs += [("ink", "bad-paper"), ("bad", "bad-paper"), ("ink", "faint")]
    pairs += [("on-part", f"c{i}") for i in range(5)]
    contrasts = {pair: _contrast(colours[pair[0]], colours[pair[1]]) for pair in pairs}
    assert {pair: value for pair, value in contrasts.items() if value < 4.5} == {}


def _contrast(one: str, other: str) -> float:
    high, low = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def _luminance(colour: str) -> float:
    levels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [level / 12.92 if level <= 0.04045 else ((level + 0.055) / 1.055) ** 2.4 for level in levels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
