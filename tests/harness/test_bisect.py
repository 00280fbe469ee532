"""Bisection on the tiny checkpoint: figures against PyTorch's own arithmetic, and the command as a user meets it."""

import json
import math
import shutil
from pathlib import Path
from xml.etree import ElementTree

import jsonschema
import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from edgestep.artifact import BadInput, files_in, read_artifact, write_manifest
from edgestep.harness.bisection.bisect import bisect_artifact
from edgestep.harness.bisection.keep_list import keep_list
from edgestep.harness.bisection.results import Bisected, TapError
from edgestep.harness.ci.schema import schema_named
from edgestep.harness.parity.measures import sqnr_db
from edgestep.harness.reference.bundle import read_reference
from edgestep.harness.reference.taps import read_taps
from edgestep.harness.reference.torch_one_step import TorchOneStep
from edgestep.quantize.run import quantize
from edgestep.runtimes.drawing import Drawer
from tests.harness.test_taps import bundle_with_taps, tensor
from tests.quantize.conftest import feeds_of
from tests.test_cli import edgestep, refused

LAYER = "unet.mid_block.resnets.0.conv1"


@pytest.fixture(scope="module")
def tapped(bundle_folder: Path, torch_tiny: TorchOneStep, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bundle_with_taps(tmp_path_factory.mktemp("taps") / "bundle", bundle_folder, torch_tiny)


def with_weights(split: Path, folder: Path, layer: str, change) -> tuple[Path, np.ndarray]:
    """Return a copy with one layer's weights changed, which its manifest vouches for, and these weights."""
    shutil.copytree(split, folder)
    path = folder / "unet" / "model.onnx"
    model = onnx.load(path)
    name = next(node for node in model.graph.node if node.name == f"{layer}/Conv").input[1]
    maker = next((node for node in model.graph.node if name in node.output), None)
    name = maker.input[0] if maker is not None else name
    weight = next(one for one in model.graph.initializer if one.name == name)
    changed = change(numpy_helper.to_array(weight).copy())
    weight.CopyFrom(numpy_helper.from_array(changed, name))
    path.write_bytes(model.SerializeToString())
    artifact = read_artifact(split, verify=False)
    write_manifest(folder, type(artifact)(**{**artifact.__dict__, "files": files_in(folder)}))
    return folder, changed


def scaled(weight: np.ndarray) -> np.ndarray:
    weight[0] *= 1.5
    return weight


def bisected(folder: Path, tapped: Path, **options) -> Bisected:
    reference = read_reference(tapped)
    return bisect_artifact(folder, reference, read_taps(tapped, reference), threads=1, **options)


@pytest.fixture(scope="module")
def mutant(split_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray]:
    return with_weights(split_folder, tmp_path_factory.mktemp("mutant") / "artifact", LAYER, scaled)


def row(found: Bisected, module: str, op: str) -> TapError:
    return next(tap for tap in found.taps if (tap.module, tap.op) == (module, op))


def test_the_local_error_is_what_pytorch_says_of_the_damaged_weights(mutant, tapped: Path, torch_tiny: TorchOneStep):
    folder, weight = mutant
    found = bisected(folder, tapped)
    assert [(tap.module, tap.op) for tap in found.suspects] == [(LAYER, "Conv")]
    taps = read_taps(tapped, read_reference(tapped))
    expected = []
    for case in taps.index.cases:
        read = torch.from_numpy(tensor(taps, case, LAYER, "in"))
        # What conv1 gives in the artifact has the folded time in it: what norm2 reads.
        whole = tensor(taps, case, "unet.mid_block.resnets.0.norm2", "in")
        sound = dict(torch_tiny.pipe.unet.named_modules())[LAYER.removeprefix("unet.")].weight.detach()
        error = torch.nn.functional.conv2d(read, torch.from_numpy(weight) - sound, padding=1).numpy()
        expected.append(sqnr_db(whole, whole + error))
    assert row(found, LAYER, "Conv").local_db == pytest.approx(min(expected), abs=0.01)


def test_the_cumulative_error_of_the_last_is_the_drawings(mutant, tapped: Path):
    folder, _ = mutant
    reference = read_reference(tapped)
    found = bisected(folder, tapped)
    with Drawer(folder, threads=1) as drawer:
        feeds = [drawer.feeds(**case.inputs)["unet"] for case in reference.cases[:2]]
        session = drawer._sessions["unet"]
        drawn = [
            session.run({**fed, "encoder_hidden_states": case.prompt_embeds})["out_sample"]
            for fed, case in zip(feeds, reference.cases, strict=False)
        ]
    expected = min(sqnr_db(case.x0, x0) for case, x0 in zip(reference.cases, drawn, strict=False))
    last = [tap for tap in found.taps if tap.component == "unet"][-1]
    assert last.op == "Sub"
    assert last.cumulative_db == pytest.approx(expected, abs=0.5)
    assert last.local_db > 110
    before = found.taps.index(row(found, LAYER, "Conv"))
    assert all(tap.cumulative_db > 100 for tap in found.taps[:before])


def test_every_place_is_close_in_a_sound_artifact_and_the_rest_is_counted(split_folder: Path, tapped: Path):
    found = bisected(split_folder, tapped)
    assert found.suspects == ()
    reference = read_reference(tapped)
    taps = read_taps(tapped, reference).index.taps
    told = sum(len(names) for reasons in found.unplaced.values() for names in reasons.values())
    assert len(found.taps) + told <= len(taps) + 1
    modules = {tap.module for tap in found.taps}
    convolutions = {t.module for t in taps if "resnets" in t.module and t.module.endswith("conv2")}
    assert convolutions <= modules


def test_nan_is_a_culprit(split_folder: Path, tapped: Path, tmp_path: Path):
    folder, _ = with_weights(split_folder, tmp_path / "nan", LAYER, lambda weight: weight * np.float32(np.nan))
    found = bisected(folder, tapped)
    assert found.suspects[0].module == LAYER
    assert math.isnan(found.suspects[0].local_db)


def test_a_fused_artifact_is_sent_to_its_split_form(fused_folder: Path, tapped: Path):
    with pytest.raises(BadInput, match="bisect the split export"):
        bisected(fused_folder, tapped)


def test_openvino_runs_the_onnx_file_to_the_same_verdict(mutant, tapped: Path):
    found = bisected(mutant[0], tapped, runtime="openvino")
    assert [(tap.module, tap.op) for tap in found.suspects] == [(LAYER, "Conv")]


def test_the_keep_list_names_quantized_layers_and_suspects():
    def made(module: str, op: str, local: float, *, quantized: bool, suspect: bool = False) -> TapError:
        ops = (op,) if op != "Softmax" else ("MatMul", "Softmax")
        return TapError("unet", module, op, f"{module}/{op}", ops, (1,), 0.0, local, "c", suspect, quantized)

    taps = (
        made("a", "Conv", 30.0, quantized=True),
        made("b", "Conv", 20.0, quantized=True),
        made("c", "Softmax", 10.0, quantized=True),
        made("d", "Add", 15.0, quantized=True),
        made("e", "MatMul", 12.0, quantized=False, suspect=True),
        made("f", "MatMul", 90.0, quantized=False),
    )
    found = Bisected(12.5, "onnxruntime", taps)
    assert keep_list(found, 1) == ("e", "b")
    assert keep_list(found, 8) == ("e", "b", "a")


def test_the_command_writes_its_files_and_exits_with_one(mutant, tapped: Path, tmp_path: Path):
    outs = ("--json", tmp_path / "b.json", "--out", tmp_path / "pages", "--keep-fp32", tmp_path / "keep.json")
    done = edgestep("bisect", mutant[0], "--reference", tapped, *outs)
    assert done.returncode == 1, done.stderr
    assert f"first culprit {LAYER} Conv" in done.stdout
    report = json.loads((tmp_path / "b.json").read_text())
    assert report["schema"] == {"name": "edgestep.bisect", "version": 1}
    jsonschema.validate(report, schema_named("bisect"))
    taps = report["artifacts"][0]["bisect"]["taps"]
    assert [tap["module"] for tap in taps if tap["suspect"]] == [LAYER]
    assert json.loads((tmp_path / "keep.json").read_text()) == [LAYER]
    table = (tmp_path / "pages" / "bisect.md").read_text()
    assert sum(line.startswith("| ") for line in table.splitlines()) == len(taps) + 1
    assert f"**{LAYER}**" in table
    svg = ElementTree.parse(tmp_path / "pages" / "bisect.svg").getroot()
    name = "{http://www.w3.org/2000/svg}%s"
    dots = [dot for dot in svg.findall(name % "circle") if dot.find(name % "title") is not None]
    assert len(dots) == len(taps)
    assert sum("suspect" in dot.get("class", "") for dot in dots) == 1


def test_the_command_says_that_nothing_is_wrong(split_folder: Path, tapped: Path):
    done = edgestep("bisect", split_folder, "--reference", tapped)
    assert done.returncode == 0, done.stderr
    assert "nothing is wrong" in done.stdout


def test_a_bundle_without_taps_is_one_line(split_folder: Path, bundle_folder: Path):
    refused(edgestep("bisect", split_folder, "--reference", bundle_folder), "got no taps", "--taps")


def test_a_quantized_artifact_is_ranked_and_its_damaged_layer_found(split_folder: Path, tapped: Path, tmp_path: Path):
    quantize(split_folder, scheme="w8a8", out=tmp_path / "w8a8", feeds=feeds_of(split_folder))
    sound = bisected(tmp_path / "w8a8", tapped)
    assert sound.suspects == ()
    named = {tap.module for tap in sound.taps if tap.quantized and tap.op == "Conv"}
    assert LAYER in named
    assert not {module for module in named if module.endswith(("conv_in", "conv_out"))}
    kept = keep_list(sound, 3)
    errors = {tap.module: tap.local_db for tap in sound.taps if tap.quantized and tap.op in ("Conv", "MatMul")}
    assert list(kept) == sorted(kept, key=errors.__getitem__)
    assert max(errors[module] for module in kept) <= sorted(errors.values())[3]
    folder = with_quantized_weights(tmp_path / "w8a8", tmp_path / "damaged", LAYER)
    assert [(tap.module, tap.op) for tap in bisected(folder, tapped).suspects] == [(LAYER, "Conv")]


def with_quantized_weights(source: Path, folder: Path, layer: str) -> Path:
    """Return a copy whose int8 weights of one layer have another sign."""

    def change(weight: np.ndarray) -> np.ndarray:
        assert weight.dtype == np.int8
        return -weight

    return with_weights(source, folder, layer, change)[0]
