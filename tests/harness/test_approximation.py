"""A tiny decoder in place of the VAE: x0 is gated, pictures are reported, and nothing ever passes."""

import json
import shutil
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from edgestep import cli
from edgestep.artifact import MANIFEST, BadInput, read_artifact
from edgestep.export.graph.graphs import Graphs
from edgestep.export.recipe.contract import contract_from_checkpoint
from edgestep.export.run import export
from edgestep.export.source.checkpoint import open_source, sha256_with_vae
from edgestep.harness.parity import check as parity
from edgestep.harness.parity import drawn_apart
from edgestep.harness.parity.check import check_parity
from edgestep.harness.parity.judge import PICTURE_GATES
from edgestep.harness.reference.bundle import read_reference
from edgestep.harness.reference.record import record_reference
from edgestep.harness.reporting.lines import text_from_parity
from tests.families import FAMILIES
from tests.harness.conftest import PROMPTS
from tests.harness.drawn_here import drawn_here

CASES = 3


@dataclass(frozen=True)
class Tiny:
    """sd-turbo with TAESD: its artifacts, and bundles recorded with the VAE and with the tiny decoder."""

    split: Path
    fused: Path
    vae_bundle: Path
    tiny_bundle: Path


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Tiny:
    folder = tmp_path_factory.mktemp("taesd")
    source = FAMILIES["sd-turbo-taesd"].make(folder / "source")
    checkpoint = open_source(source)
    graphs = Graphs(checkpoint, contract_from_checkpoint(checkpoint))
    made = Tiny(*(folder / name for name in ("split", "fused", "vae", "tiny")))
    for layout, out in (("split", made.split), ("fused", made.fused)):
        export(checkpoint, format="onnx", precision="fp32", layout=layout, target="x86", out=out, graphs=graphs)
    for over, out in ((replace(source, decoder=None), made.vae_bundle), (source, made.tiny_bundle)):
        record_reference(over, device="cpu", cases=CASES, out=out, prompts=PROMPTS)
    return made


def test_the_manifest_names_both_hashes(made):
    artifact = read_artifact(made.split)
    assert artifact.contract.decoder == "tiny"
    assert artifact.with_vae_sha256 == read_reference(made.vae_bundle).index.checkpoint_sha256
    assert artifact.checkpoint_sha256 == read_reference(made.tiny_bundle).index.checkpoint_sha256
    assert artifact.with_vae_sha256 != artifact.checkpoint_sha256


def test_without_a_tiny_decoder_there_is_one_hash(tiny):
    from edgestep.export.source.checkpoint import open_checkpoint

    assert sha256_with_vae(open_checkpoint(tiny)) == ""


def test_against_the_vae_it_is_an_approximation_with_figures(made):
    result = check_parity(made.split, read_reference(made.vae_bundle), threads=1)
    assert (result.verdict, result.approximation) == ("unchecked", True)
    assert result.reason.startswith("approximation: a tiny decoder")
    assert "against the VAE's" in result.reason and "dB PSNR" in result.reason and "SSIM" in result.reason
    gates = {gate.measure: gate for gate in result.gates}
    assert gates["x0_sqnr_db"].limit == ">= 80" and gates["x0_sqnr_db"].passed
    assert gates["x0_sqnr_db"].worst > 80 and gates["image_psnr_db"].worst < 60
    assert {gates[measure].limit for measure in PICTURE_GATES} == {"report"}
    assert "not checked: approximation" in text_from_parity(result)


def test_against_the_same_decoder_pictures_are_gated_and_it_still_does_not_pass(made):
    result = check_parity(made.split, read_reference(made.tiny_bundle), threads=1)
    assert (result.verdict, result.approximation) == ("unchecked", True)
    assert "with the same tiny decoder" in result.reason
    gates = {gate.measure: gate for gate in result.gates}
    assert gates["image_psnr_db"].limit == ">= 60" and gates["image_psnr_db"].passed


def test_fused_says_that_nothing_of_x0_was_gated(made):
    result = check_parity(made.fused, read_reference(made.vae_bundle), threads=1)
    assert result.verdict == "unchecked"
    assert result.reason.startswith("approximation") and "no gate on x0" in result.reason


def _mutant(monkeypatch, **change) -> None:
    """Let parity judge drawings that have some tensors changed."""

    def changed(drawer, drawing, case):
        return replace(drawing, **{name: how(getattr(drawing, name)) for name, how in change.items()})

    monkeypatch.setattr(parity, "draw_apart", drawn_here(changed))


@pytest.mark.parametrize("bundle", ["vae_bundle", "tiny_bundle"])
def test_a_wrong_x0_fails(monkeypatch, made, bundle: str):
    _mutant(monkeypatch, x0=lambda x0: x0 * np.float32(1.01))
    result = check_parity(made.split, read_reference(getattr(made, bundle)), threads=1)
    assert (result.verdict, result.approximation) == ("failed", True)
    assert "x0_sqnr_db" in result.reason


def test_wrong_pictures_fail_where_the_decoder_is_the_same(monkeypatch, made):
    _mutant(monkeypatch, image=lambda image: np.ascontiguousarray(image[..., ::-1]))
    assert check_parity(made.split, read_reference(made.tiny_bundle), threads=1).verdict == "failed"
    assert check_parity(made.split, read_reference(made.vae_bundle), threads=1).verdict == "unchecked"


def test_no_picture_at_all_fails(monkeypatch, made):
    _mutant(monkeypatch, image=np.zeros_like)
    result = check_parity(made.split, read_reference(made.vae_bundle), threads=1)
    assert result.verdict == "failed" and "not_constant" in result.reason


def test_a_crash_is_a_failure(monkeypatch, made):
    monkeypatch.setattr(drawn_apart, "RUNNER", "tests.harness.fake_drawers:FailsInLoad")
    result = check_parity(made.split, read_reference(made.vae_bundle), threads=1)
    assert (result.verdict, result.approximation) == ("failed", True)


def test_another_checkpoint_s_reference_is_refused(made, bundle_folder):
    with pytest.raises(BadInput, match="made from checkpoint"):
        check_parity(made.split, read_reference(bundle_folder))


def test_a_vae_artifact_cannot_borrow_the_way_out(made, tmp_path):
    """A manifest that says `vae` is held to the gates and the hash of its own checkpoint."""
    shutil.copytree(made.split, tmp_path / "a")
    manifest = json.loads((tmp_path / "a" / MANIFEST).read_text())
    manifest["contract"]["decoder"] = "vae"
    (tmp_path / "a" / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(BadInput, match="made from checkpoint"):
        check_parity(tmp_path / "a", read_reference(made.vae_bundle))


def test_a_manifest_without_the_second_hash_still_reads(made, tmp_path):
    shutil.copytree(made.split, tmp_path / "old")
    manifest = json.loads((tmp_path / "old" / MANIFEST).read_text())
    del manifest["with_vae_sha256"]
    (tmp_path / "old" / MANIFEST).write_text(json.dumps(manifest))
    assert read_artifact(tmp_path / "old").with_vae_sha256 == ""
    with pytest.raises(BadInput, match="made from checkpoint"):
        check_parity(tmp_path / "old", read_reference(made.vae_bundle))


@pytest.mark.parametrize(("scale", "status"), [(1.0, 0), (1.01, 1)])
def test_the_command_ends_well_unless_a_gate_fails(monkeypatch, capsys, made, scale: float, status: int):
    _mutant(monkeypatch, x0=lambda x0: x0 * np.float32(scale))
    monkeypatch.setattr(sys, "argv", ["edgestep", "parity", str(made.split), "--reference", str(made.vae_bundle)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == status
    first = capsys.readouterr().out.splitlines()[0]
    assert first.startswith("not checked: approximation:" if status == 0 else "failed")


def test_the_report_calls_it_an_approximation(made):
    from edgestep.harness.machine import machine_here
    from edgestep.harness.reporting.report import notes_for
    from edgestep.harness.reporting.summary import rows_from_results
    from edgestep.harness.results import ArtifactResult, ParityResult, Results

    result = check_parity(made.split, read_reference(made.vae_bundle), threads=1)
    plain = ParityResult("unchecked", reason="not run here")
    for parities, terms in (((result,), {"Approximation"}), ((plain, result), {"Approximation", "Not checked"})):
        artifacts = tuple(ArtifactResult("a", "x86", "fp32", "split", "onnx", 1, parity) for parity in parities)
        results = Results(machine_here(), {}, artifacts=artifacts)
        found = {term for term, _ in notes_for(results, rows_from_results(results))}
        assert found & {"Approximation", "Not checked"} == terms
