"""Which layers w4 stores in 8 bits, by module path: few of a generator's weights, much of its error."""

import re
from collections.abc import Iterable

from edgestep.quantize.floats import module_path

AT_8_BITS = r"(^|\.)text_model\.|\.proj_(in|out)$|\.conv_shortcut$|(^|\.)unet\.down_blocks\.0\."
"""CLIP reads the prompt, and is small; the first and the last block of a UNet have the fewest channels and the most
pixels."""


def layers_at_8_bits(layers: Iterable[str], *, also: str = "$^", of_last: str = "") -> frozenset[str]:
    """Return those whose module path matches AT_8_BITS or `also`, or is in the UNet's last block and goes on with
    `of_last`: all of that block by default.
    """
    names = tuple(layers)
    found = (re.search(r"(?:^|\.)unet\.up_blocks\.(\d+)\.", name) for name in names)
    last = max((int(match[1]) for match in found if match), default=-1)  # no path holds -1
    pattern = re.compile(rf"{AT_8_BITS}|{also}|(^|\.)unet\.up_blocks\.{last}\.{of_last}")
    return frozenset(name for name in names if pattern.search(module_path(name)))
