"""A UNet in pieces: the chain of them gives what the whole gives, bit for bit, and nothing is lost between."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from edgestep.artifact import BadInput, Component, read_artifact
from edgestep.export.coreml.chunks import chunk_package
from edgestep.export.coreml.folder import write_coreml
from edgestep.export.coreml.options import CoreMLOptions
from edgestep.export.coreml.package import read_spec
from edgestep.export.graph.graphs import Graphs
from edgestep.export.recipe.contract import contract_from_checkpoint
from edgestep.export.run import export
from edgestep.export.source.checkpoint import open_checkpoint
from edgestep.runtimes.mil_evaluator import MilEvaluator

ct = pytest.importorskip("coremltools")

MIB = 2**20


def weight_bytes(package: Path) -> int:
    return (package / "Data/com.apple.CoreML/weights/weight.bin").stat().st_size


@pytest.fixture(scope="module")
def whole(make) -> Path:
    return make("coreml", "fp16", "split").folder / "Unet.mlpackage"


@pytest.fixture
def copied(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / whole.name))


def chain_of(pieces: tuple[Path, ...], feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Run them as Apple's Swift does: each is fed the model's inputs and what the last one gave, nothing older."""
    given: dict[str, np.ndarray] = {}
    for piece in pieces:
        with MilEvaluator(piece) as session:
            at_hand = feeds | given
            given = session.run({spec.name: at_hand[spec.name] for spec in session.inputs})
    return given


def feeds_for(package: Path) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    with MilEvaluator(package) as session:
        return {spec.name: random.standard_normal(spec.shape, dtype=np.float32) for spec in session.inputs}


def check_chain(package: Path, most_bytes: int, count: int) -> None:
    feeds = feeds_for(package)
    with MilEvaluator(package) as session:
        expected = session.run(feeds)
    pieces = chunk_package(package, most_bytes)
    assert [piece.name for piece in pieces] == [f"UnetChunk{i + 1}.mlpackage" for i in range(count)]
    assert not package.exists()
    for piece in pieces:
        data = sum(blob["size"] for blob in records_of(piece))
        assert 0.4 * most_bytes < data <= most_bytes
    found = chain_of(pieces, feeds)
    assert list(found) == list(expected)
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value)


def records_of(package: Path) -> list[dict[str, int]]:
    """Return the arrays of weight.bin, read here record by record from the file's own chain."""
    raw = (package / "Data/com.apple.CoreML/weights/weight.bin").read_bytes()
    count, at, found = int.from_bytes(raw[:4], "little"), 64, []
    for _ in range(count):
        assert raw[at : at + 4] == b"\xef\xbe\xad\xde"
        size, start = (int.from_bytes(raw[at + i : at + i + 8], "little") for i in (8, 16))
        found.append({"size": size, "start": start})
        at = (start + size + 63) // 64 * 64
    assert at - 64 < len(raw) <= at
    return found


@pytest.mark.parametrize("count", [2, 3])
def test_the_chain_of_pieces_gives_what_the_whole_gives(copied: Path, count: int):
    total = sum(blob["size"] for blob in records_of(copied))
    check_chain(copied, int(total / count * 1.25), count)


@pytest.mark.slow
@pytest.mark.parametrize(("count", "mib"), [(2, 9), (3, 6)])
def test_the_bundled_generator_in_pieces(emoji: Path, tmp_path: Path, count: int, mib: int):
    checkpoint = open_checkpoint(emoji)
    write_coreml(tmp_path, Graphs(checkpoint, contract_from_checkpoint(checkpoint)), ("unet",), "fp16")
    check_chain(tmp_path / "Unet.mlpackage", mib * MIB, count)


def test_skip_connections_pass_through_a_piece_that_does_not_read_them(copied: Path):
    total = sum(blob["size"] for blob in records_of(copied))
    first, second, third = (read_spec(piece) for piece in chunk_package(copied, int(total / 3 * 1.25)))
    block = second.mlProgram.functions["main"].block_specializations["CoreML7"]
    handed_on = [o.outputs[0].name for o in block.operations if o.type == "identity"]
    assert handed_on
    assert set(handed_on) <= {feature.name for feature in third.description.input}
    carried = {f.name for f in first.description.output}
    assert carried == {f.name for f in second.description.input} - {"timestep", "encoder_hidden_states"}


def test_coremltools_reads_every_piece_as_a_program(copied: Path):
    """Its own loader builds each operation anew, and so checks types, shapes and the order of definitions."""
    from coremltools.converters.mil.frontend.milproto.load import load

    total = sum(blob["size"] for blob in records_of(copied))
    for piece in chunk_package(copied, int(total / 2 * 1.25)):
        spec = read_spec(piece)
        program = load(spec, spec.specificationVersion, str(piece / "Data/com.apple.CoreML/weights"))
        outputs = [var.name for var in program.functions["main"].outputs]
        assert outputs == [feature.name for feature in spec.description.output]


def test_coremltools_opens_a_piece_and_changes_nothing(copied: Path):
    pieces = chunk_package(copied, weight_bytes(copied) * 2 // 3)
    assert len(pieces) == 2
    for piece in pieces:
        before = (piece / "Manifest.json").read_bytes()
        ct.utils.load_spec(str(piece))
        assert (piece / "Manifest.json").read_bytes() == before


def test_the_same_package_gives_the_same_bytes(whole: Path, tmp_path: Path):
    bytes_of = []
    for name in ("a", "b"):
        copy = Path(shutil.copytree(whole, tmp_path / name / whole.name))
        pieces = chunk_package(copy, weight_bytes(copy) * 2 // 3)
        bytes_of.append([p.read_bytes() for piece in pieces for p in sorted(piece.rglob("*")) if p.is_file()])
    assert bytes_of[0] == bytes_of[1]


def test_a_small_package_stays_whole(copied: Path):
    assert chunk_package(copied, MIB) == (copied,)
    assert copied.is_dir()


def test_a_limit_below_one_operation_s_weights_is_refused(copied: Path):
    with pytest.raises(BadInput, match=r"--chunk-mib"):
        chunk_package(copied, 1000)
    assert copied.is_dir()


def test_compressed_weights_are_unpacked_where_they_are_read(copied: Path):
    """What a constexpr operation makes is no value that crosses a cut."""
    config = ct.optimize.coreml.OptimizationConfig(ct.optimize.coreml.OpLinearQuantizerConfig(weight_threshold=64))
    model = ct.models.MLModel(str(copied), skip_model_load=True)
    smaller = ct.optimize.coreml.linear_quantize_weights(model, config)
    shutil.rmtree(copied)
    smaller.save(str(copied))
    feeds = feeds_for(copied)
    with MilEvaluator(copied) as session:
        expected = session.run(feeds)["noise_pred"]
    pieces = chunk_package(copied, weight_bytes(copied) * 3 // 4)
    assert len(pieces) == 2
    np.testing.assert_array_equal(chain_of(pieces, feeds)["noise_pred"], expected)


def test_the_manifest_lists_the_pieces(checkpoint, graphs, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """A limit in MiB is too coarse for this checkpoint: a MiB is made smaller here."""
    monkeypatch.setattr("edgestep.export.coreml.folder.MIB", 2**18)
    options = CoreMLOptions(chunk_mib=1)
    given = {"format": "coreml", "precision": "fp16", "layout": "split", "target": "iphone", "graphs": graphs}
    artifact = export(checkpoint, out=tmp_path / "made", coreml=options, **given)
    unet = read_artifact(tmp_path / "made").component("unet")
    assert unet.pieces == ("UnetChunk1.mlpackage", "UnetChunk2.mlpackage")
    assert unet.file == unet.pieces[0]
    assert unet.files == unet.pieces
    assert [spec.name for spec in unet.inputs] == ["sample", "timestep", "encoder_hidden_states"]
    assert artifact.component("text_encoder").pieces == ()
    assert any("2 pieces" in note for note in artifact.notes)
    weights = tmp_path / "made" / unet.pieces[1] / "Data/com.apple.CoreML/weights/weight.bin"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(BadInput, match=r"weight\.bin"):
        read_artifact(tmp_path / "made")


def test_a_component_is_opened_by_its_pieces():
    assert Component("unet", "a", (), ()).files == ("a",)
    assert Component("unet", "a", (), (), ("a", "b")).files == ("a", "b")
