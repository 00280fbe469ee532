"""Core ML packages: converted and loaded back; nothing here runs one."""

import json

import numpy as np
import pytest

from edgestep.artifact import BadInput, read_artifact
from edgestep.export.coreml.coreml_from_torch import check_package, import_coremltools, silenced

pytest.importorskip("coremltools")


def test_package_has_the_contract_s_signature(make, contract):
    made = make("coreml", "fp16", "split")
    assert read_artifact(made.folder) == made.artifact
    ct = import_coremltools()
    for component in made.artifact.components:
        with silenced():
            model = ct.models.MLModel(str(made.folder / component.file), skip_model_load=True)
        spec = model.get_spec()
        assert spec.WhichOneof("Type") == "mlProgram"
        assert spec.specificationVersion == 8  # macOS 14, iOS 17
        assert [f.name for f in spec.description.input] == [s.name for s in component.inputs]
        recorded = json.loads(model.user_defined_metadata["edgestep.contract"])
        assert recorded["k_e"] == contract.k_e


def test_weights_are_the_checkpoint_s(make, graphs):
    """The float32 conv_in of the package is torch's; what is in float16 is torch's rounded."""
    made = make("coreml", "fp16", "split")
    ct = import_coremltools()
    with silenced():
        model = ct.models.MLModel(str(made.folder / "unet.mlpackage"), skip_model_load=True)
        weights = ct.optimize.coreml.get_weights_metadata(model, weight_threshold=1)
    conv_in = np.asarray(weights["p_unet_conv_in_weight"].val)
    assert conv_in.dtype == np.float32
    np.testing.assert_array_equal(conv_in, graphs.captured("unet").weights["unet.conv_in.weight"].read())
    halves = {name: np.asarray(w.val) for name, w in weights.items() if np.asarray(w.val).dtype == np.float16}
    name = "p_unet_down_blocks_0_resnets_0_conv1_weight_to_fp16"
    expected = graphs.captured("unet").weights["unet.down_blocks.0.resnets.0.conv1.weight"].read().astype(np.float16)
    np.testing.assert_array_equal(halves[name], expected)
    assert sum(v.size for v in halves.values()) > 0.9 * 180_000


def test_a_package_with_another_signature_is_refused(make):
    made = make("coreml", "fp16", "split")
    with pytest.raises(BadInput, match=r"unet.mlpackage"):
        check_package(made.folder / "unet.mlpackage", made.artifact.component("vae_decoder"))
