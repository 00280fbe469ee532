"""`accelerate launch -m edgestep.distill train …`: the commands that several processes run together."""

import sys

import typer

from edgestep.artifact import BadInput
from edgestep.distill.command import train
from edgestep.distill.data.command import precompute

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, help=__doc__)
app.command()(train)
app.command()(precompute)

if __name__ == "__main__":
    try:
        app()
    except BadInput as error:
        print(f"edgestep: {error}", file=sys.stderr)
        sys.exit(2)
