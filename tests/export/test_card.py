"""The card of every artifact says what it is, and its example draws what `Drawer` draws."""

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgestep.artifact import Artifact, File, OneStep, read_artifact
from edgestep.export.card import card_from_artifact
from edgestep.runtimes.drawing import Drawer
from tests.export.conftest import worst_level
from tests.export.family_artifacts import FamilyArtifacts, family_artifacts

ROWS = (
    "sd-turbo",
    "sdxl-turbo",
    "pixart-dmd",
    "sana-sprint",
    "lcm-4step",
    "dmd2-sdxl-4step",
    "sdxl-lightning-4step",
    "sana-sprint-2step",
)
"""Rows whose cards differ: every base, and loops that add noise and that do not."""


@pytest.fixture(scope="session")
def families(tmp_path_factory) -> FamilyArtifacts:
    return family_artifacts(tmp_path_factory.getbasetemp() / "families")


def _artifact(families: FamilyArtifacts, name: str, format: str, layout: str) -> Artifact:
    """Return a manifest as export writes it, without exporting."""
    graphs = families.graphs(name)
    components = tuple(graphs.component(n, f"{n}/model.onnx") for n in graphs.names(layout))
    made_up = {"files": (), "checkpoint_sha256": "", "key": "", "licence": "openrail++"}
    name = f"{name}-{format}"
    return Artifact(name, "x86", format, "fp16", layout, graphs.contract, components, **made_up)


def _code(card: str) -> str:
    return re.findall(r"```python\n(.*?)```", card, re.DOTALL)[0]


@pytest.mark.parametrize(
    "format, layout, scheme, said",
    [
        ("onnx", "fused", "fp32", True),
        ("onnx", "fused", "w8a8", True),
        ("onnx", "fused", "fp16", False),
        ("onnx", "split", "fp32", False),
        ("openvino", "fused", "fp32", False),
    ],
)
def test_a_graph_with_attention_says_what_runs_it(families, format: str, layout: str, scheme: str, said: bool):
    artifact = replace(_artifact(families, "sd-turbo", format, layout), scheme=scheme)
    assert ("onnxruntime 1.24" in card_from_artifact(artifact, ())) == said


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize("layout", ["split", "fused"])
@pytest.mark.parametrize("format", ["onnx", "openvino"])
def test_every_example_is_short_python(families, name: str, format: str, layout: str):
    code = _code(card_from_artifact(_artifact(families, name, format, layout), ()))
    compile(code, "card", "exec")
    lines = code.splitlines()
    assert len(lines) <= 15
    assert max(map(len, lines)) <= 130


@pytest.mark.parametrize("name", ROWS)
def test_the_card_says_what_it_is(families, name: str):
    artifact = _artifact(families, name, "onnx", "split")
    contract = artifact.contract
    text = card_from_artifact(artifact, (File("unet/model.onnx", "", 12_345_678), File("small.json", "", 99)))
    height, width = contract.image_size
    for said in (
        artifact.name,
        f"license: {artifact.licence}",
        contract.family,
        f"{height} x {width}",
        "onnx, fp16, split",
        f"t = {contract.timestep:g}",
        contract.prediction_type,
        "- `unet/model.onnx`: 12,345,678 bytes",
        "Not checked yet: `edgestep parity`",
        *(f"{component.name}: " for component in artifact.components),
        *(f"t = {step.timestep:g}" for step in contract.next_steps),
    ):
        assert said in text, said
    assert "small.json" not in text
    assert "+ -" not in text
    assert "- -" not in text


def test_gates_take_the_place_of_not_checked(families):
    artifact = _artifact(families, "sd-turbo", "onnx", "fused")
    text = card_from_artifact(artifact, (), gates="Parity: image 61.2 dB at the worst of 8 prompts.\n")
    assert "61.2 dB" in text
    assert "Not checked" not in text


def test_an_approximation_and_an_unknown_licence_are_named(families):
    artifact = _artifact(families, "sd-turbo-taesd", "onnx", "split")
    assert "approximation" in card_from_artifact(artifact, ())
    assert "approximation" not in card_from_artifact(_artifact(families, "sd-turbo", "onnx", "split"), ())
    assert "names no licence" in card_from_artifact(replace(artifact, licence="unknown"), ())


@pytest.mark.parametrize(
    ("name", "format", "layout", "says"),
    [
        ("sdxl-turbo", "onnx", "split", "ORTDiffusionPipeline"),
        ("sdxl-turbo", "openvino", "split", "Text2ImagePipeline"),
        ("sdxl-turbo", "onnx", "fused", "needs no client"),
        ("pixart-dmd", "onnx", "split", "No client that exists draws with PixArt-alpha"),
        ("sana-sprint", "openvino", "split", "No client that exists draws with SANA-Sprint"),
        ("dmd2-sdxl-4step", "onnx", "split", "No client that exists runs a loop"),
        ("sd-turbo", "coreml", "split", "Core ML runs on Apple devices"),
    ],
)
def test_the_card_says_which_client_opens_it(families, name: str, format: str, layout: str, says: str):
    files = (File("tokenizer/openvino_tokenizer.xml", "", 1),)
    assert says in card_from_artifact(_artifact(families, name, format, layout), files)


def _empty_prompt(contract: OneStep) -> dict[str, np.ndarray]:
    inputs = {}
    for name, tokens in (("input_ids", contract), *((more.input, more) for more in contract.more_tokenizers)):
        opening = [token for token in (tokens.bos_token_id, tokens.eos_token_id) if token >= 0]
        inputs[name] = np.full((1, tokens.prompt_tokens), tokens.pad_token_id)
        inputs[name][0, : len(opening)] = opening
        mask = np.zeros((1, tokens.prompt_tokens), np.int64)
        mask[0, : len(opening)] = 1
    return inputs | ({"attention_mask": mask} if contract.base in ("pixart", "sana") else {})


def _check_example(folder: Path, scratch: Path) -> None:
    """Run the example in the folder, as a reader would, and compare its picture with Drawer's."""
    from PIL import Image

    script = _code((folder / "README.md").read_text()).replace('"image.png"', repr(str(scratch / "image.png")))
    subprocess.run([sys.executable, "-c", script], check=True, cwd=folder, timeout=200)
    contract = read_artifact(folder).contract
    adds = any(step.m_n for step in contract.next_steps)
    steps = (1 + len(contract.next_steps),) if adds else ()
    noise = np.random.default_rng(0).standard_normal((*steps, 1, *contract.latent_shape), dtype=np.float32)
    given = {"noise": noise[0], "more_noise": noise[1:]} if adds else {"noise": noise}
    with Drawer(folder) as drawer:
        expected = drawer.draw(**_empty_prompt(contract), **given).image[0]
    assert expected.std() > 1
    assert worst_level(np.asarray(Image.open(scratch / "image.png")), expected) <= 1


@pytest.mark.parametrize(("format", "layout"), [("onnx", "split"), ("onnx", "fused"), ("openvino", "split")])
def test_the_example_draws_what_drawer_draws(make, tmp_path, format: str, layout: str):
    _check_example(make(format, "fp32", layout).folder, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "format", "layout", "said"),
    [
        ("sdxl-turbo", "onnx", "split", {}),
        ("sdxl-turbo", "onnx", "fused", {}),
        ("pixart-dmd", "onnx", "split", {}),
        ("pixart-dmd", "openvino", "split", {}),
        ("lcm", "onnx", "split", {"steps": 2}),
        ("lcm", "onnx", "fused", {"steps": 2}),
        ("hyper-sd15-2steps", "onnx", "split", {}),
    ],
    ids=lambda value: "" if value == {} else None,
)
def test_a_family_s_example_draws_what_drawer_draws(families, tmp_path, name, format, layout, said):
    _check_example(families.exported(name, format, layout, **said), tmp_path)
