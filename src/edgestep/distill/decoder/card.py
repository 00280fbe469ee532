"""Measures -> the model card that stands in a tiny decoder's folder."""

from edgestep.distill.decoder.measure import DecoderMeasures
from edgestep.distill.decoder.recipe import DecoderRecipe


def card_from_measures(
    name: str, licence: str, measures: DecoderMeasures, recipe: DecoderRecipe, channels: int, with_data: bool
) -> str:
    """Return README.md for the tiny decoder of the checkpoint `name`, which is under `licence`."""
    latents = "fresh ones, which the generator draws from its prompts"
    if with_data:
        latents += f", and a share of {recipe.data_share:g} from the data"
    frechet = "not measured"
    if measures.frechet is not None and measures.frechet_apart is not None:
        frechet = f"{measures.frechet:.4g} (two halves of the VAE's own pictures: {measures.frechet_apart:.4g})"
    return TEMPLATE.format(
        name=name, licence=licence, m=measures, ratio=100 * measures.flops_ratio, frechet=frechet, latents=latents,
        flops=measures.flops / 1e6, vae_flops=measures.vae_flops / 1e6, ms=1e3 * measures.seconds,
        vae_ms=1e3 * measures.vae_seconds, blocks=", ".join(map(str, recipe.blocks)), channels=channels, recipe=recipe,
    )  # fmt: skip


TEMPLATE = """---
license: {licence}
library_name: diffusers
---

# A tiny decoder for {name}

It takes the place of the VAE decoder of {name}: the same latents in, nearly the same pictures out. **It is an
approximation**: what is drawn with it is not what the checkpoint's own VAE draws, and no parity is claimed with that.

    edgestep export {name} --decoder THIS_FOLDER ...

## Against the VAE decoder's pictures

{m.pictures} latents of the one-step generator, from noise that training did not draw; pictures in float32, weights as
they are stored here.

| measure | value |
|---|---|
| PSNR over all pictures | {m.psnr_db:.2f} dB |
| PSNR, the mean of each picture's | {m.psnr_mean_db:.2f} dB; one in twenty is below {m.psnr_low_db:.2f} dB |
| SSIM | {m.ssim:.4f} |
| Fréchet distance to the VAE's pictures, in the features of the emoji judge | {frechet} |
| operations of a picture | {flops:.1f} M, {ratio:.1f} % of the VAE decoder's {vae_flops:.1f} M |
| weights | {m.parameters:,} of {m.vae_parameters:,} |
| time of a picture ({m.device}, PyTorch) | {ms:.2f} ms; VAE decoder {vae_ms:.2f} ms |

## How it was made

`AutoencoderTiny`, the shape of TAESD: {channels} channels, residual blocks {blocks} from the latents' size up.
Trained by `edgestep distill decoder` for {recipe.steps} steps of {recipe.batch} latents:
{latents}.
The loss is the squared error against the VAE's pictures at three sizes, and a little absolute error. No other network
is in it.

Only the decoder is trained. The shape demands an encoder; this one is all zeros and encodes nothing.
"""
