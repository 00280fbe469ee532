"""`assert_parity`: an artifact and a reference -> a ParityResult that passed, or a failure that shows why not."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgestep.artifact import BadInput

if TYPE_CHECKING:
    from edgestep.harness.reference.bundle import Reference
    from edgestep.harness.results import ParityResult


def assert_parity(
    artifact: str | os.PathLike[str],
    reference: str | os.PathLike[str] | Reference,
    *,
    runtime: str | None = None,
    threads: int | None = None,
    overrides: Sequence[str] = (),
    timeout_s: float | None = None,
    allow_unchecked: bool = False,
    strip: str | os.PathLike[str] | None = None,
) -> ParityResult:
    """Draw every case of `reference` with `artifact`, gate it by its scheme, return the result where it passed.

    Relative folders start at pytest's rootdir. `runtime` None takes the format's own, `threads` None the runtime's
    choice. `overrides` are gates in place of the scheme's, `image PSNR>=30`: the result and the report say that they
    were given by hand. `timeout_s` is what loading, and each case, may take; None for the harness's own limit.
    `allow_unchecked` lets a verdict of unchecked through (nothing here runs the format, or a tiny decoder stands in
    for the VAE); the result says so. `strip` is the PNG to write where it fails; by default it goes to the report's
    folder, else to pytest's cache.

    Raises AssertionError where the verdict is failed, undecided or unchecked, with every gate and the strip's path;
    BadInput where the folders cannot be used, belong to different checkpoints, or the runtime is not installed.
    """
    __tracebackhide__ = True
    from edgestep.pytest_plugin.comparison import compare

    try:
        result, complaint = compare(
            artifact,
            reference,
            runtime=runtime,
            threads=threads,
            overrides=overrides,
            timeout_s=timeout_s,
            allow_unchecked=allow_unchecked,
            strip=strip,
        )
    except BadInput as error:
        raise BadInput(str(error)) from None  # its frames are ours: a test's author needs the line, not them
    if complaint:
        raise AssertionError(complaint)
    return result
