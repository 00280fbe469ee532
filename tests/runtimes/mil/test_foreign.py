"""Programs that nobody here wrote, converted by coremltools alone, evaluated, against their PyTorch modules."""

import pytest

from tests.runtimes.mil.foreign import FOREIGN, sqnr_of

QUICK = ("ViT", "ConvNeXt", "LSTM")


def _cases():
    for name in FOREIGN:
        yield pytest.param(name, marks=() if name.startswith(QUICK) else pytest.mark.slow)


@pytest.mark.parametrize("name", _cases())
def test_a_foreign_architecture_is_what_its_pytorch_module_is(name, tmp_path):
    assert sqnr_of(name, tmp_path) >= 80
