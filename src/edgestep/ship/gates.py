"""A parity result -> what the artifact's card says of it."""

from edgestep.harness.reporting.lines import text_from_parity
from edgestep.harness.reporting.summary import GRAPH_PARITY
from edgestep.harness.results import EVALUATED, ParityResult


def gates_from_parity(result: ParityResult, reference: str) -> str:
    """Return a paragraph and the gates, one a line; `reference` says where PyTorch drew what was compared."""
    gates = text_from_parity(result)
    if not result.cases:
        return gates
    runtime = f" on {result.runtime}" if result.runtime else ""
    drew = f"`edgestep ship` drew {result.cases} cases{runtime} and compared them with PyTorch ({reference})"
    if result.evidence == EVALUATED:
        drew += f". {GRAPH_PARITY} `edgestep parity FOLDER --runtime coreml-ane` on a Mac does, with golden/"
    return f"{drew}; the worst case decides.\n\n```text\n{gates}\n```"
