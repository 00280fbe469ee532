"""Edit one OpenVINO IR: attributes in the .xml, constants in the .bin, without OpenVINO."""

import xml.etree.ElementTree as ET
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from tests.harness.mutants.mutant import replace_bytes

COMPONENTS = {"text_encoder": "text_encoder", "unet": "unet", "vae": "vae_decoder"}


class Model:
    """One IR: its layers, and its constants' bytes."""

    def __init__(self, root: ET.Element, data: bytearray) -> None:
        self.root, self.data = root, data

    def layers(self, kind: str) -> list[ET.Element]:
        """Return the `data` elements of the layers of that type."""
        return [self._data(layer) for layer in self.root.iter("layer") if layer.get("type") == kind]

    def layer(self, name: str) -> ET.Element:
        """Return the `data` element of the layer of that name: its attributes."""
        return self._data(next(layer for layer in self.root.iter("layer") if layer.get("name") == name))

    def constant(self, name: str) -> np.ndarray:
        """Return a float32 constant as a view: writing to it changes the model."""
        at = self.layer(name)
        count, offset = int(at.get("size", "0")) // 4, int(at.get("offset", "0"))
        shape = [int(n) for n in at.get("shape", "").split(",") if n.strip()]
        return np.frombuffer(self.data, np.float32, count, offset).reshape(shape)

    def constant_into(self, name: str) -> np.ndarray:
        """Return the float32 constant that is the second input of the layer of that name."""
        ids = {layer.get("name"): layer.get("id") for layer in self.root.iter("layer")}
        names = {number: name for name, number in ids.items()}
        edge = next(e for e in self.root.iter("edge") if e.get("to-layer") == ids[name] and e.get("to-port") == "1")
        return self.constant(str(names[edge.get("from-layer")]))

    def _data(self, layer: ET.Element) -> ET.Element:
        found = layer.find("data")
        assert found is not None
        return found


@contextmanager
def edited(folder: Path, module: str) -> Iterator[Model]:
    """Yield the IR of `module` (text_encoder, unet, vae); write both files back when the block ends."""
    path = folder / COMPONENTS[module] / "openvino_model.xml"
    model = Model(ET.fromstring(path.read_text()), bytearray(path.with_suffix(".bin").read_bytes()))
    yield model
    replace_bytes(path, ET.tostring(model.root))
    replace_bytes(path.with_suffix(".bin"), bytes(model.data))
