"""What of a graph is left open or chosen: sizes that are dynamic, and the type of the fused picture."""

from collections.abc import Sequence

from edgestep.artifact import BadInput, OneStep

DYNAMIC = ("batch", "resolution")
IMAGES = ("uint8", "float32")


def check_openings(contract: OneStep, format: str, layout: str, dynamic: Sequence[str], image: str) -> None:
    """Raise BadInput for a size that cannot be dynamic there, or a picture of another type."""
    for name in dynamic:
        if name not in DYNAMIC:
            raise BadInput(f"got --dynamic {name}; expected {' or '.join(DYNAMIC)}, or both with a comma between")
    if dynamic and format == "coreml":
        raise BadInput("got --dynamic for coreml; expected fixed sizes, as the Neural Engine needs; export one each")
    if "resolution" in dynamic and contract.base in ("pixart", "sana"):
        raise BadInput(
            f"got --dynamic resolution for {contract.base}; expected a fixed one: its position embedding is of one "
            "size; export once per --size"
        )
    if "resolution" in dynamic and contract.base == "sdxl" and layout == "fused":
        raise BadInput(
            "got --dynamic resolution for the fused form of sdxl; expected a fixed one: the picture's size is an input "
            "of its network, folded there; use --layout split, or export once per --size"
        )
    if image not in IMAGES:
        raise BadInput(f"got --image {image}; expected {' or '.join(IMAGES)}; choose one")
    if image != "uint8" and layout != "fused":
        raise BadInput(f"got --image {image} for the split form; expected the fused one; give --layout fused")
