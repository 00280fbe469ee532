"""FP16 where float32 leaves its range: a decoder with huge activations, as SDXL's has, is found by running it."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from diffusers import AutoencoderKL

from edgestep.artifact import read_artifact
from edgestep.export.graph.graphs import Graphs
from edgestep.export.onnx.decoder_range import PEAK, decoder_ranges, smooth_latents, window_at_peak
from edgestep.export.onnx.half import LARGEST, float32_nodes, half_from_onnx
from edgestep.export.onnx.node_by_node import run_node_by_node
from edgestep.export.onnx.onnx_from_torch import onnx_from_torch
from edgestep.export.onnx.overflow import LIMIT, ranges_from_onnx
from edgestep.export.onnx.prompt_range import prompt_ranges
from edgestep.export.recipe.contract import contract_from_checkpoint
from edgestep.export.run import export, export_key
from edgestep.export.source.checkpoint import Checkpoint, open_checkpoint, open_source
from tests.export.conftest import sqnr_db
from tests.families import FAMILIES
from tests.family_models import EULER_TRAILING, write_sdxl

BLOCK = "vae.decoder.up_blocks.0.resnets.1"
CONV1 = "decoder.up_blocks.0.resnets.1.conv1"
CONV2 = "decoder.up_blocks.0.resnets.1.conv2"
HUGE = 1e6
CASES = {
    "one convolution, and a norm that brings it back": (CONV1, {f"{BLOCK}.conv1"}),
    "a residual stream, to the last norm": (
        CONV2,
        {
            f"{BLOCK}.conv2",
            BLOCK,
            "vae.decoder.up_blocks.0.upsamplers.0",
            "vae.decoder.up_blocks.0.upsamplers.0.conv",
            "vae.decoder.up_blocks.1.resnets.0.conv_shortcut",
            "vae.decoder.up_blocks.1.resnets.0",
            "vae.decoder.up_blocks.1.resnets.1",
        },
    ),
}
"""What is blown up, and all that touches a large value because of it, norms apart."""


@pytest.fixture(scope="module", params=CASES.values(), ids=CASES)
def blown(request, tmp_path_factory) -> tuple[Checkpoint, set[str]]:
    """A tiny SDXL whose VAE reaches 1e6 in one place, and where it must stay float32."""
    module, expected = request.param
    folder = tmp_path_factory.mktemp("blown") / "sdxl"
    write_sdxl(folder, scheduler="EulerDiscreteScheduler", config=EULER_TRAILING)
    vae = AutoencoderKL.from_pretrained(folder / "vae")
    _blow_up(vae, module)
    vae.save_pretrained(folder / "vae")
    return open_checkpoint(folder), expected


def _blow_up(vae, module: str) -> None:
    """Scale a convolution so that what it gives reaches HUGE on ordinary latents."""
    seen: list[float] = []
    convolution = vae.get_submodule(module)
    watch = convolution.register_forward_hook(lambda *hooked: seen.append(float(hooked[2].abs().max())))
    with torch.no_grad():
        vae.decode(torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1)) / vae.config.scaling_factor)
        watch.remove()
        convolution.weight.mul_(HUGE / seen[0])
        convolution.bias.zero_()


def _graphs(checkpoint: Checkpoint) -> Graphs:
    return Graphs(checkpoint, contract_from_checkpoint(checkpoint))


@pytest.fixture(scope="module")
def graphs(blown) -> Graphs:
    return _graphs(blown[0])


@pytest.fixture(scope="module")
def latents(graphs) -> np.ndarray:
    """Latents that the search has not seen: x0 of unit variance, divided by the scale."""
    z = np.random.default_rng(5).standard_normal((1, *graphs.contract.latent_shape), dtype=np.float32)
    return z / np.float32(graphs.contract.latent_scale)


def _stepwise(model, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Each node alone, so that what is declared float16 is rounded to it: onnxruntime's CPU may skip that."""
    with np.errstate(all="ignore"):
        return run_node_by_node(model, feeds, lambda *_: None)


def test_one_node_at_a_time_is_the_same_as_all_at_once(blown, graphs, latents, tmp_path: Path):
    from edgestep.export.onnx.write import write_onnx_model

    model = onnx_from_torch(graphs, "vae_decoder")
    out = _stepwise(model, {"latent_sample": latents})["sample"]
    write_onnx_model(model, tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    assert sqnr_db(session.run(None, {"latent_sample": latents})[0], out) > 80


def test_naive_float16_is_broken_and_the_kept_set_mends_it(blown, graphs, latents):
    feeds = {"latent_sample": latents}
    full = _stepwise(onnx_from_torch(graphs, "vae_decoder"), feeds)["sample"]
    naive = _stepwise(half_from_onnx(onnx_from_torch(graphs, "vae_decoder")), feeds)["sample"]
    ranges = decoder_ranges(graphs)
    mended = _stepwise(half_from_onnx(onnx_from_torch(graphs, "vae_decoder"), ranges.keep), feeds)["sample"]
    assert np.isfinite(full).all() and full.std() > 0.01
    assert not np.isfinite(naive).all()
    assert sqnr_db(full, mended) > 40


def test_the_set_is_what_touches_large_values_and_no_more(blown, graphs):
    ranges = decoder_ranges(graphs)
    assert set(ranges.keep) == blown[1]
    assert ranges.nodes <= len(ranges.keep) + 1
    assert HUGE / 10 < ranges.largest < HUGE * 10


def test_every_one_of_the_set_is_needed(blown, graphs, latents):
    for module in blown[1]:
        model = half_from_onnx(onnx_from_torch(graphs, "vae_decoder"), blown[1] - {module})
        assert not np.isfinite(_stepwise(model, {"latent_sample": latents})["sample"]).all(), module


def test_the_export_draws_what_float32_draws(blown, graphs, tmp_path: Path):
    layout = "split" if len(blown[1]) == 1 else "fused"
    made = {
        precision: export(
            blown[0],
            format="onnx",
            precision=precision,
            layout=layout,
            target="x86",
            out=tmp_path / precision,
            graphs=graphs,
        )
        for precision in ("fp32", "fp16")
    }
    drawn = {precision: _drawn(tmp_path / precision, layout) for precision in made}
    assert drawn["fp32"].std() > 1e-3
    assert sqnr_db(drawn["fp32"], drawn["fp16"]) > 40
    notes = read_artifact(tmp_path / "fp16").notes
    assert any("kept in float32 for their range" in note and "e+06" in note for note in notes)
    assert any(all(module in note for module in blown[1]) for note in notes)
    assert not any("fp16" in note for note in made["fp32"].notes)
    file = made["fp16"].components[-1].file
    weights = {t.name: t.data_type for t in onnx.load(tmp_path / "fp16" / file).graph.initializer}
    assert weights[f"{BLOCK}.norm1.weight"] == onnx.TensorProto.FLOAT
    assert weights["vae.decoder.conv_in.weight/float16"] == onnx.TensorProto.FLOAT16


def _drawn(folder: Path, layout: str) -> np.ndarray:
    """The picture of fixed noise and ids, float32."""
    from edgestep.runtimes.drawing import Drawer

    with Drawer(folder, runtime="onnxruntime") as drawer:
        contract = drawer.artifact.contract
        ids = np.full((1, contract.prompt_tokens), contract.eos_token_id)
        noise = np.random.default_rng(3).standard_normal((1, *contract.latent_shape), dtype=np.float32)
        return drawer.draw(noise=noise, input_ids=ids, input_ids_2=ids).image.astype(np.float32)


def test_a_model_that_fits_keeps_nothing_more(checkpoint: Checkpoint):
    own = _graphs(checkpoint)
    ranges = decoder_ranges(own)
    assert ranges.keep == () and ranges.nodes == 0
    assert 0 < ranges.largest < LIMIT and 0 < ranges.norm_input < LIMIT
    model = onnx_from_torch(own, "vae_decoder")
    assert float32_nodes(model.graph) == float32_nodes(model.graph, ranges.keep)
    (note,) = ranges.notes()
    assert "nothing of vae_decoder" in note and "into a norm" in note


def test_any_graph_can_be_searched_and_a_mask_is_no_large_value(checkpoint: Checkpoint, feeds):
    own = _graphs(checkpoint)
    found = ranges_from_onnx(onnx_from_torch(own, "text_encoder"), [{"input_ids": feeds.ids}], "text_encoder", "a test")
    assert found.keep == ()
    assert found.largest_at.startswith("text_encoder.")


def test_a_weight_that_float16_cannot_hold_stays(checkpoint: Checkpoint):
    own = _graphs(checkpoint)
    model = onnx_from_torch(own, "vae_decoder")
    bias = model.graph.initializers["vae.decoder.conv_in.bias"]
    array = bias.const_value.numpy().copy()
    array[0] = 2 * LARGEST
    own.onnx_models["vae_decoder"].graph.initializers[bias.name].const_value = _tensor(array, bias.name)
    assert "vae.decoder.conv_in" in decoder_ranges(own).keep


def _tensor(array: np.ndarray, name: str):
    import onnx_ir as ir

    return ir.Tensor(array, name=name)


def test_made_up_latents_have_the_statistics_that_the_scale_gives():
    fields = list(smooth_latents((4, 16, 16)))
    again = list(smooth_latents((4, 16, 16)))
    assert all(np.array_equal(a, b) for a, b in zip(fields, again, strict=True))
    assert {field.shape for field in fields} == {(1, 4, 16, 16)} and fields[0].dtype == np.float32
    assert all(abs(field.std() - 1) < 0.05 for field in fields[:-1])
    assert max(np.abs(field).max() for field in fields) == pytest.approx(PEAK)


def test_made_up_latents_reach_what_real_ones_reach_within_the_margin(emoji: Path):
    """The bundled generator's own x0 against the fields that stand in for it: node by node within the margin of 4."""
    checkpoint = open_checkpoint(emoji)
    own = _graphs(checkpoint)
    made_up, real = _largest(own, smooth_latents(own.contract.latent_shape)), _largest(own, _real_latents(own))
    ratios = {node: real[node] / made_up[node] for node in real if made_up[node] > 0}
    assert max(ratios.values()) < LARGEST / LIMIT, max(ratios, key=ratios.get)


def _largest(graphs: Graphs, latents) -> dict[str, float]:
    found: dict[str, float] = {}

    def see(node, inputs, outputs) -> None:
        found[node.name] = max(found.get(node.name, 0.0), *(float(np.abs(o).max()) for o in outputs if o.dtype == "f4"))

    for x0 in latents:
        x = x0 / np.float32(graphs.contract.latent_scale) + np.float32(graphs.contract.latent_shift)
        run_node_by_node(onnx_from_torch(graphs, "vae_decoder"), {"latent_sample": x}, see)
    return found


def _real_latents(graphs: Graphs):
    random = np.random.default_rng(0)
    for ids in ((1, 40, 50, 2), (1, 90, 7, 2)):
        tokens = np.full((1, graphs.contract.prompt_tokens), graphs.contract.pad_token_id)
        tokens[0, : len(ids)] = ids
        states = _stepwise(onnx_from_torch(graphs, "text_encoder"), {"input_ids": tokens})["last_hidden_state"]
        z = random.standard_normal((1, *graphs.contract.latent_shape), dtype=np.float32)
        feeds = {"sample": z, "timestep": np.array(0), "encoder_hidden_states": states}
        yield _stepwise(onnx_from_torch(graphs, "unet"), feeds)["out_sample"]


def test_latents_that_were_drawn_are_run_too_and_change_the_key(checkpoint: Checkpoint):
    contract = contract_from_checkpoint(checkpoint)
    drawn = 1000 * np.random.default_rng(0).standard_normal((1, *contract.latent_shape), dtype=np.float32)
    own = _graphs(checkpoint)
    plain = decoder_ranges(own)
    own.latents, own.ranges = (drawn,), {}
    given = decoder_ranges(own)
    assert given.largest > plain.largest
    assert "1 drawn" in given.fed and "drawn" not in plain.fed
    keys = [export_key(checkpoint, "onnx", "fp16", "split", latents=latents) for latents in ((), [drawn], [2 * drawn])]
    assert len(set(keys)) == 3
    assert keys[0] == export_key(checkpoint, "onnx", "fp16", "split")


def test_a_window_of_a_large_latent_holds_its_peak():
    x0 = np.zeros((1, 4, 20, 30), np.float32)
    x0[0, 2, 19, 1] = -7
    window = window_at_peak(x0, (4, 8, 16))
    assert window.shape == (1, 4, 8, 16) and np.abs(window).max() == 7


def test_a_text_encoder_whose_residual_stream_is_large_is_mended(tmp_path: Path):
    """T5, as PixArt has it: in the published one values of 1e5 and more run through all blocks."""
    from transformers import T5EncoderModel

    source = FAMILIES["pixart-dmd"].make(tmp_path)
    folder = source.folder / "text_encoder"
    encoder = T5EncoderModel.from_pretrained(folder)
    with torch.no_grad():
        encoder.encoder.block[0].layer[1].DenseReluDense.wo.weight.mul_(1e6)
    encoder.save_pretrained(folder)
    own = _graphs(open_source(source))
    ranges = prompt_ranges(own, "text_encoder")
    block = "text_encoder.encoder.block.0.layer"
    assert {f"{block}.1.DenseReluDense.wo", f"{block}.1"} <= set(ranges.keep)
    assert f"{block}.1.DenseReluDense.wi_0" not in ranges.keep
    length = own.contract.prompt_tokens
    ids = np.random.default_rng(9).integers(3, 100, (1, length))
    feeds = {"input_ids": ids, "attention_mask": np.ones((1, length), np.int64)}
    full, naive, mended = (
        _stepwise(model, feeds)["last_hidden_state"]
        for model in (
            onnx_from_torch(own, "text_encoder"),
            half_from_onnx(onnx_from_torch(own, "text_encoder")),
            half_from_onnx(onnx_from_torch(own, "text_encoder"), ranges.keep),
        )
    )
    assert not np.isfinite(naive).all()
    assert sqnr_db(full, mended) > 40


def test_linear_attention_stays_float32(tmp_path: Path):
    own = _graphs(open_source(FAMILIES["sana-sprint"].make(tmp_path)))
    nodes = {node.name for node in float32_nodes(onnx_from_torch(own, "transformer").graph)}
    assert "transformer.transformer_blocks.0.attn1/MatMul" in nodes
    assert "transformer.transformer_blocks.0.attn2/MatMul" not in nodes
