"""The gates in a card: put in, replaced, taken out, and the manifest's hash with them."""

from dataclasses import replace

from edgestep.artifact import files_in, read_artifact, write_manifest
from edgestep.card_gates import NOT_CHECKED, card_with_gates, gates_section, record_gates
from tests.runtimes.handmade import save_handmade

CARD = "# a\n\nWhat it is.\n\n{}\n## Graphs\n\n- unet\n"


def test_only_the_section_is_replaced():
    before, after = (CARD.format(gates_section(gates)) for gates in ("", "image PSNR 61.2 dB"))
    assert NOT_CHECKED in before
    assert card_with_gates(before, "image PSNR 61.2 dB\n") == after
    assert card_with_gates(after) == before
    assert card_with_gates("# no section\n", "61.2 dB") == "# no section\n"


def test_the_last_section_and_what_looks_like_a_pattern():
    last = "# a\n\n" + gates_section("one")
    assert "\\1 \\g<0>" in card_with_gates(last, "\\1 \\g<0>")
    assert "one" not in card_with_gates(last, "other")


def test_recording_keeps_the_artifact_whole(tmp_path):
    folder = tmp_path / "artifact"
    artifact = save_handmade(folder, "onnx", "fused")
    (folder / "README.md").write_text(CARD.format(gates_section()))
    write_manifest(folder, replace(artifact, files=files_in(folder)))
    recorded = record_gates(folder, "image PSNR 61.2 dB")
    assert read_artifact(folder) == recorded
    assert "61.2 dB" in (folder / "README.md").read_text()
    assert not list(folder.glob(".*partial"))
    stamps = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert record_gates(folder, "image PSNR 61.2 dB") == recorded
    assert stamps == {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
