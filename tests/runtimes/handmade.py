"""Artifacts from hand-made ONNX graphs whose drawing is a closed form: no exporter stands between."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgestep.artifact import Artifact, Component, OneStep, TensorSpec, files_in, sha256_of_file, write_manifest

TOKENS, WIDTH, CHANNELS, SIDE = 6, 4, 2, 5
_random = np.random.default_rng(3)
TABLE = _random.standard_normal((40, WIDTH)).astype(np.float32)
COLOURS = _random.standard_normal((3, CHANNELS, 1, 1)).astype(np.float32)
SCALE, SHIFT = 0.25, -0.125

IDS = TensorSpec("input_ids", "int64", (1, TOKENS))
NOISE = TensorSpec("noise", "float32", (1, CHANNELS, SIDE, SIDE))
EMBEDS = (1, TOKENS, WIDTH)
PICTURE = (1, 3, SIDE, SIDE)

TEXT = [("Gather", ["table", "input_ids"], "last_hidden_state", {})]
UNET = [
    ("ReduceMean", ["encoder_hidden_states"], "mean", {"keepdims": 0}),
    ("Mul", ["sample", "two"], "twice", {}),
    ("Add", ["twice", "mean"], "out_sample", {}),
]
DECODER = [("Conv", ["latent_sample", "colours"], "mixed", {}), ("Tanh", ["mixed"], "sample", {})]
BETWEEN = [("Div", ["out_sample", "scale"], "scaled", {}), ("Add", ["scaled", "shift"], "latent_sample", {})]
ROUNDING = [
    ("Mul", ["picture", "half"], "halved", {}),
    ("Add", ["halved", "half"], "unit", {}),
    ("Mul", ["unit", "white"], "wide", {}),
    ("Round", ["wide"], "whole", {}),
    ("Transpose", ["whole"], "last", {"perm": [0, 2, 3, 1]}),
    ("Cast", ["last"], "image", {"to": TensorProto.UINT8}),
]
CONSTANTS = {
    "table": TABLE,
    "colours": COLOURS,
    "two": np.float32(2),
    "scale": np.float32(SCALE),
    "shift": np.float32(SHIFT),
    "half": np.float32(0.5),
    "white": np.float32(255),
}


def expected_drawing(input_ids: np.ndarray, noise: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return (prompt_embeds, x0, sample, image) by numpy in float64."""
    embeds = TABLE[input_ids].astype(np.float64)
    x0 = 2 * noise.astype(np.float64) + embeds.mean()
    sample = np.tanh(np.einsum("oc,bchw->bohw", COLOURS[:, :, 0, 0], x0 / SCALE + SHIFT))
    image = np.round(np.clip(sample / 2 + 0.5, 0, 1) * 255).astype(np.uint8).transpose(0, 2, 3, 1)
    return embeds, x0, sample, image


def save_graph(nodes: list, inputs: list[TensorSpec], outputs: list[TensorSpec], path: Path) -> None:
    """Write one ONNX file of `nodes`, each (op, inputs, output, attributes)."""
    used = {name for _, names, _, _ in nodes for name in names}
    graph = helper.make_graph(
        [helper.make_node(op, names, [output], **attributes) for op, names, output, attributes in nodes],
        "handmade",
        [_value(spec) for spec in inputs],
        [_value(spec) for spec in outputs],
        [numpy_helper.from_array(np.asarray(v), name) for name, v in CONSTANTS.items() if name in used],
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    if path.suffix == ".xml":
        import openvino

        aside = path.with_suffix(".onnx")
        onnx.save(model, aside)
        openvino.save_model(openvino.convert_model(aside), path, compress_to_fp16=False)
        aside.unlink()
    else:
        onnx.save(model, path)


def save_handmade(folder: Path, form: str, layout: str, tokenizer: Path | None = None) -> Artifact:
    """Write an artifact of format onnx or openvino, split or fused; return its manifest."""
    name = "model.onnx" if form == "onnx" else "openvino_model.xml"
    components = _fused(folder, name) if layout == "fused" else _split(folder, name)
    artifact = Artifact(
        name=f"handmade-{form}",
        target="x86" if form == "onnx" else "intel",
        format=form,
        scheme="fp32",
        layout=layout,
        contract=contract(sha256_of_file(tokenizer) if tokenizer else ""),
        components=components,
        files=files_in(folder),
        checkpoint_sha256="0" * 64,
        key="1" * 64,
    )
    write_manifest(folder, artifact)
    return artifact


def contract(tokenizer_sha256: str = "", prompt_tokens: int = TOKENS) -> OneStep:
    """Return the contract of the hand-made generator."""
    return OneStep(
        family="handmade",
        timestep=999.0,
        prediction_type="v_prediction",
        k_in=1.0,
        k_z=0.0,
        k_e=-1.0,
        latent_scale=SCALE,
        latent_shift=SHIFT,
        latent_shape=(CHANNELS, SIDE, SIDE),
        image_size=(SIDE, SIDE),
        prompt_tokens=prompt_tokens,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=2,
        tokenizer_sha256=tokenizer_sha256,
    )


def _split(folder: Path, name: str) -> tuple[Component, ...]:
    embeds = TensorSpec("encoder_hidden_states", "float32", EMBEDS)
    sample = TensorSpec("sample", "float32", NOISE.shape)
    forms = {
        "text_encoder": (TEXT, [IDS], TensorSpec("last_hidden_state", "float32", EMBEDS)),
        "unet": (UNET, [sample, embeds], TensorSpec("out_sample", "float32", NOISE.shape)),
        "vae_decoder": (
            DECODER,
            [TensorSpec("latent_sample", "float32", NOISE.shape)],
            TensorSpec("sample", "float32", PICTURE),
        ),
    }
    components = []
    for part, (nodes, inputs, output) in forms.items():
        save_graph(nodes, inputs, [output], folder / part / name)
        components.append(Component(part, f"{part}/{name}", tuple(inputs), (output,)))
    return tuple(components)


def _fused(folder: Path, name: str) -> tuple[Component, ...]:
    name = "generator" + Path(name).suffix
    chain = [
        *_renamed(TEXT, {"last_hidden_state": "encoder_hidden_states"}),
        *_renamed(UNET, {"sample": "noise"}),
        *BETWEEN,
        *_renamed(DECODER, {"sample": "picture"}),
        *ROUNDING,
    ]
    image = TensorSpec("image", "uint8", (1, SIDE, SIDE, 3))
    save_graph(chain, [IDS, NOISE], [image], folder / name)
    return (Component("generator", name, (IDS, NOISE), (image,)),)


def _renamed(nodes: list, names: dict[str, str]) -> list:
    return [(op, [names.get(i, i) for i in inputs], names.get(out, out), rest) for op, inputs, out, rest in nodes]


def _value(spec: TensorSpec) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(spec.name, helper.np_dtype_to_tensor_dtype(np.dtype(spec.dtype)), spec.shape)


def save_outside_weights(folder: Path, location: str) -> Path:
    """Write a graph whose weights are said to lie at `location`, where there is a file: beside `folder`."""
    folder.mkdir(parents=True)
    (folder.parent / "weights.bin").write_bytes(np.ones(400, np.float32).tobytes())
    weight = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[400], data_location=TensorProto.EXTERNAL)
    for key, value in {"location": location, "offset": "0", "length": "1600"}.items():
        weight.external_data.add(key=key, value=value)
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [400]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Add", ["x", "w"], ["y"])], "g", ports[:1], ports[1:], [weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    return folder / "model.onnx"
