"""MIL's data types -> how a value of each is held while a program is evaluated.

Every float is a float32 tensor, its float16 rounding is `numerics.py`'s; a type of fewer bits than a byte is held in
bytes, and an unsigned one that torch computes little with in the next signed one.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch


@dataclass(frozen=True)
class DataType:
    """One type: MIL's name, bits in a file, how it is held, and numpy's dtype of it in a file ("" below a byte)."""

    name: str
    bits: int
    held: torch.dtype
    file: str


DATA_TYPES: dict[int, DataType] = {
    1: DataType("bool", 8, torch.bool, "bool"),
    10: DataType("fp16", 16, torch.float32, "float16"),
    11: DataType("fp32", 32, torch.float32, "float32"),
    12: DataType("fp64", 64, torch.float32, "float64"),
    21: DataType("int8", 8, torch.int8, "int8"),
    22: DataType("int16", 16, torch.int16, "int16"),
    23: DataType("int32", 32, torch.int32, "int32"),
    24: DataType("int64", 64, torch.int64, "int64"),
    25: DataType("int4", 4, torch.int8, ""),
    31: DataType("uint8", 8, torch.uint8, "uint8"),
    32: DataType("uint16", 16, torch.int32, "uint16"),
    33: DataType("uint32", 32, torch.int64, "uint32"),
    34: DataType("uint64", 64, torch.int64, "uint64"),
    35: DataType("uint4", 4, torch.uint8, ""),
    36: DataType("uint2", 2, torch.uint8, ""),
    37: DataType("uint1", 1, torch.uint8, ""),
    38: DataType("uint6", 6, torch.uint8, ""),
    39: DataType("uint3", 3, torch.uint8, ""),
}
"""MIL.proto's DataType -> type. Strings are Python's."""
STRING = 2
NAMES: dict[str, DataType] = {data_type.name: data_type for data_type in DATA_TYPES.values()}
"""MIL's name -> type: what `cast` and the like name in a string."""


def tensor_from_numpy(array: np.ndarray, data_type: DataType) -> torch.Tensor:
    """Return it as values of that type are held; float16 becomes float32, read-only memory is copied."""
    if data_type.held.is_floating_point:
        return torch.from_numpy(np.array(array, np.float32))
    held = torch.empty(0, dtype=data_type.held).numpy().dtype
    return torch.from_numpy(np.array(array, held))


def unpacked(packed: np.ndarray, data_type: DataType, count: int) -> np.ndarray:
    """Return `count` values of fewer than 8 bits, int8 or uint8, from bytes that hold them lowest bits first."""
    bits = data_type.bits
    width = bits // math.gcd(bits, 8)  # bytes after which a value begins with a byte again
    per_group = 8 * width // bits
    groups = np.zeros((-(-count // per_group), width), np.uint8 if width == 1 else np.uint32)
    groups.reshape(-1)[: packed.size] = packed.view(np.uint8)[: groups.size]
    joined = sum(groups[:, i] << groups.dtype.type(8 * i) for i in range(1, width)) + groups[:, 0]
    values = np.empty((len(groups), per_group), np.uint8)
    for i in range(per_group):
        values[:, i] = (joined >> groups.dtype.type(bits * i)) & groups.dtype.type((1 << bits) - 1)
    values = values.reshape(-1)[:count]
    if data_type.held == torch.int8:
        return ((values ^ (1 << (data_type.bits - 1))).astype(np.int16) - (1 << (data_type.bits - 1))).astype(np.int8)
    return values
