"""The hand-made generator as Core ML packages, built operation by operation: Apple's layout, fused, and in pieces."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import coremltools as ct
import numpy as np
from coremltools.converters.mil.mil import Builder as mb
from coremltools.converters.mil.mil import Function, Program, types
from coremltools.proto import Model_pb2

from edgestep.artifact import Artifact, Component, OneStep, TensorSpec, files_in, write_manifest
from tests.runtimes.handmade import CHANNELS, COLOURS, SCALE, SHIFT, SIDE, TABLE, TOKENS, WIDTH, contract

K_IN, K_Z, K_E = 0.5, 0.25, -2.0
HALF = np.float16
LATENTS, PICTURE = (1, CHANNELS, SIDE, SIDE), (1, 3, SIDE, SIDE)


def formula() -> OneStep:
    """Return a contract whose three constants all matter."""
    return replace(contract(), k_in=K_IN, k_z=K_Z, k_e=K_E)


def expected(input_ids: np.ndarray, noise: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (x0, sample, image) by numpy in float64: F = 2 x_in + mean of the embeddings."""
    z = noise.astype(np.float64)
    x0 = K_Z * z - K_E * (2 * K_IN * z + TABLE[input_ids].astype(np.float64).mean())
    sample = np.tanh(np.einsum("oc,bchw->bohw", COLOURS[:, :, 0, 0], x0 / SCALE + SHIFT))
    return x0, sample, np.round(np.clip(sample / 2 + 0.5, 0, 1) * 255).astype(np.uint8).transpose(0, 2, 3, 1)


def save_program(path: Path, shapes: dict[str, tuple[int, ...]], build: Any, names: list[str], **more: Any) -> None:
    """Write float32 inputs -> build(**inputs), one variable or several, under these names, as a package; no pass."""
    fed = {name: mb.placeholder(shape=shape, dtype=types.fp32) for name, shape in shapes.items()}
    with Function(fed, opset_version=ct.target.iOS17) as function:
        made = build(**function.inputs)
        made = made if isinstance(made, tuple) else (made,)
        function.set_outputs([mb.identity(x=one, name=name) for one, name in zip(made, names, strict=True)])
    program = Program()
    program.add_function("main", function)
    model = ct.convert(
        program,
        convert_to="mlprogram",
        minimum_deployment_target=ct.target.iOS17,
        compute_precision=ct.precision.FLOAT32,
        pass_pipeline=ct.PassPipeline.EMPTY,
        skip_model_load=True,
        **more,
    )
    model.save(str(path))


def text(input_ids: Any) -> tuple[Any, Any]:
    states = mb.gather(x=TABLE, indices=mb.cast(x=input_ids, dtype="int32"), axis=0)
    return states, mb.reduce_mean(x=states, axes=[1])


def unet(sample: Any, timestep: Any, encoder_hidden_states: Any) -> Any:
    unread = mb.mul(x=mb.reduce_sum(x=timestep, axes=[0], keep_dims=False), y=np.float32(0))
    mean = mb.reduce_mean(x=encoder_hidden_states, axes=[0, 1, 2, 3], keep_dims=False)
    return mb.add(x=mb.add(x=mb.mul(x=sample, y=np.float32(2)), y=mean), y=unread)


def decoder(z: Any) -> Any:
    return mb.tanh(x=mb.conv(x=z, weight=COLOURS))


EMBEDS = (1, WIDTH, 1, TOKENS)
GRAPHS = {
    "text_encoder": ({"input_ids": (1, TOKENS)}, text, ["last_hidden_state", "pooled_outputs"]),
    "unet": (
        {"sample": LATENTS, "timestep": (1,), "encoder_hidden_states": EMBEDS},
        unet,
        ["noise_pred"],
    ),
    "vae_decoder": ({"z": LATENTS}, decoder, ["image"]),
}
SHAPES = {
    "last_hidden_state": (1, TOKENS, WIDTH),
    "pooled_outputs": (1, 1, WIDTH),
    "noise_pred": LATENTS,
    "image": PICTURE,
}


def save_apple(folder: Path) -> Artifact:
    """Write a split artifact in Apple's layout."""
    components = []
    for name, (inputs, build, outputs) in GRAPHS.items():
        save_program(folder / f"{name}.mlpackage", inputs, build, outputs)
        given = tuple(TensorSpec(n, "float32", shape) for n, shape in inputs.items())
        made = tuple(TensorSpec(n, "float32", SHAPES[n]) for n in outputs)
        components.append(Component(name, f"{name}.mlpackage", given, made))
    artifact = Artifact(
        name="handmade-coreml",
        target="mac",
        format="coreml",
        scheme="fp32",
        layout="split",
        contract=formula(),
        components=tuple(components),
        files=files_in(folder),
        checkpoint_sha256="0" * 64,
        key="1" * 64,
    )
    write_manifest(folder, artifact)
    return artifact


def save_overflowing(path: Path) -> None:
    """Write x -> 300 x, rounded to float16, twice: beyond 65504 from x = 1 on."""

    def build(x: Any) -> Any:
        half = mb.cast(x=x, dtype="fp16", name="halved")
        once = mb.mul(x=half, y=HALF(300), name="once")
        twice = mb.mul(x=once, y=HALF(300), name="twice")
        return mb.cast(x=twice, dtype="fp32", name="wide")

    save_program(path, {"x": (1, 3)}, build, ["y"])


def save_picture(path: Path) -> None:
    """Write picture RGB 4 x 5 -> the same with red as it is and no green or blue."""

    def build(picture: Any) -> Any:
        return mb.mul(x=picture, y=np.array([1, 0, 0], np.float32).reshape(1, 3, 1, 1))

    image = ct.ImageType(name="picture", shape=(1, 3, 4, 5), color_layout=ct.colorlayout.RGB)
    save_program(path, {"picture": (1, 3, 4, 5)}, build, ["red"], inputs=[image])
    file = path / "Data/com.apple.CoreML/model.mlmodel"
    model = Model_pb2.Model.FromString(file.read_bytes())
    model.description.output[0].type.CopyFrom(model.description.input[0].type)  # what a pass would have done
    file.write_bytes(model.SerializeToString())
