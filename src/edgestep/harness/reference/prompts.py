"""Which prompts a reference bundle is drawn from where the user names none."""

from pathlib import Path

from edgestep.artifact import BadInput

PROMPTS = (
    "grinning face",
    "red heart",
    "pizza",
    "cat face",
    "face with tears of joy",
    "green apple",
    "dog face",
    "sun",
    "smiling face with sunglasses",
    "strawberry",
    "blue heart",
    "panda",
    "crying face",
    "hamburger",
    "fox",
    "star",
    "angry face",
    "watermelon",
    "frog",
    "soccer ball",
    "winking face",
    "doughnut",
    "lion",
    "rainbow",
    "sleeping face",
    "banana",
    "pig face",
    "fire",
    "robot",
    "birthday cake",
    "penguin",
    "crescent moon",
)
"""Common concepts, kinds mixed so that the first few already differ in shape and colour."""


def prompts_for(checkpoint_folder: Path) -> tuple[str, ...]:
    """Return the lines of the checkpoint's prompts.txt where it has one, else `PROMPTS`."""
    path = checkpoint_folder / "prompts.txt"
    if not path.is_file():
        return PROMPTS
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"got {path}, which cannot be read ({error}); expected UTF-8 text, one prompt a line") from error
    prompts = tuple(dict.fromkeys(line.strip() for line in lines if line.strip() and not line.startswith("#")))
    if not prompts:
        raise BadInput(f"got no prompt in {path}; expected one a line; fill it or remove it")
    return prompts
