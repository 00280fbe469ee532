"""A function before it runs -> nothing, or the line that says which operation is unknown or reads what nobody made."""

from edgestep.artifact import BadInput
from edgestep.runtimes.mil.ops.registry import BLOCK_OPS, OPS
from edgestep.runtimes.mil.program import Block, Function, printable


def check_function(function: Function) -> None:
    """Raise BadInput for an operation that the evaluator has not, and for a name that nothing before it makes."""
    _check_block(function.body, function.opset, {typed.name for typed in function.inputs})


def _check_block(block: Block, opset: str, outer: set[str]) -> None:
    made = outer | block.constants.keys() | {typed.name for typed in block.inputs}
    for operation in block.operations:
        if operation.type not in OPS and operation.type not in BLOCK_OPS:
            raise BadInput(
                f"got the operation {printable(operation.type)} at {operation.location}, opset {opset}; expected one "
                "that the evaluator has: docs/coreml.md lists them; report it with the model"
            )
        _check_made(operation.names_read, made, operation.location)
        for nested in operation.blocks:
            _check_block(nested, opset, made)
        made |= {typed.name for typed in operation.outputs}
    _check_made(block.outputs, made, "the end of its block")


def _check_made(names: tuple[str, ...] | list[str], made: set[str], where: str) -> None:
    for name in names:
        if name not in made:
            raise BadInput(
                f"got {name!r} read at {where}, which nothing before it makes; expected a whole program: the model is "
                "damaged; copy the package again"
            )
