"""A function of an ML Program and its inputs -> every value, operation by operation, in torch."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

import torch

from edgestep.artifact import BadInput
from edgestep.runtimes.mil.arguments import State, Value
from edgestep.runtimes.mil.checks import check_function
from edgestep.runtimes.mil.numerics import Overflow, infinite, round_half
from edgestep.runtimes.mil.ops.registry import BLOCK_OPS, MOVES, OPS, RANDOM
from edgestep.runtimes.mil.program import Binding, Block, Function, Name, Operation, Typed

Values = dict[str, Value]
Keep = Callable[[str, Value], None]


class Interpreter:
    """Runs one function. What depends on no input is computed once, when it is made.

    `numerics` is fp32 or fp16. `overflow` is the first of the last run, None where there was none. Raises BadInput,
    when it is made, for an operation that is not in OPS, or a name that nothing makes.
    """

    overflow: Overflow | None = None

    def __init__(self, function: Function, numerics: str, device: str = "cpu") -> None:
        self.function, self._half, self._device = function, numerics == "fp16", device
        check_function(function)
        self.constants: Values = {name: _on(value, device) for name, value in function.body.constants.items()}
        self.operations = self._fold()

    @torch.no_grad()
    def run(self, inputs: Mapping[str, Value], wanted: Iterable[str]) -> Values:
        """Return the wanted values by name; `inputs` as values are held. Others are freed after their last reader."""
        self.overflow = None
        kept = set(wanted)
        values: Values = {**self.constants, **{name: _on(value, self._device) for name, value in inputs.items()}}
        left = self._readers(kept)
        for operation in self.operations:
            self._execute(operation, values)
            read = operation.all_names_read
            left.subtract(read)
            for name in {*read, *(typed.name for typed in operation.outputs)}:
                if left[name] <= 0 and name not in self.constants:
                    values.pop(name, None)
        if missing := sorted(kept - values.keys()):
            raise BadInput(f"got a wish for {', '.join(missing)}; expected names of values that the program computes")
        return {name: values[name] for name in kept}

    def _readers(self, kept: Iterable[str]) -> Counter[str]:
        readers = Counter(name for operation in self.operations for name in operation.all_names_read)
        readers.update(kept)
        return readers

    def _fold(self) -> list[Operation]:
        """Run what constants alone decide, above all constexpr_*; return the rest. What only those read is dropped."""
        rest: list[Operation] = []
        with torch.no_grad():
            for operation in self.function.body.operations:
                known = all(name in self.constants for name in operation.all_names_read)
                if known and not operation.blocks and operation.type not in RANDOM:
                    self._execute(operation, self.constants)
                else:
                    rest.append(operation)
        needed = {name for operation in rest for name in operation.all_names_read} | set(self.function.body.outputs)
        needed |= {name for operation in rest for block in operation.blocks for name in block.names_read}
        self.constants = {name: value for name, value in self.constants.items() if name in needed}
        return rest

    def _execute(self, operation: Operation, values: Values) -> None:
        arguments = {name: _bound(binding, values) for name, binding in operation.inputs.items()}
        try:
            if operation.type in BLOCK_OPS:
                made = BLOCK_OPS[operation.type](self._runner(values), operation.blocks, **arguments)
            else:
                made = OPS[operation.type](**arguments)
            outputs = made if isinstance(made, tuple) else (made,)
            for typed, value in zip(operation.outputs, outputs, strict=True):
                values[typed.name] = self._held(operation, typed, value, arguments)
        except BadInput:
            raise
        except Exception as error:
            raise BadInput(
                f"got {operation.type} at {operation.location}, opset {self.function.opset}, with inputs that it does "
                f"not take ({type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}); expected what "
                "MIL defines; check the feeds' shapes, or report it"
            ) from error

    def _held(self, operation: Operation, typed: Typed, value: Value, arguments: Mapping[str, Value]) -> Value:
        """Return an output in the type that the program declares, rounded where that is float16."""
        if typed.data_type is None or not isinstance(value, torch.Tensor):
            return value
        value = value.to(typed.data_type.held) if value.dtype != typed.data_type.held else value
        if not self._half or typed.data_type.name != "fp16" or operation.type in MOVES:
            return value
        floats = _floats(arguments)
        rounded, suspect = round_half(value, in_place=not _shares_memory(value, floats))
        if suspect and self.overflow is None and (count := infinite(rounded)) and not any(map(infinite, floats)):
            self.overflow = Overflow(operation.type, operation.location, count)
        return rounded

    def _runner(self, outer: Values) -> Callable[[Block, Sequence[Value]], list[Value]]:
        def run_block(block: Block, inputs: Sequence[Value]) -> list[Value]:
            values = {**outer, **{name: _on(value, self._device) for name, value in block.constants.items()}}
            values |= {typed.name: value for typed, value in zip(block.inputs, inputs, strict=True)}
            for operation in block.operations:
                self._execute(operation, values)
            return [values[name] for name in block.outputs]

        return run_block


def _shares_memory(value: torch.Tensor, others: Iterable[torch.Tensor]) -> bool:
    """Tell whether an operation gave back what it was given, or a view of it: rounding that would change its input."""
    own = value.untyped_storage().data_ptr()
    return any(other.untyped_storage().data_ptr() == own for other in others)


def states_of(inputs: Iterable[Typed], device: str) -> dict[str, State]:
    """Return a state of zeros for each stateful input; raise BadInput for one of an open shape."""
    states: dict[str, State] = {}
    for typed in inputs:
        if typed.data_type is None or -1 in typed.shape:
            raise BadInput(f"got the state {typed.name} of shape {typed.shape}; expected fixed sizes; convert it again")
        states[typed.name] = State(torch.zeros(typed.shape, dtype=typed.data_type.held, device=device))
    return states


def _on(value: Value, device: str) -> Value:
    return value.to(device) if isinstance(value, torch.Tensor) and value.dim() else value


def _bound(binding: Binding | tuple[Binding, ...], values: Values) -> Value | tuple[Value, ...]:
    if isinstance(binding, tuple):
        return tuple(values[one.name] if isinstance(one, Name) else one for one in binding)
    return values[binding.name] if isinstance(binding, Name) else binding


def _floats(arguments: Mapping[str, Value | tuple[Value, ...]]) -> list[torch.Tensor]:
    flat = [one for given in arguments.values() for one in (given if isinstance(given, tuple) else (given,))]
    return [one for one in flat if isinstance(one, torch.Tensor) and one.is_floating_point()]
