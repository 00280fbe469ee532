"""'edgestep quantize' with what cannot be quantized: one line, exit status 2, and nothing left behind."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from edgestep import cli
from edgestep.artifact import MANIFEST
from edgestep.quantize.schemes import SCHEMES
from tests.runtimes.handmade import save_handmade

FORMATS = ("onnx", "openvino", "coreml")
ABSENT = [(name, form) for name, scheme in SCHEMES.items() for form in FORMATS if form not in scheme.formats]
MADE = [(name, form) for name, scheme in SCHEMES.items() for form in scheme.formats]


@pytest.fixture(scope="module")
def handmade(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return format -> the folder of a fused artifact."""
    folders = {form: tmp_path_factory.mktemp("handmade") / form for form in ("onnx", "openvino")}
    for form, folder in folders.items():
        folder.mkdir()
        save_handmade(folder, form, "fused")
    return folders


@pytest.fixture
def refused(handmade: dict[str, Path], tmp_path: Path, monkeypatch, capsys) -> Callable[..., str]:
    """Return what copies a fused artifact with `changes` in its manifest, quantizes it, and returns the one line."""

    def run(*words: str, form: str = "onnx", **changes: str) -> str:
        parent, out = tmp_path / "parent", tmp_path / "out"
        shutil.copytree(handmade["onnx" if form == "coreml" else form], parent)
        path = parent / MANIFEST
        path.write_text(json.dumps(json.loads(path.read_text()) | {"format": form} | changes))
        before = sorted(tmp_path.iterdir())
        monkeypatch.setattr("sys.argv", ["edgestep", "quantize", str(parent), "--out", str(out), *words])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("edgestep: ")]
        assert stopped.value.code == 2
        assert len(lines) == 1
        assert sorted(tmp_path.iterdir()) == before, "something was left behind"
        return lines[0]

    return run


@pytest.mark.parametrize(("scheme", "form"), ABSENT)
def test_a_scheme_that_the_format_lacks(refused, scheme, form):
    line = refused("--scheme", scheme, form=form)
    assert f"got scheme '{scheme}' for {form}; expected one of: " in line
    for name, row in SCHEMES.items():
        assert row.hidden or name in line
    assert all(form in line for form in FORMATS)


@pytest.mark.parametrize(("scheme", "form"), MADE)
def test_an_artifact_that_is_quantized_already(refused, scheme, form):
    line = refused("--scheme", scheme, form=form, scheme="w8")
    assert f"got a parent of format {form} and scheme 'w8' for {scheme}" in line
    assert "quantize the float export" in line


CALIBRATED = [(name, form) for name, form in MADE if form != "coreml" and SCHEMES[name].calibrated and name != "mixed"]


@pytest.mark.parametrize(("scheme", "form"), CALIBRATED)
@pytest.mark.parametrize(("text", "said"), [("", "prompt"), ("\n\n", "prompt"), ("a red heart\n", "2 or more")])
def test_an_empty_or_one_prompt_list(refused, tmp_path, scheme, form, text, said):
    prompts = tmp_path / "prompts.txt"
    prompts.write_text(text)
    assert said in refused("--scheme", scheme, "--prompts", str(prompts), form=form)


def test_a_list_that_is_not_there(refused, tmp_path):
    assert "none.txt" in refused("--scheme", "w8a8", "--prompts", str(tmp_path / "none.txt"))
