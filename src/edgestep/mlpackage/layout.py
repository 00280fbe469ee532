"""Where things lie in a .mlpackage, and how arrays lie in its weight.bin.

A weight file is MIL's blob storage, version 2: 64 bytes of header (count, version), then for each array 64 bytes
(sentinel, type, size, offset of the data) and the data, everything at multiples of 64. Little endian.
"""

from pathlib import Path

import numpy as np

DATA = Path("Data", "com.apple.CoreML")
MODEL = DATA / "model.mlmodel"
WEIGHTS = DATA / "weights" / "weight.bin"
MANIFEST = "Manifest.json"
MODEL_PATH = "@model_path/"
"""What stands for the model's folder in the names of weight files."""

VERSION, ALIGNMENT, SENTINEL = 2, 64, 0xDEADBEEF
HEADER = np.dtype([("count", "<u4"), ("version", "<u4"), ("_", "V56")])
RECORD = np.dtype(
    [("sentinel", "<u4"), ("type", "<u4"), ("bytes", "<u8"), ("offset", "<u8"), ("padding_bits", "<u8"), ("_", "V32")]
)
"""What stands before the data of an array."""
