"""Small random models of the families with a transformer: PixArt-alpha with T5, SANA-Sprint with Gemma 2."""

import inspect
import io
import json
from pathlib import Path

import torch
from diffusers import AutoencoderDC, PixArtTransformer2DModel, SanaSprintPipeline, SanaTransformer2DModel
from transformers import Gemma2Config, Gemma2Model, GemmaTokenizerFast, T5Config, T5EncoderModel, T5Tokenizer

from tests.family_models import CAPTIONS, lively, new_vae, save_model, write_index, write_json, write_scheduler

LINEAR_BETAS = {"beta_start": 0.0001, "beta_end": 0.02, "beta_schedule": "linear", "num_train_timesteps": 1000}
DPM_SOLVER = {
    **LINEAR_BETAS,
    "algorithm_type": "dpmsolver++",
    "dynamic_thresholding_ratio": 0.995,
    "final_sigmas_type": "zero",
    "lower_order_final": True,
    "prediction_type": "epsilon",
    "sample_max_value": 1.0,
    "solver_order": 2,
    "solver_type": "midpoint",
    "steps_offset": 0,
    "thresholding": False,
    "timestep_spacing": "linspace",
    "trained_betas": None,
    "use_karras_sigmas": False,
    "variance_type": None,
}
SCM = {"num_train_timesteps": 1000, "prediction_type": "trigflow", "sigma_data": 0.5}
TRANSFORMER2D = {
    "double_self_attention": False,
    "norm_type": "ada_norm_single",
    "num_vector_embeds": None,
    "only_cross_attention": False,
    "use_linear_projection": False,
}
"""Keys of the wider class Transformer2DModel, under whose name PixArt-alpha was published."""


def human_instruction() -> list[str]:
    """Return the lines that SanaSprintPipeline puts before every prompt."""
    return inspect.signature(SanaSprintPipeline.__call__).parameters["complex_human_instruction"].default


def _sentencepiece(folder: Path, name: str, **how) -> Path:
    import sentencepiece

    trained = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([*CAPTIONS, *human_instruction()] * 4),
        model_writer=trained,
        hard_vocab_limit=False,
        minloglevel=2,
        num_threads=1,
        **how,
    )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(trained.getvalue())
    return folder / name


def write_t5_tokenizer(folder: Path) -> int:
    """Write spiece.model and the slow tokenizer's files, no tokenizer.json; return the size of the vocabulary."""
    how = {"model_type": "unigram", "vocab_size": 400, "pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1}
    spiece = _sentencepiece(folder, "spiece.model", **how)
    tokenizer = T5Tokenizer(str(spiece), model_max_length=512, legacy=True)
    tokenizer.save_pretrained(folder)
    return len(tokenizer)


def write_gemma_tokenizer(folder: Path) -> int:
    """Write tokenizer.model, tokenizer.json and their configs; return the size of the vocabulary."""
    pieces = {"pad_id": 0, "eos_id": 1, "bos_id": 2, "unk_id": 3}
    named = {"pad_piece": "<pad>", "eos_piece": "<eos>", "bos_piece": "<bos>"}
    plain = {"add_dummy_prefix": False, "remove_extra_whitespaces": False, "normalization_rule_name": "identity"}
    how = {"model_type": "bpe", "vocab_size": 900, "byte_fallback": True, **pieces, **named, **plain}
    tokenizer = GemmaTokenizerFast(vocab_file=str(_sentencepiece(folder, "tokenizer.model", **how)))
    tokenizer.save_pretrained(folder)
    return len(tokenizer)


def new_pixart(seed: int) -> PixArtTransformer2DModel:
    torch.manual_seed(seed)
    transformer = PixArtTransformer2DModel(
        num_attention_heads=2,
        attention_head_dim=8,
        in_channels=4,
        out_channels=8,
        num_layers=2,
        cross_attention_dim=16,
        sample_size=8,
        patch_size=2,
        caption_channels=32,
    )
    return lively(transformer)


def write_pixart(folder: Path, *, seed: int = 0) -> None:
    """PixArt-XL-2-512x512: DPM-Solver, T5 in shards, a transformer under the name of its wider class."""
    torch.manual_seed(7)
    text = T5Config(
        vocab_size=write_t5_tokenizer(folder / "tokenizer"),
        d_model=32,
        d_kv=8,
        d_ff=64,
        num_layers=2,
        num_heads=4,
        feed_forward_proj="gated-gelu",
        tie_word_embeddings=False,
    )
    T5EncoderModel(text).eval().save_pretrained(folder / "text_encoder", max_shard_size="30KB")
    save_model(new_pixart(seed), folder / "transformer")
    config = folder / "transformer" / "config.json"
    write_json(config, {**json.loads(config.read_text()), **TRANSFORMER2D, "_class_name": "Transformer2DModel"})
    save_model(new_vae(0.18215), folder / "vae")
    write_scheduler(folder, "DPMSolverMultistepScheduler", DPM_SOLVER)
    write_index(
        folder,
        "PixArtAlphaPipeline",
        scheduler=("diffusers", "DPMSolverMultistepScheduler"),
        text_encoder=("transformers", "T5EncoderModel"),
        tokenizer=("transformers", "T5Tokenizer"),
        transformer=("diffusers", "Transformer2DModel"),
        vae=("diffusers", "AutoencoderKL"),
    )


def new_sana(seed: int) -> SanaTransformer2DModel:
    torch.manual_seed(seed)
    transformer = SanaTransformer2DModel(
        in_channels=4,
        out_channels=4,
        num_attention_heads=2,
        attention_head_dim=8,
        num_layers=2,
        num_cross_attention_heads=2,
        cross_attention_head_dim=8,
        cross_attention_dim=16,
        caption_channels=32,
        sample_size=8,
        qk_norm="rms_norm_across_heads",
        guidance_embeds=True,
        guidance_embeds_scale=0.1,
        timestep_scale=1000.0,
    )
    return lively(transformer)


def new_dc_vae() -> AutoencoderDC:
    blocks, channels, scales = ("ResBlock", "ResBlock", "EfficientViTBlock"), (8, 8, 16), ((), (), (5,))
    return AutoencoderDC(
        latent_channels=4,
        attention_head_dim=8,
        encoder_block_types=blocks,
        decoder_block_types=blocks,
        encoder_block_out_channels=channels,
        decoder_block_out_channels=channels,
        encoder_layers_per_block=(1, 1, 1),
        decoder_layers_per_block=(1, 1, 1),
        encoder_qkv_multiscales=scales,
        decoder_qkv_multiscales=scales,
        upsample_block_type="interpolate",
        downsample_block_type="Conv",
        scaling_factor=0.41407,
    )


def write_sana_sprint(folder: Path) -> None:
    """SANA-Sprint: Gemma 2 behind a long instruction, TrigFlow, a guidance scale as an input, DC-AE."""
    torch.manual_seed(7)
    text = Gemma2Config(
        vocab_size=write_gemma_tokenizer(folder / "tokenizer"),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
        query_pre_attn_scalar=16,
        sliding_window=4096,
        max_position_embeddings=8192,
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=2,
    )
    save_model(Gemma2Model(text), folder / "text_encoder")
    save_model(new_sana(0), folder / "transformer")
    save_model(new_dc_vae(), folder / "vae")
    write_scheduler(folder, "SCMScheduler", SCM)
    write_index(
        folder,
        "SanaSprintPipeline",
        scheduler=("diffusers", "SCMScheduler"),
        text_encoder=("transformers", "Gemma2Model"),
        tokenizer=("transformers", "GemmaTokenizerFast"),
        transformer=("diffusers", "SanaTransformer2DModel"),
        vae=("diffusers", "AutoencoderDC"),
    )
