"""The golden bundle: a few of a reference's cases inside an artifact, so that a device can replay them alone.

It is a reference bundle like any other, in the folder `golden`, listed with hashes in the manifest. A Mac needs nothing
else: `edgestep parity ARTIFACT --runtime coreml-ane`.
"""

import os
import shutil
from dataclasses import replace
from pathlib import Path

from edgestep.artifact import GOLDEN, Artifact, BadInput, files_in, read_artifact, write_manifest
from edgestep.harness.plain import plain_from
from edgestep.harness.reference.bundle import INDEX, Reference, read_reference, write_bundle
from edgestep.harness.reference.same_model import check_same_model

CASES = 4
"""The first two prompts with two noises each: the least that both sensitivities can be taken on."""


def keep_golden(folder: Path, reference: Reference, cases: int = CASES) -> Artifact:
    """Write the first `cases` of a bundle into the artifact in `folder`; return its manifest, which lists them.

    What stood there is replaced; where it is the same, nothing is written. Raises BadInput where the bundle is of
    another checkpoint than the artifact, or the folder cannot be written.
    """
    artifact = read_artifact(folder, verify=False)
    check_same_model(artifact, reference)
    aside = folder / f".{GOLDEN}.partial"
    shutil.rmtree(aside, ignore_errors=True)
    try:
        aside.mkdir()
        index = replace(reference.index, cases=reference.index.cases[:cases])
        write_bundle(aside, plain_from(index), reference.cases[:cases])
        if (folder / GOLDEN / INDEX).is_file() and files_in(aside) == files_in(folder / GOLDEN):
            return artifact
        shutil.rmtree(folder / GOLDEN, ignore_errors=True)
        os.replace(aside, folder / GOLDEN)
    except OSError as error:
        raise BadInput(f"got {folder}, where no {GOLDEN}/ can be written ({error.strerror}); choose another") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    rest = tuple(file for file in artifact.files if not file.path.startswith(f"{GOLDEN}/"))
    added = tuple(replace(file, path=f"{GOLDEN}/{file.path}") for file in files_in(folder / GOLDEN))
    artifact = replace(artifact, files=tuple(sorted((*rest, *added), key=lambda file: file.path)))
    write_manifest(folder, artifact)
    return artifact


def read_golden(folder: Path) -> Reference:
    """Read the golden bundle of an artifact; raise BadInput where it has none, or a file is not as it was listed."""
    artifact = read_artifact(folder)
    if not any(file.path == f"{GOLDEN}/{INDEX}" for file in artifact.files):
        raise BadInput(
            f"got no --reference, and {folder} has no golden bundle; expected one of them; record one with 'edgestep "
            "reference', and keep it with 'edgestep parity --keep-golden'"
        )
    return read_reference(folder / GOLDEN)
