"""One package with a function for each size: the weights of one, and the pictures of each."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgestep.artifact import BadInput, SizedFunction, read_artifact
from edgestep.export.coreml.folder import write_coreml
from edgestep.export.coreml.options import CoreMLOptions, resolved
from edgestep.export.coreml.package import read_spec
from edgestep.export.graph.graphs import Graphs
from edgestep.export.recipe.contract import contract_from_checkpoint
from edgestep.export.run import export
from edgestep.export.source.checkpoint import open_source
from edgestep.runtimes.mil_evaluator import MilEvaluator
from tests.export.conftest import Made

ct = pytest.importorskip("coremltools")

NEWEST = CoreMLOptions(compute_unit="gpu", deployment_target="iOS18")
GIVEN = {"format": "coreml", "precision": "fp16", "layout": "fused", "target": "iphone"}
SIZES = {"size_16x16": (16, 16), "size_24x32": (24, 32)}


@pytest.fixture(scope="module")
def sized(checkpoint, graphs, tmp_path_factory: pytest.TempPathFactory) -> Made:
    out = tmp_path_factory.mktemp("sized") / "made"
    options = replace(NEWEST, sizes=(SIZES["size_24x32"],))
    return Made(out, export(checkpoint, out=out, graphs=graphs, coreml=options, **GIVEN))


@pytest.fixture(scope="module")
def alone(checkpoint, make, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return the package of each size by itself, the second as --size exports it."""
    other = open_source(replace(checkpoint.source, size=SIZES["size_24x32"]))
    out = tmp_path_factory.mktemp("alone")
    write_coreml(out, Graphs(other, contract_from_checkpoint(other)), ("generator",), "fp16", NEWEST)
    folders = {"size_16x16": make("coreml", "fp16", "fused", NEWEST).folder, "size_24x32": out}
    return {name: folder / "generator.mlpackage" for name, folder in folders.items()}


def bytes_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("name", SIZES)
def test_each_function_draws_what_its_own_package_draws(sized: Made, alone: dict[str, Path], name: str):
    feeds = {}
    with MilEvaluator(alone[name]) as session:
        random = np.random.default_rng(1)
        for spec in session.inputs:
            ids = spec.dtype == "int32"
            feeds[spec.name] = np.ones(spec.shape, np.int32) if ids else random.standard_normal(spec.shape, np.float32)
        expected = session.run(feeds)["image"]
    assert expected.shape == (1, *SIZES[name], 3)
    with MilEvaluator(sized.folder / "generator.mlpackage", function=name) as session:
        np.testing.assert_array_equal(session.run(feeds)["image"], expected)


def test_the_weights_are_there_once(sized: Made, alone: dict[str, Path]):
    weights = Path("Data/com.apple.CoreML/weights/weight.bin")
    one = (alone["size_16x16"] / weights).stat().st_size
    both = (sized.folder / "generator.mlpackage" / weights).stat().st_size
    assert both <= 1.05 * one


@pytest.mark.slow
def test_the_bundled_generator_s_package_is_hardly_larger(emoji: Path, tmp_path: Path):
    from edgestep.export.source.checkpoint import open_checkpoint

    checkpoint = open_checkpoint(emoji)
    export(checkpoint, out=tmp_path / "one", coreml=NEWEST, **GIVEN)
    export(checkpoint, out=tmp_path / "two", coreml=replace(NEWEST, sizes=((96, 96),)), **GIVEN)
    one, two = (bytes_of(tmp_path / name / "generator.mlpackage") for name in ("one", "two"))
    assert one < two <= 1.05 * one


def test_the_manifest_says_which_function_draws_which_size(sized: Made):
    artifact = read_artifact(sized.folder)
    generator = artifact.component("generator")
    assert generator.functions == (
        SizedFunction("size_16x16", (4, 8, 8), (16, 16)),
        SizedFunction("size_24x32", (4, 12, 16), (24, 32)),
    )
    assert generator.functions[0].image_size == artifact.contract.image_size
    assert artifact.options["sizes"] == "24x32"
    assert [path.name for path in sized.folder.iterdir() if path.suffix == ".mlpackage"] == ["generator.mlpackage"]
    assert not [path for path in sized.folder.iterdir() if path.name.startswith("size_")]


def test_coremltools_reads_the_package_as_one_of_its_own(sized: Made, alone: dict[str, Path], tmp_path: Path):
    """The same description as save_multifunction writes, and programs that its loader takes."""
    from coremltools.converters.mil.frontend.milproto.load import load

    descriptor = ct.utils.MultiFunctionDescriptor()
    for name, package in alone.items():
        descriptor.add_function(str(package), src_function_name="main", target_function_name=name)
    descriptor.default_function_name = "size_16x16"
    ct.utils.save_multifunction(descriptor, str(tmp_path / "theirs.mlpackage"))
    ours, theirs = read_spec(sized.folder / "generator.mlpackage"), read_spec(tmp_path / "theirs.mlpackage")
    assert ours.specificationVersion == theirs.specificationVersion
    assert ours.description.defaultFunctionName == theirs.description.defaultFunctionName
    described = [{f.name: f for f in spec.description.functions} for spec in (ours, theirs)]
    assert described[0] == described[1]
    weights = sized.folder / "generator.mlpackage/Data/com.apple.CoreML/weights"
    assert set(load(ours, ours.specificationVersion, str(weights)).functions) == set(SIZES)


@pytest.mark.parametrize("target", ["iOS17", "macOS14"])
def test_older_systems_have_no_functions(target: str):
    with pytest.raises(BadInput, match=r"--deployment-target iOS18"):
        resolved(CoreMLOptions(deployment_target=target, sizes=((96, 96),)), "sd")


@pytest.mark.parametrize(
    ("layout", "sizes", "said"),
    [("split", ((24, 24),), "--layout fused"), ("fused", ((16, 16),), "twice"), ("fused", ((17, 16),), "multiples")],
)
def test_sizes_that_cannot_be_had_are_refused(checkpoint, graphs, tmp_path: Path, layout, sizes, said, monkeypatch):
    monkeypatch.setattr("edgestep.export.coreml.folder._write", refuse_to_write)
    given = GIVEN | {"layout": layout}
    with pytest.raises(BadInput, match=said):
        export(checkpoint, out=tmp_path / "out", graphs=graphs, coreml=replace(NEWEST, sizes=sizes), **given)
    assert not (tmp_path / "out").exists()


def refuse_to_write(*_: object) -> None:
    raise AssertionError("sizes are checked before anything is converted")


def test_the_fused_form_is_not_cut(checkpoint, graphs, tmp_path: Path):
    with pytest.raises(BadInput, match=r"--layout split"):
        export(checkpoint, out=tmp_path / "out", graphs=graphs, coreml=CoreMLOptions(chunk_mib=5), **GIVEN)


def test_sizes_and_pieces_together_are_refused():
    with pytest.raises(BadInput, match=r"--chunk-mib"):
        resolved(CoreMLOptions(deployment_target="iOS18", sizes=((96, 96),), chunk_mib=100), "sd")
