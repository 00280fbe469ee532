"""Sizes left open: one artifact draws any batch and resolution as diffusers does; what cannot be open is refused."""

import numpy as np
import pytest

from edgestep.artifact import BadInput
from edgestep.export.graph.graphs import Graphs
from edgestep.export.recipe.contract import contract_from_checkpoint
from edgestep.export.run import export
from edgestep.export.source.checkpoint import open_source
from edgestep.export.source.source import Source
from edgestep.harness.reference.torch_one_step import TorchOneStep
from edgestep.runtimes.drawing import Drawer
from tests.families import FAMILIES

BOTH = ("batch", "resolution")
SIZES = ((1, 8, 8), (3, 8, 8), (2, 4, 12))
"""Batch, and the latents' height and width."""


@pytest.fixture(scope="module")
def open_graphs(checkpoint, contract) -> Graphs:
    """Captured once for all formats."""
    return Graphs(checkpoint, contract, dynamic=BOTH)


@pytest.mark.parametrize("layout", ["split", "fused"])
@pytest.mark.parametrize("format", ["onnx", "openvino"])
def test_any_batch_and_resolution_of_sd(tiny, checkpoint, open_graphs, tmp_path, format: str, layout: str):
    out, given = tmp_path / "artifact", {"format": format, "precision": "fp32", "layout": layout, "target": "x86"}
    made = export(checkpoint, out=out, dynamic=BOTH, graphs=open_graphs, **given)
    assert all(spec.shape[0] == -1 for c in made.components for spec in c.inputs if len(spec.shape) > 1)
    with Drawer(out) as drawer:
        for batch, height, width in SIZES:
            _assert_drawn(drawer, Source(tiny, size=(2 * height, 2 * width)), batch, x0=layout == "split")


@pytest.mark.slow
def test_any_batch_and_resolution_of_sdxl(tmp_path):
    """The size is an input of its network: the split form is fed it."""
    source = FAMILIES["sdxl-turbo"].make(tmp_path / "source")
    out = tmp_path / "artifact"
    options = {"format": "onnx", "precision": "fp32", "target": "x86", "dynamic": BOTH}
    export(open_source(source), layout="split", out=out, **options)
    with Drawer(out) as drawer:
        for batch, height, width in SIZES:
            sized = Source(source.folder, size=(2 * height, 2 * width), allow_pickle=source.allow_pickle)
            _assert_drawn(drawer, sized, batch, x0=True)
    with pytest.raises(BadInput, match="split"):
        export(open_source(source), layout="fused", out=tmp_path / "fused", **options)
    assert not (tmp_path / "fused").exists()


def _assert_drawn(drawer: Drawer, source: Source, batch: int, *, x0: bool) -> None:
    model = TorchOneStep(source)
    random = np.random.default_rng(batch)
    noise = random.standard_normal((batch, *model.latent_shape), dtype=np.float32)
    prompts = ("a red heart", "grinning face", "cat face")[:batch]
    each = [model.inputs(prompt) for prompt in prompts]
    inputs = {name: np.concatenate([one[name] for one in each]) for name in each[0]}
    drawn = drawer.draw(**inputs, noise=noise)
    for i, one in enumerate(each):
        expected = model.draw(**one, noise=noise[i : i + 1])
        if x0:
            np.testing.assert_allclose(drawn.x0[i : i + 1], expected.x0, rtol=1e-4, atol=1e-4)
        assert np.abs(drawn.image[i : i + 1].astype(int) - expected.picture).max() <= 1


def test_another_size_than_a_fixed_one_is_refused(make):
    made = make("onnx", "fp32", "split")
    contract = made.artifact.contract
    ids = np.full((1, contract.prompt_tokens), contract.pad_token_id, np.int64)
    noise = np.zeros((1, contract.latent_shape[0], 4, 12), np.float32)
    with Drawer(made.folder) as drawer, pytest.raises(BadInput, match=r"expected float32 \[1, 4, 8, 8\]"):
        drawer.draw(ids, noise)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"dynamic": ("width",)}, "expected batch or resolution"),
        ({"dynamic": ("batch",), "format": "coreml"}, "Neural Engine"),
        ({"image": "float16", "layout": "fused"}, "expected uint8 or float32"),
        ({"image": "float32"}, "fused"),
    ],
)
def test_what_cannot_be_open(checkpoint, tmp_path, options, said):
    options = {"format": "onnx", "precision": "fp32", "layout": "split", "target": "x86", **options}
    with pytest.raises(BadInput, match=said):
        export(checkpoint, out=tmp_path / "out", **options)
    assert not list(tmp_path.iterdir())


def test_transformers_have_one_size(tmp_path):
    checkpoint = open_source(FAMILIES["pixart-dmd"].make(tmp_path / "source"))
    with pytest.raises(BadInput, match="position embedding"):
        export(
            checkpoint,
            format="onnx",
            precision="fp32",
            layout="split",
            target="x86",
            out=tmp_path / "out",
            dynamic=("resolution",),
        )


def test_the_picture_as_floats(make, checkpoint, feeds, tmp_path):
    options = {"format": "onnx", "precision": "fp32", "layout": "fused", "target": "x86", "image": "float32"}
    made = export(checkpoint, out=tmp_path / "float", **options)
    assert made.component("generator").outputs[0].dtype == "float32"
    with Drawer(tmp_path / "float") as floats, Drawer(make("onnx", "fp32", "fused").folder) as rounded:
        one, other = (drawer.draw(feeds.ids, feeds.noise).image for drawer in (floats, rounded))
    np.testing.assert_array_equal(one, other)
    assert contract_from_checkpoint(checkpoint) == made.contract
