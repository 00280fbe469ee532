"""Schedulers of diffusers that the formulas are compared with."""

from diffusers import DDIMScheduler


def ddim(prediction: str) -> DDIMScheduler:
    """Stable Diffusion's betas, trailing steps."""
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type=prediction,
        clip_sample=False,
        set_alpha_to_one=True,
        steps_offset=1,
        timestep_spacing="trailing",
    )
