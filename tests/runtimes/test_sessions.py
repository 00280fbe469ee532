"""The sessions: names, types and shapes as the file says, foreign errors as one line."""

import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from edgestep.artifact import BadInput, TensorSpec
from edgestep.runtimes.onnxruntime_bound import BoundRun
from edgestep.runtimes.registry import open_session, runtime_for_file
from tests.runtimes.handmade import CHANNELS, SIDE, UNET, save_graph, save_outside_weights

SUFFIX = {"onnxruntime": ".onnx", "onnxruntime-cuda": ".onnx", "openvino": ".xml"}
SAMPLE = TensorSpec("sample", "float32", (1, CHANNELS, SIDE, SIDE))
EMBEDS = TensorSpec("encoder_hidden_states", "float32", (1, 6, 4))
OUT = TensorSpec("out_sample", "float32", (1, CHANNELS, SIDE, SIDE))


@pytest.fixture(params=[pytest.param(name, marks=pytest.mark.cuda if "cuda" in name else ()) for name in SUFFIX])
def runtime(request) -> str:
    if "cuda" in request.param and "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        pytest.skip("no onnxruntime-gpu here")
    return request.param


@pytest.fixture
def unet(runtime: str, tmp_path: Path) -> Path:
    path = tmp_path / f"unet{SUFFIX[runtime]}"
    save_graph(UNET, [SAMPLE, EMBEDS], [OUT], path)
    return path


def feeds() -> dict[str, np.ndarray]:
    return {
        "sample": np.ones(SAMPLE.shape, np.float32),
        "encoder_hidden_states": np.full(EMBEDS.shape, 3, np.float32),
    }


def test_names_types_and_shapes(runtime, unet):
    with open_session(runtime, unet, threads=1) as session:
        assert (session.inputs, session.outputs) == ((SAMPLE, EMBEDS), (OUT,))
        assert set(session.run(feeds())) == {"out_sample"}
        np.testing.assert_allclose(session.run(feeds())["out_sample"], 5)


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"sample": np.ones(SAMPLE.shape, np.float32)},
        {**feeds(), "timestep": np.array(999.0)},
        {**feeds(), "sample": np.ones(SAMPLE.shape, np.float64)},
        {**feeds(), "sample": np.ones((1, CHANNELS, SIDE, SIDE + 1), np.float32)},
    ],
    ids=["nothing", "one missing", "one too many", "dtype", "shape"],
)
def test_refuses_feeds_that_do_not_fit(runtime, unet, wrong):
    with open_session(runtime, unet) as session, pytest.raises(BadInput, match=r"got .*; expected .*encoder_hidden"):
        session.run(wrong)


@pytest.mark.parametrize("damage", ["missing", "empty", "garbage", "truncated", "no weights"])
def test_refuses_a_damaged_file_in_one_line(runtime, unet, damage):
    content = unet.read_bytes()
    if damage == "missing":
        unet.unlink()
    elif damage == "no weights" and runtime == "openvino":
        unet.with_suffix(".bin").unlink()
    else:
        unet.write_bytes({"empty": b"", "garbage": b"\xff" * 64, "truncated": content[:-9]}.get(damage, content[:40]))
    with pytest.raises(BadInput) as caught:
        open_session(runtime, unet)
    message = str(caught.value)
    assert str(unet) in message
    assert "\n" not in message
    assert "export" in message


def test_refuses_options_that_do_not_exist(unet, runtime):
    with pytest.raises(BadInput, match="expected one of onnxruntime, onnxruntime-cuda, openvino"):
        open_session("tensorrt", unet)
    with pytest.raises(BadInput, match="0 threads"):
        open_session(runtime, unet, threads=0)


def test_bound_runs_compute_what_runs_compute(tmp_path):
    path, shape = tmp_path / "unet.onnx", (-1, *SAMPLE.shape[1:])
    save_graph(
        UNET,
        [TensorSpec(spec.name, spec.dtype, (-1, *spec.shape[1:])) for spec in (SAMPLE, EMBEDS)],
        [TensorSpec(OUT.name, OUT.dtype, shape)],
        path,
    )
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    bound, random = BoundRun(session, "cpu", ["out_sample"]), np.random.default_rng(0)
    kept = []
    for batch in (1, 1, 2, 1):  # a buffer filled again, one made anew for another size
        given = {
            spec.name: random.standard_normal((batch, *spec.shape[1:]), dtype=np.float32) for spec in (SAMPLE, EMBEDS)
        }
        out = bound.run(given)["out_sample"]
        np.testing.assert_array_equal(out, session.run(None, given)[0])
        kept.append((out, out.copy()))
    for out, copy in kept:  # a later run does not write into what an earlier one returned
        np.testing.assert_array_equal(out, copy)


def test_never_falls_back_from_cuda_silently(tmp_path):
    path = tmp_path / "unet.onnx"
    save_graph(UNET, [SAMPLE, EMBEDS], [OUT], path)
    with pytest.raises(BadInput, match="expected one of cpu, cuda"):
        open_session("onnxruntime", path, device="gpu")
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("onnxruntime-gpu is installed")
    with pytest.raises(BadInput, match="onnxruntime-gpu"):
        open_session("onnxruntime", path, device="cuda")


def test_float_layers_stay_float32_on_openvino(tmp_path):
    path = tmp_path / "unet.xml"
    save_graph(UNET, [SAMPLE, EMBEDS], [OUT], path)
    exact = np.float32(1 + 2**-20)  # bfloat16 and float16 both round this to 1
    with open_session("openvino", path) as session:
        out = session.run(
            {"sample": np.full(SAMPLE.shape, exact), "encoder_hidden_states": np.zeros(EMBEDS.shape, "f4")}
        )
    np.testing.assert_array_equal(out["out_sample"], np.full(OUT.shape, 2 * exact))


@pytest.mark.parametrize(
    ("name", "runtime"),
    [
        ("unet/model.onnx", "onnxruntime"),
        ("generator.xml", "openvino"),
        ("Unet.mlpackage", "coreml" if sys.platform == "darwin" else "mil-evaluator"),
    ],
)
def test_a_file_tells_its_runtime(name, runtime):
    assert runtime_for_file(Path(name)) == runtime


def test_a_file_of_no_runtime_is_refused():
    with pytest.raises(BadInput, match=r"ends in \.onnx or \.xml or \.mlpackage"):
        runtime_for_file(Path("model.tflite"))


@pytest.mark.parametrize("location", ["../weights.bin", "/weights.bin"])
def test_weights_outside_the_folder_are_not_read(tmp_path, location):
    file = save_outside_weights(tmp_path / "artifact", location)
    with pytest.raises(BadInput, match="cannot load"):
        open_session("onnxruntime", file)
