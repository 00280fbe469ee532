"""Artifact's tokenizer and the bundle's prompts -> one GateResult: do its own ids feed it what PyTorch was fed?

Parity draws from the bundle's ids, so that every other gate is blind to what turns a prompt into ids: a wrong
tokenizer.json, a start token left out, another pad token in the contract.
"""

from pathlib import Path

import numpy as np

from edgestep.artifact import Artifact, BadInput
from edgestep.harness.parity.gates import PROMPT_IDS
from edgestep.harness.reference.bundle import Reference, ReferenceCase
from edgestep.harness.results import CaseFigure, GateResult
from edgestep.runtimes.tokenizer import inputs_from_prompt


def judge_prompts(folder: Path, artifact: Artifact, reference: Reference) -> GateResult:
    """Tokenize the bundle's prompts as `generate` does; `worst` is the number of cases whose ids or mask differ.

    A tokenizer that is missing, broken or not the contract's fails in every case: the reason says so in one line.
    """
    told: dict[str, str] = {}
    for case in reference.cases:
        if case.prompt not in told:
            told[case.prompt] = _difference(folder, artifact, case)
    bad = [(case.name, told[case.prompt]) for case in reference.cases if told[case.prompt]]
    if not bad:
        return GateResult(PROMPT_IDS, 0.0, "0 cases", "", True)
    failures = tuple(CaseFigure(name, 1.0) for name, _ in bad)
    return GateResult(PROMPT_IDS, float(len(bad)), "0 cases", bad[0][0], False, bad[0][1], failures=failures)


def _difference(folder: Path, artifact: Artifact, case: ReferenceCase) -> str:
    """Return where the artifact's inputs for the case's prompt differ from the bundle's, "" where they do not."""
    try:
        own = inputs_from_prompt(folder, artifact.contract, case.prompt)
    except BadInput as error:
        return str(error)
    for name, ids in own.items():
        recorded = case.inputs.get(name)
        if recorded is None or ids.shape != recorded.shape:
            shape = None if recorded is None else list(recorded.shape)
            return f"{name} of shape {list(ids.shape)} for {shape}"
        wrong = np.flatnonzero(ids != recorded)
        if wrong.size:
            at = wrong[0]
            return f"{name}[{at}] is {ids.flat[at]} for {recorded.flat[at]} in {case.prompt!r}"
    return ""
