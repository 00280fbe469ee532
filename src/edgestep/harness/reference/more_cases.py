"""Bundle and its checkpoint -> the same bundle with more cases, drawn here: needs PyTorch, writes nothing.

The bundle's own cases come first, as they are. New ones go on with its prompts and the checkpoint's, on the device that
recorded it where that is here, else on the CPU; the label says how many were drawn where. The floor stays the bundle's.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from edgestep.artifact import BadInput
from edgestep.export.source.source import Source
from edgestep.harness.reference.bundle import CaseIndex, Reference
from edgestep.harness.reference.prompts import prompts_for
from edgestep.harness.reference.record import case_inputs, case_plan, draw_case, label_for
from edgestep.harness.reference.torch_one_step import TorchOneStep, exact_float32, import_torch


def with_more_cases(
    reference: Reference, source: Source | None, cases: int, *, tell: Callable[[str], None] = lambda _: None
) -> Reference:
    """Return the bundle with `cases` cases in all; as it is where it has as many.

    Raises BadInput for fewer than it has, where `source` is missing or not what it was recorded from, or PyTorch is not
    here.
    """
    if cases < len(reference.cases):
        raise BadInput(
            f"got --cases {cases}; expected {len(reference.cases)} or more, as the bundle has; leave it out for these"
        )
    if cases == len(reference.cases):
        return reference
    if source is None:
        raise BadInput(
            f"got --cases {cases} and a bundle of {len(reference.cases)}; expected what to draw the others from; "
            "give --checkpoint, the one that the bundle was recorded from"
        )
    torch = import_torch()
    _check_same(reference, source)
    device = reference.index.device
    if (device == "cuda" and not torch.cuda.is_available()) or (
        device == "mps" and not torch.backends.mps.is_available()
    ):
        device = "cpu"
    drawn = list(reference.cases)
    with exact_float32(torch):
        tell(f"reference: loading PyTorch on {device} for {cases - len(drawn)} more cases")
        model = TorchOneStep(source, device=device)
        for prompt, inputs in _new_inputs(model, reference, source, cases):
            tell(f"reference: case {len(drawn) + 1} of {cases}, {prompt!r}")
            drawn.append(draw_case(model, f"case-{len(drawn):02d}", prompt, inputs))
            if len(drawn) == cases:
                break
    index = replace(
        reference.index,
        label=f"{reference.index.label}; {cases - len(reference.cases)} more cases by {label_for(model)}",
        cases=tuple(CaseIndex(case.name, case.prompt) for case in drawn),
    )
    return Reference(index, tuple(drawn))


def _check_same(reference: Reference, source: Source) -> None:
    from edgestep.export.source.checkpoint import open_source

    got, expected = open_source(source).sha256[:12], reference.index.checkpoint_sha256[:12]
    if got != expected:
        raise BadInput(
            f"got --checkpoint {source.folder} of SHA-256 {got}; expected {expected}, which the bundle was recorded "
            "from; name that one, or record a larger bundle with 'edgestep reference --cases'"
        )


def _new_inputs(
    model: TorchOneStep, reference: Reference, source: Source, cases: int
) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    """Yield prompts with what each is drawn from, in the plan's order, but for those that the bundle has."""
    prompts = tuple(dict.fromkeys((*(c.prompt for c in reference.cases), *prompts_for(source.folder))))
    for prompt_index, noise_index in case_plan(cases + len(reference.cases), len(prompts)):
        inputs = case_inputs(model, prompts[prompt_index], noise_index)
        if not _is_there(reference, prompts[prompt_index], inputs):
            yield prompts[prompt_index], inputs


def _is_there(reference: Reference, prompt: str, inputs: dict[str, np.ndarray]) -> bool:
    same: Sequence[np.ndarray] = [case.noise for case in reference.cases if case.prompt == prompt]
    return any(np.array_equal(noise, inputs["noise"]) for noise in same)
