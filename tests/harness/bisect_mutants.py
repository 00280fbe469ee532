"""One damaged layer of the emoji generator, in ONNX and in OpenVINO alike, and the culprit that must be named."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.harness.mutants import onnx_graph, openvino_ir
from tests.harness.mutants.mutant import replace_bytes

TEXT = "text_encoder.text_model"
BLOCK = "unet.up_blocks.1.attentions.1.transformer_blocks.0"
Change = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Damage:
    """`module` and `op` are what must be named, with `exact` the op as the one culprit, else among the piece's ops."""

    module: str
    op: str
    onnx: Callable[[Path], None]
    openvino: Callable[[Path], None]
    exact: bool = True


def constant(module: str, op: str, change: Change, *, inside: str = "", exact: bool = True, port: int = 1) -> Damage:
    """Damage the constant that an operation reads, of that operation alone; `inside` names OpenVINO's part of it."""
    node, graph = f"{module}/{op}", module.split(".", maxsplit=1)[0]

    def in_onnx(folder: Path) -> None:
        with onnx_graph.edited(folder, graph) as model:
            model.set_weight(node, port, change(model.weight(node, port)))

    def in_openvino(folder: Path) -> None:
        rewire(folder, graph, node + inside, port, change)

    return Damage(module, op.partition("_")[0], in_onnx, in_openvino, exact)


def rewire(folder: Path, graph: str, node: str, port: int, change: Change) -> None:
    """Give an OpenVINO operation a changed constant of its own."""
    from openvino import opset13

    with loaded(folder, graph) as model:
        op = next(op for op in model.get_ops() if op.get_friendly_name() == node)
        old = op.input(port).get_source_output().get_node()
        new = opset13.constant(np.ascontiguousarray(change(np.array(old.data))))
        new.set_friendly_name(f"{node}/mutant")
        op.input(port).replace_source_output(new.output(0))


class loaded:
    """The openvino.Model of a graph; written back in place of the hard links when the block ends."""

    def __init__(self, folder: Path, graph: str) -> None:
        import openvino

        self.path = folder / openvino_ir.COMPONENTS[graph] / "openvino_model.xml"
        self.model = openvino.Core().read_model(self.path)

    def __enter__(self):
        return self.model

    def __exit__(self, *_: object) -> None:
        import openvino

        aside = self.path.with_name("mutant.xml")
        openvino.save_model(self.model, aside, compress_to_fp16=False)
        self.model = None
        for suffix in (".xml", ".bin"):
            replace_bytes(self.path.with_suffix(suffix), aside.with_suffix(suffix).read_bytes())
            aside.with_suffix(suffix).unlink()


def swapped_inputs(module: str, op: str) -> Damage:
    def in_onnx(folder: Path) -> None:
        with onnx_graph.edited(folder, "unet") as graph:
            node = graph.node(f"{module}/{op}")
            node.input[0], node.input[1] = node.input[1], node.input[0]

    def in_openvino(folder: Path) -> None:
        with loaded(folder, "unet") as model:
            node = next(node for node in model.get_ops() if node.get_friendly_name() == f"{module}/{op}")
            first, second = (node.input(i).get_source_output() for i in (0, 1))
            node.input(0).replace_source_output(second)
            node.input(1).replace_source_output(first)

    return Damage(module, op, in_onnx, in_openvino)


def residual_dropped(module: str, branch: str) -> Damage:
    """The branch is added to itself."""

    def in_onnx(folder: Path) -> None:
        with onnx_graph.edited(folder, "unet") as graph:
            node = graph.node(f"{module}/Add")
            node.input[0] = node.input[1] = graph.node(branch).output[0]

    def in_openvino(folder: Path) -> None:
        with loaded(folder, "unet") as model:
            named = {node.get_friendly_name(): node for node in model.get_ops()}
            for i in (0, 1):
                named[f"{module}/Add"].input(i).replace_source_output(named[branch].output(0))

    return Damage(module, "Add", in_onnx, in_openvino)


def epsilon(module: str) -> Damage:
    def in_onnx(folder: Path) -> None:
        with onnx_graph.edited(folder, "unet") as graph:
            graph.set(f"{module}/InstanceNormalization", epsilon=1e-3)

    def in_openvino(folder: Path) -> None:
        with openvino_ir.edited(folder, "unet") as model:
            ids = {layer.get("id"): layer for layer in model.root.iter("layer")}
            edges = [(ids[e.get("from-layer")], ids[e.get("to-layer")]) for e in model.root.iter("edge")]
            norm = next(to for source, to in edges if source.get("name") == f"{module}/Reshape")
            assert norm.get("type") == "MVN"
            norm.find("data").set("eps", "0.001")

    return Damage(module, "InstanceNormalization", in_onnx, in_openvino)


def gelu_tanh(module: str) -> Damage:
    def in_onnx(folder: Path) -> None:
        with onnx_graph.edited(folder, "unet") as graph:
            graph.set(f"{module}/Gelu", approximate="tanh")

    def in_openvino(folder: Path) -> None:
        with openvino_ir.edited(folder, "unet") as model:
            model.layer(f"{module}/Gelu").set("approximation_mode", "TANH")

    return Damage(module, "Gelu", in_onnx, in_openvino)


def noisy(array: np.ndarray) -> np.ndarray:
    noise = np.random.default_rng(0).standard_normal(array.shape)
    return (array + 0.01 * array.std() * noise).astype(array.dtype)


def one_bit_flipped(array: np.ndarray) -> np.ndarray:
    """Flip the fourth bit of one weight's exponent: it is 256 times larger or smaller."""
    bits = array.copy().reshape(-1)
    bits.view(np.uint32)[np.abs(bits).argmax()] ^= np.uint32(1 << 26)
    return bits.reshape(array.shape)


def rolled(axis: int) -> Change:
    return lambda array: np.roll(array, 1, axis)


INSIDE = "/WithoutBiases"
DAMAGES = {
    "noise": constant("unet.down_blocks.1.resnets.0.conv1", "Conv", noisy, inside=INSIDE),
    "zeroed": constant("unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_v", "MatMul", np.zeros_like),
    "channels swapped": constant("unet.up_blocks.1.resnets.0.conv2", "Conv", rolled(0), inside=INSIDE),
    "norm epsilon": epsilon("unet.up_blocks.2.resnets.0.norm1"),
    "bias dropped": constant(f"{TEXT}.encoder.layers.1.mlp.fc1", "Add", np.zeros_like),
    "gelu tanh": gelu_tanh("unet.down_blocks.0.attentions.0.transformer_blocks.0.ff.net.0"),
    "attention scale": constant(f"{BLOCK}.attn1", "Mul", lambda array: array * np.float32(1.01), exact=False),
    "one bit flipped": constant("vae.decoder.up_blocks.1.resnets.0.conv1", "Conv", one_bit_flipped, inside=INSIDE),
    "residual dropped": residual_dropped("unet.mid_block.resnets.0", "unet.mid_block.resnets.0.conv2/Conv"),
    "skips swapped": swapped_inputs("unet.up_blocks.1", "Concat"),
    "decoder's colours": constant("vae.decoder.conv_out", "Conv", rolled(0), inside=INSIDE),
    "projection swapped": constant(f"{BLOCK}.ff.net.2", "MatMul", rolled(1)),
}
