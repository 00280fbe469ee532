"""An .xml file without what OpenVINO infers on reading it or nobody asks for: a quarter of the file."""

import re
from pathlib import Path
from typing import Any

DEFAULTS = (' auto_broadcast="numpy"', ' transpose_a="false"', ' transpose_b="false"')
"""Attributes, as they are written, that an operation has without being told."""
PORT = re.compile(r'<port id="(\d+)"([^>]*?) ?(?:/>|>.*?</port>)')


def drop_names(model: Any) -> None:
    """Take the names off tensors within a graph, but not off what it is given and gives; operations keep theirs."""
    for op in model.get_ops():
        for output in op.outputs():
            is_given = any(target.get_node().get_type_name() == "Result" for target in output.get_target_inputs())
            if not is_given and op.get_type_name() not in ("Parameter", "Result"):
                output.set_names(set())


def drop_inferred(path: Path) -> None:
    """Rewrite an .xml file without what its reader passes over or takes for granted: shapes of ports, types of those
    that take inputs, DEFAULTS.

    The shapes and types of constants and of the model's inputs stand with their data, and stay.
    """
    text = path.read_text(encoding="utf-8")
    text = re.sub("<input><port .*?</input>", lambda found: PORT.sub(r'<port id="\1"/>', found[0]), text)
    text = re.sub("<output><port .*?</output>", lambda found: PORT.sub(r'<port id="\1"\2/>', found[0]), text)
    for default in DEFAULTS:
        text = text.replace(default, "")
    path.write_text(text.replace("<data />", "").replace('" />', '"/>'), encoding="utf-8")
