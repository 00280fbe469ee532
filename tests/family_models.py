"""Small random models in the very layouts in which one-step generators are published: folders, UNet files, LoRA files.

Classes, config keys, file names and stored types are the published ones; only widths, depths and latents are small.
"""

import json
from functools import cache
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, AutoencoderTiny, UNet2DConditionModel
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from edgestep.distill.emoji.recipe import EmojiRecipe
from edgestep.distill.emoji.tokenizer import train_tokenizer

BOS, EOS = "<|startoftext|>", "<|endoftext|>"
CAPTIONS = ["a red heart", "grinning face", "cat face", "green apple", "a photo of a cat on the moon!"] * 4
BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "num_train_timesteps": 1000}
PNDM = {**BETAS, "clip_sample": False, "set_alpha_to_one": False, "skip_prk_steps": True, "steps_offset": 1}
EULER_LEADING = {
    **PNDM,
    "interpolation_type": "linear",
    "prediction_type": "epsilon",
    "sample_max_value": 1.0,
    "timestep_spacing": "leading",
    "trained_betas": None,
    "use_karras_sigmas": False,
}
EULER_TRAILING = {**EULER_LEADING, "timestep_spacing": "trailing"}
LCM = {
    **BETAS,
    "clip_sample": False,
    "clip_sample_range": 1.0,
    "dynamic_thresholding_ratio": 0.995,
    "original_inference_steps": 50,
    "prediction_type": "epsilon",
    "rescale_betas_zero_snr": False,
    "sample_max_value": 1.0,
    "set_alpha_to_one": True,
    "steps_offset": 1,
    "thresholding": False,
    "timestep_spacing": "leading",
    "trained_betas": None,
}
SD15_UNET_KEYS = [
    "act_fn",
    "attention_head_dim",
    "block_out_channels",
    "center_input_sample",
    "cross_attention_dim",
    "down_block_types",
    "downsample_padding",
    "flip_sin_to_cos",
    "freq_shift",
    "in_channels",
    "layers_per_block",
    "mid_block_scale_factor",
    "norm_eps",
    "norm_num_groups",
    "out_channels",
    "sample_size",
    "up_block_types",
]
SD15_VAE_KEYS = [
    "act_fn",
    "block_out_channels",
    "down_block_types",
    "in_channels",
    "latent_channels",
    "layers_per_block",
    "norm_num_groups",
    "out_channels",
    "sample_size",
    "up_block_types",
]


def write_json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n")


def keep_keys(path: Path, keys: list[str]) -> None:
    """Rewrite a config with the keys that it was published with: what is missing is the class's default."""
    content = json.loads(path.read_text())
    write_json(path, {k: v for k, v in content.items() if k.startswith("_") or k in keys})


def write_index(folder: Path, pipeline: str, **components: tuple[str, str] | None) -> None:
    entries = {name: list(entry) if entry else [None, None] for name, entry in components.items()}
    write_json(folder / "model_index.json", {"_class_name": pipeline, "_diffusers_version": "0.24.0", **entries})


def write_scheduler(folder: Path, name: str, config: dict[str, Any]) -> None:
    content = {"_class_name": name, "_diffusers_version": "0.24.0", **config}
    write_json(folder / "scheduler" / "scheduler_config.json", content)


@cache
def _clip_words():
    return train_tokenizer(CAPTIONS, EmojiRecipe(prompt_tokens=77, vocabulary=600))


def clip_vocabulary() -> int:
    return len(_clip_words())


def write_clip_tokenizer(folder: Path, *, pad: str, fast: bool) -> None:
    """Write the slow tokenizer's four files as Stable Diffusion has them; `fast`: tokenizer.json too.

    `pad` is "<|endoftext|>" for CLIP-L and "!" (id 0) for the OpenCLIP ones of SD2.1 and SDXL.
    """
    folder.mkdir(parents=True, exist_ok=True)
    words = _clip_words()
    words.save_vocabulary(str(folder))
    special = {"lstrip": False, "normalized": True, "rstrip": False, "single_word": False}
    named = {"bos_token": BOS, "eos_token": EOS, "unk_token": EOS}
    tokens = {role: {"content": text, **special} for role, text in named.items()}
    write_json(folder / "special_tokens_map.json", {**tokens, "pad_token": pad})
    config = {role: {"__type": "AddedToken", **entry} for role, entry in tokens.items()}
    rest = {"errors": "replace", "model_max_length": 77, "pad_token": pad, "tokenizer_class": "CLIPTokenizer"}
    write_json(folder / "tokenizer_config.json", {"add_prefix_space": False, "do_lower_case": True, **config, **rest})
    if fast:
        from transformers import CLIPTokenizerFast

        CLIPTokenizerFast.from_pretrained(folder).save_pretrained(folder)


def clip_config(width: int, layers: int, act: str, projection: int) -> CLIPTextConfig:
    """Return a config with the wrong special ids that every published text encoder has: 0, 2 and 1."""
    return CLIPTextConfig(
        vocab_size=clip_vocabulary(),
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=layers,
        num_attention_heads=2,
        max_position_embeddings=77,
        hidden_act=act,
        projection_dim=projection,
        bos_token_id=0,
        eos_token_id=2,
        pad_token_id=1,
    )


def save_model(model, folder: Path, *, half: bool = False) -> None:
    """Save as float32, or as a download of the fp16 variant leaves it: *.fp16.safetensors alone."""
    model.eval()
    if half:
        model.half().save_pretrained(folder, variant="fp16")
    else:
        model.save_pretrained(folder)


def new_vae(scale: float, **more: Any) -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(8, 16),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        layers_per_block=1,
        norm_num_groups=4,
        sample_size=16,
        scaling_factor=scale,
        **more,
    )


def write_tiny_decoder(folder: Path) -> Path:
    """Write an AutoencoderTiny as TAESD is published: it decodes x0 itself, its scale is 1."""
    torch.manual_seed(9)
    tiny = AutoencoderTiny(
        encoder_block_out_channels=(8, 8),
        decoder_block_out_channels=(8, 8),
        num_encoder_blocks=(1, 1),
        num_decoder_blocks=(1, 1),
    )
    save_model(tiny, folder)
    return folder


def lively(denoiser):
    """Make what it is told matter: attention to the text and the time embedding speak up in a random network."""
    with torch.no_grad():
        for name, weight in denoiser.named_parameters():
            if "attn2.to_" in name or "time_emb" in name or "add_embedding" in name or "cond_proj" in name:
                weight.mul_(3.0)
    return denoiser


def new_sd_unet(seed: int, **more: Any) -> UNet2DConditionModel:
    torch.manual_seed(seed)
    how = {"attention_head_dim": 2, "cross_attention_dim": 32, **more}
    unet = UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(16, 32),
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        layers_per_block=1,
        norm_num_groups=8,
        **how,
    )
    return lively(unet)


def new_sd21_unet(seed: int) -> UNet2DConditionModel:
    return new_sd_unet(seed, attention_head_dim=(2, 4), cross_attention_dim=48, use_linear_projection=True)


def new_sdxl_unet(seed: int) -> UNet2DConditionModel:
    torch.manual_seed(seed)
    unet = UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(16, 32),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        norm_num_groups=8,
        attention_head_dim=(2, 4),
        transformer_layers_per_block=(1, 2),
        cross_attention_dim=32 + 48,
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=6 * 8 + 48,
    )
    return lively(unet)


def write_sd_parts(folder: Path, unet, *, sd21: bool, fast: bool, half: bool = False) -> None:
    """Write text encoder, tokenizer, UNet and VAE of Stable Diffusion 1.5, or of 2.1."""
    torch.manual_seed(7)
    width, act = (48, "gelu") if sd21 else (32, "quick_gelu")
    write_clip_tokenizer(folder / "tokenizer", pad="!" if sd21 else EOS, fast=fast)
    save_model(CLIPTextModel(clip_config(width, 3 if sd21 else 2, act, 32)), folder / "text_encoder", half=half)
    save_model(unet, folder / "unet", half=half)
    save_model(new_vae(0.18215), folder / "vae", half=half)


SD_COMPONENTS = {
    "feature_extractor": None,
    "safety_checker": None,
    "scheduler": ("diffusers", "PNDMScheduler"),
    "text_encoder": ("transformers", "CLIPTextModel"),
    "tokenizer": ("transformers", "CLIPTokenizer"),
    "unet": ("diffusers", "UNet2DConditionModel"),
    "vae": ("diffusers", "AutoencoderKL"),
}


def write_sd15(folder: Path, *, seed: int = 0) -> None:
    """Stable Diffusion 1.5: PNDM, no tokenizer.json, configs with few keys (the VAE's has no scaling_factor)."""
    write_sd_parts(folder, new_sd_unet(seed), sd21=False, fast=False)
    keep_keys(folder / "unet" / "config.json", SD15_UNET_KEYS)
    keep_keys(folder / "vae" / "config.json", SD15_VAE_KEYS)
    write_scheduler(folder, "PNDMScheduler", PNDM)
    write_index(folder, "StableDiffusionPipeline", **SD_COMPONENTS)


def write_sd21(folder: Path, *, scheduler: str, config: dict[str, Any], seed: int = 0) -> None:
    """Stable Diffusion 2.1-base and sd-turbo: OpenCLIP with gelu, heads as a list, linear projections, pad "!"."""
    write_sd_parts(folder, new_sd21_unet(seed), sd21=True, fast=False, half=scheduler == "EulerDiscreteScheduler")
    write_scheduler(folder, scheduler, config)
    write_index(folder, "StableDiffusionPipeline", **{**SD_COMPONENTS, "scheduler": ("diffusers", scheduler)})


def write_lcm(folder: Path, *, seed: int = 0) -> None:
    """A latent consistency model: the guidance scale is an input of the network, time_cond_proj_dim = 256."""
    write_sd_parts(folder, new_sd_unet(seed, time_cond_proj_dim=256), sd21=False, fast=True)
    write_scheduler(folder, "LCMScheduler", LCM)
    components = {**SD_COMPONENTS, "scheduler": ("diffusers", "LCMScheduler")}
    write_index(folder, "LatentConsistencyModelPipeline", **components)


def write_sdxl(folder: Path, *, scheduler: str, config: dict[str, Any], seed: int = 0, half: bool = False) -> None:
    """Stable Diffusion XL: two text encoders and tokenizers, the second padding with "!", text_time embeddings."""
    torch.manual_seed(7)
    for name, pad in (("tokenizer", EOS), ("tokenizer_2", "!")):
        write_clip_tokenizer(folder / name, pad=pad, fast=False)
    first = CLIPTextModel(clip_config(32, 3, "quick_gelu", 32))
    second = CLIPTextModelWithProjection(clip_config(48, 3, "gelu", 48))
    save_model(first, folder / "text_encoder", half=half)
    save_model(second, folder / "text_encoder_2", half=half)
    save_model(new_sdxl_unet(seed), folder / "unet", half=half)
    save_model(new_vae(0.13025, force_upcast=True), folder / "vae", half=half)
    write_scheduler(folder, scheduler, config)
    components = {k: v for k, v in SD_COMPONENTS.items() if k != "safety_checker"}
    components |= {
        "scheduler": ("diffusers", scheduler),
        "text_encoder_2": ("transformers", "CLIPTextModelWithProjection"),
        "tokenizer_2": ("transformers", "CLIPTokenizer"),
        "image_encoder": None,
    }
    write_index(folder, "StableDiffusionXLPipeline", **components)
    index = json.loads((folder / "model_index.json").read_text())
    write_json(folder / "model_index.json", {**index, "force_zeros_for_empty_prompt": True})


def write_weights(path: Path, model, *, half: bool = False) -> Path:
    """Write a state dict alone: a .bin (a pickle of tensors) or .safetensors."""
    path.parent.mkdir(parents=True, exist_ok=True)
    state = {k: (v.half() if half else v).contiguous() for k, v in model.state_dict().items()}
    if path.suffix == ".bin":
        torch.save(state, path)
    else:
        save_file(state, path)
    return path


LORA_TARGETS = [
    "to_q",
    "to_k",
    "to_v",
    "to_out.0",
    "proj_in",
    "proj_out",
    "ff.net.0.proj",
    "ff.net.2",
    "conv1",
    "conv2",
    "conv_shortcut",
    "downsamplers.0.conv",
    "upsamplers.0.conv",
    "time_emb_proj",
]
"""What the LCM-LoRAs are trained on; the Hyper-SD and Lightning ones have the same targets or fewer."""


def write_kohya_lora(path: Path, unet: UNet2DConditionModel, *, seed: int, rank: int = 4, alpha: float = 2.0) -> Path:
    """Write a LoRA with kohya's keys: `lora_unet_<path with _>.lora_down.weight`, `.lora_up.weight` and `.alpha`."""
    random = torch.Generator().manual_seed(seed)
    state = {}
    for name, module in unet.named_modules():
        if not any(name == t or name.endswith("." + t) for t in LORA_TARGETS):
            continue
        weight = module.weight
        kernel = tuple(weight.shape[2:])
        key = "lora_unet_" + name.replace(".", "_")
        down = torch.randn((rank, weight.shape[1], *kernel), generator=random)
        up = torch.randn((weight.shape[0], rank, *(1 for _ in kernel)), generator=random)
        state[f"{key}.lora_down.weight"] = (down / down[0].numel() ** 0.5).half()
        state[f"{key}.lora_up.weight"] = (0.3 * up / rank**0.5).half()
        state[f"{key}.alpha"] = torch.tensor(alpha).half()
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(state, path)
    return path
