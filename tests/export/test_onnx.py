"""ONNX exports against diffusers, against each other, and as files."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from edgestep.artifact import BadInput, read_artifact
from edgestep.export.graph.graphs import Graphs
from edgestep.export.run import export, export_key
from edgestep.export.source.checkpoint import open_checkpoint
from tests.export.conftest import Feeds, sqnr_db, worst_level


def _run(file: Path, **feeds: np.ndarray) -> np.ndarray:
    return onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"]).run(None, feeds)[0]


def _draw_split(folder: Path, feeds: Feeds, scale: float) -> tuple[np.ndarray, np.ndarray]:
    states = _run(folder / "text_encoder/model.onnx", input_ids=feeds.ids)
    x0 = _run(folder / "unet/model.onnx", sample=feeds.noise, timestep=np.array(0), encoder_hidden_states=states)
    sample = _run(folder / "vae_decoder/model.onnx", latent_sample=x0 / np.float32(scale))
    return x0, np.round(np.clip(sample / 2 + 0.5, 0, 1) * 255).astype(np.uint8).transpose(0, 2, 3, 1)


@pytest.mark.parametrize(("precision", "sqnr"), [("fp32", 100), ("fp16", 40)])
def test_split_and_fused_draw_what_diffusers_draws(make, feeds, drawn, contract, precision: str, sqnr: float):
    x0, image = _draw_split(make("onnx", precision, "split").folder, feeds, contract.latent_scale)
    fused = _run(make("onnx", precision, "fused").folder / "generator.onnx", input_ids=feeds.ids, noise=feeds.noise)
    assert sqnr_db(drawn[0], x0) >= sqnr
    assert image.std() > 1
    assert worst_level(image, fused) <= 1
    assert worst_level(drawn[1], fused) <= (0 if precision == "fp32" else 2)


@pytest.mark.parametrize("layout", ["split", "fused"])
def test_manifest_tells_the_signatures(make, layout: str):
    made = make("onnx", "fp32", layout)
    assert read_artifact(made.folder) == made.artifact
    for component in made.artifact.components:
        session = onnxruntime.InferenceSession(made.folder / component.file)
        for ports, specs in ((session.get_inputs(), component.inputs), (session.get_outputs(), component.outputs)):
            found = [(port.name, tuple(port.shape)) for port in ports]
            assert found == [(spec.name, spec.shape) for spec in specs]


@pytest.mark.parametrize(
    ("precision", "layout", "opset"), [("fp32", "split", 20), ("fp16", "fused", 20), ("fp32", "fused", 23)]
)
def test_attention_is_one_operator_in_the_fused_form(make, precision: str, layout: str, opset: int):
    file = "generator.onnx" if layout == "fused" else "unet/model.onnx"
    model = onnx.load(make("onnx", precision, layout).folder / file)
    operators = {node.op_type for node in model.graph.node}
    assert [entry.version for entry in model.opset_import if not entry.domain] == [opset]
    assert ("Attention" in operators, "Softmax" in operators) == (opset == 23, opset != 23)
    assert "BatchNormalization" in operators  # GroupNorm's weight and bias


def test_no_time_path_is_left(make):
    model = onnx.load(make("onnx", "fp32", "split").folder / "unet/model.onnx")
    assert not [tensor.name for tensor in model.graph.initializer if "time_emb" in tensor.name]
    assert not {node.op_type for node in model.graph.node} & {"Sin", "Cos", "Gemm"}


def test_folding_the_timestep_changes_nothing_but_rounding(tiny: Path):
    import torch
    from diffusers import UNet2DConditionModel

    from edgestep.export.graph.fold import fold_sd
    from edgestep.export.graph.skeleton import skeleton_from_config

    unet = UNet2DConditionModel.from_pretrained(tiny / "unet", torch_dtype=torch.float32).eval()
    generator = torch.Generator().manual_seed(0)
    z, states = torch.randn(1, 4, 8, 8, generator=generator), torch.randn(1, 16, 32, generator=generator)
    with torch.no_grad():
        before = unet(z, 999, states).sample
        other = unet(z, 500, states).sample
    checkpoint = open_checkpoint(tiny)
    config = checkpoint.configs["unet"]
    bare = skeleton_from_config("UNet2DConditionModel", config)
    folded = fold_sd(bare, checkpoint.tensors["unet"], 999)
    bare.to_empty(device="cpu").load_state_dict({n: torch.from_numpy(w.read()) for n, w in folded.weights.items()})
    with torch.no_grad():
        after = bare(z, 0, states).sample
    assert sum(p.numel() for p in unet.parameters()) - sum(p.numel() for p in bare.parameters()) == folded.removed > 0
    assert (after - before).abs().max() / before.abs().max() < 1e-5
    assert (other - before).abs().max() / before.abs().max() > 1e-3


def test_nodes_are_named_after_modules_and_no_path_leaks(make):
    file = make("onnx", "fp32", "fused").folder / "generator.onnx"
    names = [node.name for node in onnx.load(file).graph.node]
    assert len(set(names)) == len(names)
    assert {"unet.conv_in/Conv", "unet.conv_out/Conv", "vae.decoder.conv_out/Conv"} <= set(names)
    assert b"site-packages" not in file.read_bytes()


def test_fp16_halves_the_weights_and_keeps_the_formula(make):
    models = {p: onnx.load(make("onnx", p, "fused").folder / "generator.onnx") for p in ("fp32", "fp16")}
    sizes = {p: sum(len(t.raw_data) for t in m.graph.initializer) for p, m in models.items()}
    assert sizes["fp16"] / sizes["fp32"] < 0.55
    half = models["fp16"]
    weights = {t.name: t.data_type for t in half.graph.initializer}
    conv_out = next(node for node in half.graph.node if node.name == "unet.conv_out/Conv")
    assert {weights[name] for name in conv_out.input[1:]} == {onnx.TensorProto.FLOAT}
    subtraction = next(node for node in half.graph.node if node.op_type == "Sub" and "/" not in node.name)
    types = {v.name: v.type.tensor_type.elem_type for v in half.graph.value_info}
    assert types[subtraction.output[0]] == onnx.TensorProto.FLOAT
    onnx.checker.check_model(half, full_check=True)


def test_the_same_checkpoint_exports_to_the_same_bytes(make, checkpoint, contract, tmp_path: Path):
    fresh = Graphs(checkpoint, contract)
    again = export(
        checkpoint, format="onnx", precision="fp32", layout="fused", target="x86", out=tmp_path / "again", graphs=fresh
    )
    assert again == make("onnx", "fp32", "fused").artifact


def test_key_follows_everything_that_changes_the_artifact(checkpoint):
    keys = {
        export_key(checkpoint, format, precision, layout)
        for format in ("onnx", "openvino")
        for precision in ("fp32", "fp16")
        for layout in ("split", "fused")
    }
    assert len(keys) == 8
    assert export_key(checkpoint, "onnx", "fp32", "split") in keys


@pytest.mark.parametrize("layout", ["split", "fused"])
def test_the_card_s_example_runs(make, feeds, layout: str, tmp_path: Path):
    folder = make("onnx", "fp32", layout).folder
    code = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)[0]
    script = code.replace('"image.png"', repr(str(tmp_path / "image.png")))
    subprocess.run([sys.executable, "-c", script], check=True, cwd=folder)
    assert (tmp_path / "image.png").stat().st_size > 0
    assert len(code.splitlines()) <= 15


@pytest.mark.parametrize(
    ("format", "precision", "layout", "says"),
    [
        ("tflite", "fp32", "split", "tflite"),
        ("onnx", "int4", "split", "int4"),
        ("onnx", "fp32", "tiled", "tiled"),
    ],
)
def test_refuses_what_there_is_not(checkpoint, tmp_path: Path, format: str, precision: str, layout: str, says: str):
    with pytest.raises(BadInput, match=says):
        export(checkpoint, format=format, precision=precision, layout=layout, target="x86", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_nothing_is_left_when_it_fails(checkpoint, graphs, tmp_path: Path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("edgestep.export.run.write_manifest", full)
    with pytest.raises(BadInput, match="full disk"):
        export(
            checkpoint, format="onnx", precision="fp32", layout="split", target="x86", out=tmp_path / "a", graphs=graphs
        )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("prediction_type", ["v_prediction", "sample"])
def test_other_predictions_keep_their_formula(tmp_path: Path, prediction_type: str, feeds):
    """The graph's x0 against the torch UNet at t = 999 and the textbook formula, written out here."""
    import torch
    from diffusers import DDPMScheduler, UNet2DConditionModel

    from edgestep.export.onnx.onnx_from_torch import onnx_from_torch
    from edgestep.export.onnx.write import write_onnx_model
    from edgestep.export.recipe.contract import contract_from_checkpoint
    from tests.tiny import save_tiny_checkpoint

    save_tiny_checkpoint(tmp_path / "other", prediction_type=prediction_type)
    checkpoint = open_checkpoint(tmp_path / "other")
    model = onnx_from_torch(Graphs(checkpoint, contract_from_checkpoint(checkpoint)), "unet")
    write_onnx_model(model, tmp_path / "model.onnx")
    unet = UNet2DConditionModel.from_pretrained(tmp_path / "other/unet", torch_dtype=torch.float32).eval()
    a = DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear").alphas_cumprod[999]
    z, states = torch.from_numpy(feeds.noise), torch.zeros(1, 16, 32)
    with torch.no_grad():
        f = unet(z, 999, states).sample
    x0 = _run(tmp_path / "model.onnx", sample=z.numpy(), timestep=np.array(999), encoder_hidden_states=states.numpy())
    x0 = torch.from_numpy(x0)
    expected = f if prediction_type == "sample" else a.sqrt() * z - (1 - a).sqrt() * f
    assert (x0 - expected).abs().max() / expected.abs().max() < 1e-4
