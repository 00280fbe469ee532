"""`edgestep run` as a user meets it: any model file on arrays, every change of type told, bad input one line and 2."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from jsonschema import Draft202012Validator

from edgestep.harness.ci.schema import schema_named
from tests.runtimes.handmade import DECODER, NOISE, PICTURE, TensorSpec, save_graph
from tests.test_cli import edgestep, refused

pytest.importorskip("coremltools")

from tests.runtimes.handmade_coreml import GRAPHS, save_overflowing, save_program


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The hand-made decoder as a package, ONNX and OpenVINO; a package that overflows; inputs for each."""
    folder = tmp_path_factory.mktemp("run")
    shapes, build, names = GRAPHS["vae_decoder"]
    save_program(folder / "decoder.mlpackage", shapes, build, names)
    latents, sample = TensorSpec("latent_sample", "float32", NOISE.shape), TensorSpec("sample", "float32", PICTURE)
    for name in ("decoder.xml", "decoder.onnx"):  # the first is made of the second, and removes it
        save_graph(DECODER, [latents], [sample], folder / name)
    save_overflowing(folder / "over.mlpackage")
    z = np.random.default_rng(0).standard_normal(NOISE.shape)
    np.savez(folder / "z.npz", z=z)
    np.savez(folder / "latents.npz", latent_sample=z.astype(np.float32))
    np.savez(folder / "x.npz", x=np.array([[0.5, 1, -2]], np.float32))
    return folder


def test_the_three_formats_give_the_same(made: Path, tmp_path: Path):
    found = []
    for name, inputs in (("decoder.mlpackage", "z"), ("decoder.onnx", "latents"), ("decoder.xml", "latents")):
        done = edgestep("run", made / name, "--inputs", made / f"{inputs}.npz", "--out", tmp_path / "out.npz")
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        assert ("converted z: float64 -> float32" in done.stdout) == (inputs == "z")
        with np.load(tmp_path / "out.npz") as out:
            (array,) = (out[key] for key in out.files)
        assert f"float32 {list(PICTURE)}, {array.min():.6g} to {array.max():.6g}" in done.stdout
        found.append(array)
    np.testing.assert_allclose(found[0], found[1], atol=1e-5)
    np.testing.assert_allclose(found[1], found[2], atol=1e-5)


@pytest.mark.parametrize("numerics", ["fp16", "fp32"])
def test_an_overflow_is_told_where_it_happens(made: Path, tmp_path: Path, numerics: str):
    out, report = tmp_path / "out.npz", tmp_path / "run.json"
    words = ("--inputs", made / "x.npz", "--out", out, "--numerics", numerics, "--json", report)
    done = edgestep("run", made / "over.mlpackage", *words)
    assert done.returncode == 0, done.stderr
    written = json.loads(report.read_text())
    Draft202012Validator(schema_named("run")).validate(written)
    assert (written["runtime"], written["evidence"], written["numerics"]) == ("mil-evaluator", "evaluated", numerics)
    (figures,) = written["outputs"]
    if numerics == "fp16":
        assert "float16 overflow first at mul twice (2 values)" in done.stdout
        assert written["overflow"] == {"op": "mul", "location": "twice", "count": 2}
        assert (figures["infinite"], figures["greatest"]) == (2, 44992)
    else:
        assert "float16 overflow" not in done.stdout and written["overflow"] is None
        assert (figures["infinite"], figures["least"], figures["greatest"]) == (0, -180000, 90000)
    assert "evaluated" in done.stdout


def test_a_function_of_several_is_chosen_by_name(made: Path, tmp_path: Path):
    from coremltools.models.utils import MultiFunctionDescriptor, save_multifunction

    both = MultiFunctionDescriptor()
    both.add_function(str(made / "decoder.mlpackage"), "main", "decode")
    both.add_function(str(made / "over.mlpackage"), "main", "grow")
    both.default_function_name = "decode"
    save_multifunction(both, str(tmp_path / "both.mlpackage"))
    shared = ("run", tmp_path / "both.mlpackage", "--out", tmp_path / "out.npz", "--inputs")
    done = edgestep(*shared, made / "x.npz", "--function", "grow")
    assert done.returncode == 0 and done.stdout.startswith("y float32 [1, 3]"), done.stderr
    assert edgestep(*shared, made / "z.npz").returncode == 0  # the default one
    refused(edgestep(*shared, made / "z.npz", "--function", "shrink"), "'shrink'", "decode, grow")


BAD = {
    "another input": (("decoder.mlpackage", "x.npz"), "expected z float32 [1, 2, 5, 5]"),
    "no inputs": (("decoder.mlpackage", "gone.npz"), "gone.npz"),
    "no model": (("gone.mlpackage", "z.npz"), "gone.mlpackage"),
    "no model file": (("", "z.npz"), ".onnx or .xml or .mlpackage"),
    "compiled": (("decoder.mlmodelc", "z.npz"), "compiled"),
    "old": (("decoder.mlmodel", "z.npz"), "old kind"),
    "numerics elsewhere": (("decoder.onnx", "latents.npz", "--numerics", "fp32"), "--numerics"),
    "function elsewhere": (("decoder.xml", "latents.npz", "--function", "main"), "--function"),
    "unknown numerics": (("decoder.mlpackage", "z.npz", "--numerics", "int8"), "fp32 or fp16"),
    "unknown runtime": (("decoder.mlpackage", "z.npz", "--runtime", "tpu"), "mil-evaluator"),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_input_is_one_line_and_leaves_nothing(made: Path, tmp_path: Path, what: str):
    (file, inputs, *more), word = BAD[what]
    done = edgestep("run", made / file, "--inputs", made / inputs, "--out", tmp_path / "out.npz", *more)
    refused(done, "got", "expected", word)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "darwin", reason="Core ML is here")
def test_core_ml_itself_is_on_a_mac(made: Path, tmp_path: Path):
    words = ("--inputs", made / "z.npz", "--out", tmp_path / "out.npz", "--runtime", "coreml")
    refused(edgestep("run", made / "decoder.mlpackage", *words), "macOS", "mil-evaluator")


def test_out_must_be_a_npz(made: Path, tmp_path: Path):
    words = ("--inputs", made / "z.npz", "--out", tmp_path / "out.npy")
    refused(edgestep("run", made / "decoder.mlpackage", *words), ".npz")
