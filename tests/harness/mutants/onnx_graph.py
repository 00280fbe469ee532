"""Edit one graph of an ONNX artifact, split or fused: nodes by the names that export gives, weights by their node."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from tests.harness.mutants.mutant import replace_bytes

FILES = {"text_encoder": "text_encoder/model.onnx", "unet": "unet/model.onnx", "vae": "vae_decoder/model.onnx"}
"""Module -> its file in the split form."""

CONV_OUT, DECODER_IN, DECODER_OUT = "unet.conv_out/Conv", "vae.post_quant_conv/Conv", "vae.decoder.conv_out/Conv"
FORMULA = ("Mul", "Mul_2", "Sub")
"""The nodes of k_z z, k_e F and their difference."""


class Graph:
    """One loaded graph."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.graph = model.graph
        self._made = 0

    def node(self, name: str) -> onnx.NodeProto:
        """Return the node of that name."""
        return next(node for node in self.graph.node if node.name == name)

    def nodes(self, op: str, within: str = "") -> list[onnx.NodeProto]:
        """Return the nodes of that operator whose names start with `within`."""
        return [node for node in self.graph.node if node.op_type == op and node.name.startswith(within)]

    def weight(self, node: str, index: int) -> np.ndarray:
        """Return a copy of the constant that is a node's input."""
        return numpy_helper.to_array(self._initializer(node, index)).copy()

    def set_weight(self, node: str, index: int, value: np.ndarray) -> None:
        """Give a node a constant of its own: others that share it keep theirs."""
        self.node(node).input[index] = self.constant(value)

    def constant(self, value: np.ndarray) -> str:
        """Add a constant; return its name."""
        name = self._new("constant")
        self.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def after(self, node: str, *ops: tuple[str, tuple[np.ndarray, ...], dict[str, Any]]) -> None:
        """Put (operator, constants, attributes) in a row behind a node: whoever reads it reads their result."""
        target = self.node(node)
        output, target.output[0] = target.output[0], self._new("before")
        self._insert(list(self.graph.node).index(target) + 1, target.output[0], ops, output)

    def after_input(self, name: str, *ops: tuple[str, tuple[np.ndarray, ...], dict[str, Any]]) -> None:
        """Put operators in a row behind an input of the graph."""
        changed = self._new("changed")
        for node in self.graph.node:
            for i, one in enumerate(node.input):
                if one == name:
                    node.input[i] = changed
        self._insert(0, name, ops, changed)

    def set(self, node: str | onnx.NodeProto, **attributes: Any) -> None:
        """Replace attributes of a node."""
        target = self.node(node) if isinstance(node, str) else node
        kept = [a for a in target.attribute if a.name not in attributes]
        del target.attribute[:]
        target.attribute.extend([*kept, *(helper.make_attribute(k, v) for k, v in attributes.items())])

    @property
    def noise(self) -> str:
        """The name of the noise among the inputs of a fused graph or of a denoiser."""
        return next(one.name for one in self.graph.input if one.name in ("noise", "sample"))

    def _insert(self, at: int, name: str, ops: tuple, output: str) -> None:
        for i, (op, constants, attributes) in enumerate(ops):
            result = output if i == len(ops) - 1 else self._new("between")
            inputs = [name, *(self.constant(value) for value in constants)]
            self.graph.node.insert(at + i, helper.make_node(op, inputs, [result], name=self._new(op), **attributes))
            name = result

    def _initializer(self, node: str, index: int) -> onnx.TensorProto:
        name = self.node(node).input[index]
        return next(one for one in self.graph.initializer if one.name == name)

    def _new(self, kind: str) -> str:
        self._made += 1
        return f"mutant/{kind}_{self._made}"


@contextmanager
def edited(folder: Path, module: str) -> Iterator[Graph]:
    """Yield the graph that holds `module` (text_encoder, unet, vae); write it back when the block ends."""
    fused = folder / "generator.onnx"
    path = fused if fused.is_file() else folder / FILES[module]
    model = onnx.load(path)
    yield Graph(model)
    replace_bytes(path, model.SerializeToString())
