"""Parity in a test suite: does the artifact still draw what PyTorch drew?

edgestep export emoji --format onnx --precision fp32 --layout split --out build/emoji-onnx
edgestep reference emoji --device cpu --cases 8 --out build/reference
pytest examples/ci/test_parity_example.py --edgestep-artifact build/emoji-onnx --edgestep-reference build/reference \
    --edgestep-report build/parity
"""

import pytest

from edgestep.pytest_plugin import assert_parity


@pytest.mark.edgestep_target("x86")
def test_the_artifact_draws_what_pytorch_drew(edgestep_artifact, edgestep_reference):
    """Every gate of the artifact's scheme holds in its worst case."""
    assert_parity(edgestep_artifact, edgestep_reference)


@pytest.mark.edgestep_target("x86")
def test_pictures_were_gated(edgestep_artifact, edgestep_reference):
    """What passes is returned: a suite can ask for more than the gates."""
    result = assert_parity(edgestep_artifact, edgestep_reference, threads=1, timeout_s=120)
    assert {"image_psnr_db", "image_ssim"} <= {gate.measure for gate in result.gates if gate.passed}
