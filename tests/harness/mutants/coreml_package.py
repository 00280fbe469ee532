"""Edit one package of Apple's layout: constants in weight.bin and in the program, without coremltools' converter."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from tests.harness.mutants.mutant import replace_bytes

FILES = {"text_encoder": "TextEncoder", "unet": "Unet", "vae": "VAEDecoder"}
DTYPES = {10: np.float16, 11: np.float32}
"""MIL's data type -> numpy's."""


class Package:
    """One ML Program, its operations by the name of their first output, and its weights' bytes."""

    def __init__(self, model: Any, weights: bytearray) -> None:
        self.model, self.weights = model, weights
        function = model.mlProgram.functions["main"]
        self.block = function.block_specializations[function.opset]
        self.operations = {op.outputs[0].name: op for op in self.block.operations}

    def of_type(self, kind: str) -> list[Any]:
        """Return the operations of a type, in order."""
        return [op for op in self.block.operations if op.type == kind]

    def read(self, operation: Any, name: str) -> str:
        """Return the name of what an operation reads as that input."""
        return operation.inputs[name].arguments[0].name

    def floats(self, name: str) -> np.ndarray:
        """Return a constant of the weight file as a view: writing to it changes the package."""
        value = self.operations[name].attributes["val"]
        kind, sizes = value.type.tensorType.dataType, value.type.tensorType.dimensions
        shape = [size.constant.size for size in sizes]
        start = int(np.frombuffer(self.weights, "<u8", 3, value.blobFileValue.offset)[2])
        return np.frombuffer(self.weights, DTYPES[kind], int(np.prod(shape)), start).reshape(shape)

    def immediate(self, name: str) -> Any:
        """Return the repeated field of a constant that stands in the program: floats, ints or strings."""
        tensor = self.operations[name].attributes["val"].immediateValue.tensor
        return getattr(tensor, tensor.WhichOneof("value")).values


@contextmanager
def edited(folder: Path, module: str) -> Iterator[Package]:
    """Yield the package of `module` (text_encoder, unet, vae); write both files back when the block ends."""
    from coremltools.proto import Model_pb2

    data = folder / f"{FILES[module]}.mlpackage" / "Data" / "com.apple.CoreML"
    program, weights = data / "model.mlmodel", data / "weights" / "weight.bin"
    package = Package(Model_pb2.Model.FromString(program.read_bytes()), bytearray(weights.read_bytes()))
    yield package
    replace_bytes(program, package.model.SerializeToString())
    replace_bytes(weights, bytes(package.weights))
