"""An OpenVINO model -> the linear layers that its attentions read as q, k and v, with what lies between."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

HEADS_APART = (0, 2, 1, 3)
"""[B, tokens, heads, width] -> [B, heads, tokens, width]: what q and v are turned to."""
TOKENS_LAST = (0, 2, 3, 1)
"""The same for k, unless the product of q and k turns it itself."""


@dataclass(frozen=True)
class Projection:
    """A linear layer and the operand of an attention's product that its output becomes, one batch of heads.

    `linear` is the MatMul, `bias` the Add behind it or None. `reader` is the product and `operand` the number of its
    input; that has the shape [B, heads, tokens, width], or the last two changed where `tokens_last`. `factor` is what
    it is multiplied by on the way.
    """

    linear: Any
    bias: Any
    reader: Any
    operand: int
    tokens_last: bool
    factor: np.float32

    @property
    def heads(self) -> tuple[int, int]:
        """Return the number of heads and the width of one."""
        shape = self.reader.get_input_shape(self.operand)
        return shape[1], shape[2 if self.tokens_last else 3]


def projections_of(model: Any) -> Iterator[Projection]:
    """Yield those of every attention, in the graph's order; what has another form, or another reader, is passed over.

    An attention is MatMul(q, k), any Multiply and Add, Softmax, MatMul(those, v).
    """
    for op in model.get_ordered_ops():
        if op.get_type_name() == "Softmax":
            found = (*_of_scores(_scores(op.input_value(0))), _of_sums(op, _only_reader(op)))
            yield from (projection for projection in found if projection is not None)


def _of_scores(product: Any) -> tuple[Projection | None, ...]:
    """Return q and k."""
    if product is None or product.get_attributes()["transpose_a"]:
        return ()
    return _projection(product, 0, False), _projection(product, 1, not product.get_attributes()["transpose_b"])


def _of_sums(weights: Any, product: Any) -> Projection | None:
    """Return v, of what multiplies it by the Softmax `weights`."""
    if product is None or product.get_type_name() != "MatMul" or any(product.get_attributes().values()):
        return None
    is_first = product.input_value(0).get_node().get_name() == weights.get_name()
    return _projection(product, 1, False) if is_first else None


def _scores(port: Any) -> Any:
    """Return the product of q and k that a Softmax reads, None for another."""
    while (op := port.get_node()).get_type_name() in ("Multiply", "Add"):
        port = op.input_value(0)
    return op if op.get_type_name() == "MatMul" else None


def _projection(reader: Any, operand: int, tokens_last: bool) -> Projection | None:
    port, between, factors = reader.input_value(operand), [], []
    while (layer := _layer(port)) is None:
        op = port.get_node()
        kind, factor = op.get_type_name(), _number(op)
        if kind not in ("Reshape", "Transpose", "Multiply") or (kind == "Multiply" and factor is None):
            return None
        if _only_reader(op) is None or op.get_output_partial_shape(0).is_dynamic:
            return None
        if factor is not None:
            factors.append(factor)
        between.append(op)
        port = op.input_value(0)
    if not _parts_heads(port, between, TOKENS_LAST if tokens_last else HEADS_APART):
        return None
    return Projection(*layer, reader, operand, tokens_last, np.prod(factors, dtype=np.float32))


def _layer(port: Any) -> tuple[Any, Any] | None:
    """Return (MatMul, the Add of its bias or None) where a value is a linear layer's output."""
    op, bias = port.get_node(), None
    if op.get_type_name() == "Add" and op.input_value(1).get_node().get_type_name() == "Constant":
        op, bias = op.input_value(0).get_node(), op
    computed = op.get_type_name() == "MatMul" and op.get_input_partial_shape(1).rank == 2
    shared = any(_only_reader(one) is None for one in (op, bias) if one is not None)
    return (op, bias) if computed and not shared else None


def _parts_heads(port: Any, between: list[Any], order: tuple[int, ...]) -> bool:
    """Tell whether the operations, last first, do to [B, tokens, C] what one Reshape and one Transpose would."""
    shape = port.get_partial_shape()
    if not between or shape.is_dynamic or len(shape) != 3 or len(between[0].get_output_shape(0)) != 4:
        return False
    numbers = np.arange(np.prod(port.get_shape())).reshape(port.get_shape())
    moved = numbers
    for op in reversed(between):
        if op.get_type_name() == "Transpose":
            moved = moved.transpose(op.input_value(1).get_node().get_data())
        elif op.get_type_name() == "Reshape":
            moved = moved.reshape(op.get_output_shape(0))
    lies = [moved.shape[order.index(axis)] for axis in range(4)]
    return lies[2] * lies[3] == numbers.shape[2] and np.array_equal(moved, numbers.reshape(lies).transpose(order))


def _number(op: Any) -> np.ndarray | None:
    """Return the one number that a Multiply multiplies by."""
    if op.get_type_name() != "Multiply" or op.input_value(1).get_node().get_type_name() != "Constant":
        return None
    factor = op.input_value(1).get_node().get_data()
    return factor.reshape(()) if factor.size == 1 else None


def _only_reader(op: Any) -> Any:
    """Return the one operation that reads an operation's one output, None where there are more."""
    readers = op.output(0).get_target_inputs()
    return next(iter(readers)).get_node() if len(readers) == 1 else None
