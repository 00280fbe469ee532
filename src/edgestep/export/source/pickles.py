"""A .bin or .pt file -> its lazily read weights, without running what the pickle says and without loading it.

torch.load(weights_only=True) builds tensors and nothing else; under FakeTensorMode it does not read their numbers but
notes where in the file each begins. They are then read one at a time, as those of a .safetensors.
"""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edgestep.artifact import BadInput
from edgestep.export.source.weights import LazyWeight, check_finite, float32_from_raw

PICKLES = (".bin", ".ckpt", ".pt", ".pth")
TYPES = {"float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16", "int64": "I64", "int32": "I32"}
SAFE = "safetensors.torch.save_file(torch.load(FILE, weights_only=True), 'weights.safetensors')"


def weights_from_pickle(path: Path) -> dict[str, LazyWeight]:
    """Return the weights of one pickle of tensors. Raises BadInput where torch is missing or the file holds more."""
    try:
        import torch
    except ImportError as error:
        raise BadInput(f"got the pickle {path}; reading it needs torch: pip install 'edgestep[export]'") from error
    state = _load(torch, path)
    state = state["state_dict"] if _is_wrapped(state) else state
    others = [str(k) for k, v in state.items() if not isinstance(v, torch.Tensor)] if isinstance(state, Mapping) else []
    if not isinstance(state, Mapping) or others:
        got = f"the entry {others[0]!r}" if others else f"a {type(state).__name__}"
        raise BadInput(f"got {got} in {path}; expected a dictionary of names and tensors; convert it to .safetensors")
    return {name: _lazy(path, name, tensor) for name, tensor in state.items()}


def _is_wrapped(state: Any) -> bool:
    return isinstance(state, Mapping) and isinstance(state.get("state_dict"), Mapping)


def _load(torch: Any, path: Path) -> Any:
    from torch._subclasses.fake_tensor import FakeTensorMode

    old = logging.getLogger("torch").level
    logging.getLogger("torch").setLevel(logging.ERROR)
    try:
        if not _is_zip(path):  # torch < 1.6 wrote one stream, which cannot be read in parts
            return torch.load(path, map_location="cpu", weights_only=True)
        with FakeTensorMode():
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises a dozen unrelated classes here
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise BadInput(
            f"got {path}, which does not load as tensors alone ({reason[:200]}); expected whole weights; download it "
            f"again, or convert it where you trust it: {SAFE}"
        ) from error
    finally:
        logging.getLogger("torch").setLevel(old)


def _is_zip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"PK\x03\x04"


def _lazy(path: Path, name: str, tensor: Any) -> LazyWeight:
    shape, key = tuple(int(n) for n in tensor.shape), f"{path}:{name}"
    storage = tensor.untyped_storage()
    offset = getattr(storage, "_checkpoint_offset", None)
    kind = TYPES.get(str(tensor.dtype).removeprefix("torch."))
    if kind is None:
        raise BadInput(f"got {name} of type {tensor.dtype} in {path}; expected float16, bfloat16 or float32")
    if offset is None:
        return LazyWeight(name, shape, lambda: _checked(tensor.float().numpy(), name, path), str(path), key)
    strides, first = tuple(int(n) for n in tensor.stride()), int(tensor.storage_offset())
    start = int(offset) + first * tensor.element_size()
    return LazyWeight(name, shape, _reader(path, name, kind, start, shape, strides), str(path), key)


def _reader(
    path: Path, name: str, kind: str, start: int, shape: tuple[int, ...], strides: tuple[int, ...]
) -> Callable[[], np.ndarray]:
    """Return what reads the tensor; strides are in elements, and need not be those of a contiguous array."""

    def read() -> np.ndarray:
        last = sum((n - 1) * s for n, s in zip(shape, strides, strict=True))
        flat = float32_from_raw(path, name, kind, start, last + 1 if all(shape) else 0)
        array = np.lib.stride_tricks.as_strided(flat, shape, tuple(s * flat.itemsize for s in strides))
        return _checked(np.ascontiguousarray(array).reshape(shape), name, path)

    return read


def _checked(array: np.ndarray, name: str, path: Path) -> np.ndarray:
    check_finite(array, name, str(path))
    return array
