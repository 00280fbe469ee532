"""The teacher's networks, untrained, and the noise schedule of Stable Diffusion."""

from diffusers import DDIMScheduler, LCMScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

from edgestep.distill.emoji.recipe import EmojiRecipe

SCHEDULE = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "prediction_type": "v_prediction",
    "clip_sample": False,
    "set_alpha_to_one": True,
    "steps_offset": 1,
}


def new_unet(recipe: EmojiRecipe) -> UNet2DConditionModel:
    """Return the untrained denoiser."""
    return UNet2DConditionModel(
        sample_size=recipe.latent_size,
        in_channels=recipe.latent_channels,
        out_channels=recipe.latent_channels,
        block_out_channels=recipe.unet_channels,
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        layers_per_block=1,
        cross_attention_dim=recipe.text_width,
        attention_head_dim=recipe.attention_heads,
        norm_num_groups=16,
    )


def new_text_encoder(recipe: EmojiRecipe, tokenizer) -> CLIPTextModel:
    """Return the untrained text encoder for that tokenizer."""
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=recipe.text_width,
            intermediate_size=4 * recipe.text_width,
            num_hidden_layers=recipe.text_layers,
            num_attention_heads=recipe.attention_heads,
            max_position_embeddings=recipe.prompt_tokens,
            projection_dim=recipe.text_width,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def teacher_scheduler() -> DDIMScheduler:
    """Return the scheduler that samples the teacher: trailing steps, so that the first one is at t = 999."""
    return DDIMScheduler(**SCHEDULE, timestep_spacing="trailing", rescale_betas_zero_snr=False)


def one_step_scheduler() -> LCMScheduler:
    """Return the scheduler that the generator is published with: diffusers draws with it in one step, no guidance."""
    return LCMScheduler(**SCHEDULE, original_inference_steps=50)
