"""Packages that only some measures need: asked for by name, never installed."""

from importlib import import_module

from edgestep.artifact import BadInput


def need(package: str, option: str) -> None:
    """Raise BadInput, naming the extra, where `package`, or what it needs itself, is not installed."""
    try:
        import_module(package)
    except ImportError as error:
        raise BadInput(
            f"got {option} without {package.replace('_', '-')} here ({error}); expected the extra that brings it; "
            "pip install 'edgestep[metrics]'"
        ) from error
