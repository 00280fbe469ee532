"""A tap's shape and a value's -> whether one can be laid out as the other, and that layout.

Equal shapes; sizes of 1 more or fewer; [B, C, H, W] as tokens [B, HW, C] and back. Nothing else: numbers in another
order would be compared as if they were wrong.
"""

import numpy as np

Shape = tuple[int, ...]


def fits(tap: Shape, value: Shape) -> bool:
    """Tell whether an array of shape `tap` can be laid out as `value`, where -1 is any size."""
    return _same(tap, value) or _squeezed(tap) == _squeezed(value) or _is_tokens(tap, value) or _is_tokens(value, tap)


def laid_out(array: np.ndarray, shape: Shape) -> np.ndarray:
    """Return a tap's array in the layout of a value whose array has that shape; ValueError where it has none."""
    if array.shape == shape:
        return array
    if _squeezed(array.shape) == _squeezed(shape):
        return array.reshape(shape)
    if _is_tokens(array.shape, shape):
        return np.ascontiguousarray(array.reshape(*array.shape[:2], -1).swapaxes(1, 2))
    if _is_tokens(shape, array.shape):
        return np.ascontiguousarray(array.swapaxes(1, 2)).reshape(shape)
    raise ValueError(f"got shape {list(array.shape)}; expected {list(shape)} or another layout of it")


def _same(tap: Shape, value: Shape) -> bool:
    return len(tap) == len(value) and all(v in (-1, t) for t, v in zip(tap, value, strict=True))


def _squeezed(shape: Shape) -> Shape:
    return tuple(size for size in shape if size != 1)


def _is_tokens(picture: Shape, tokens: Shape) -> bool:
    """Tell whether [B, C, H, W] and [B, HW, C] are the same numbers; not where HW is C, when [B, C, HW] could be."""
    if len(picture) != 4 or len(tokens) != 3 or min(*picture, *tokens) < 1:
        return False
    batch, channels, height, width = picture
    return tokens == (batch, height * width, channels) and height * width != channels
