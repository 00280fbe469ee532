"""Data and measures -> the model card that stands in the bundled generator's folder."""

from collections.abc import Mapping
from typing import Any

HOLDERS = {
    "noto": "Google, Noto Emoji, https://github.com/googlefonts/noto-emoji",
    "classic": "Google, Noto Emoji (the older, 'blob' release), https://github.com/googlefonts/noto-emoji",
    "fluent": "Microsoft, Fluent Emoji (flat), https://github.com/microsoft/fluentui-emoji",
    "twemoji": "Twitter and contributors, Twemoji, https://github.com/jdecked/twemoji",
}


TRAINING = (
    "`edgestep distill emoji --work DIR --out DIR`: autoencoder, teacher (v-prediction, 10 % null text, EMA),\n"
    "regression on the teacher's pairs, distribution matching (DMD's objective, DMD2's two time scales)."
)


def card_from_table(data: Mapping[str, Any], table: str, autoencoder_psnr_db: float, training: str = TRAINING) -> str:
    """Return README.md: what it is, data, licences and attribution, the evaluation's table, limits, how it was made."""
    packages = "\n".join(
        f"| `{style}` | {HOLDERS[style]} | {about['licence']} | {about['version']} |"
        for style, about in data["packages"].items()
    )
    return TEMPLATE.format(
        concepts=len(data["concepts"]), pictures=len(data["rows"]), packages=packages, table=table,
        psnr=autoencoder_psnr_db, training=training, names=", ".join(data["concepts"]),
    )  # fmt: skip


TEMPLATE = """---
license: cc-by-4.0
family: emoji
library_name: diffusers
pipeline_tag: text-to-image
---

# edgestep emoji

A one-step text-to-image generator: a prompt and noise in, a 64 x 64 emoji out, in a single evaluation of an 8.8 M
parameter UNet. It is shaped exactly like Stable Diffusion 1.5 (CLIPTextModel, UNet2DConditionModel, AutoencoderKL,
LCMScheduler), so that everything that runs it runs the large ones too. It was trained from nothing.

Prompts: a concept, alone or with a style: `grinning face`, `twemoji pizza`, `noto emoji of a red heart`, `cat face in
fluent style`, `a classic drawing of rainbow`. No classifier-free guidance: the guidance is distilled in.

| style | artwork | licence | npm package version |
|---|---|---|---|
{packages}

{pictures} pictures of {concepts} concepts. The weights carry what they learned from all four sources; they are
offered under CC BY 4.0, the strictest of them, with the attribution above.

## Measures

In the features of a small classifier of the same pictures (`emoji_judge`, shipped beside this): Fréchet distance and
KID to the real pictures, precision and recall, how often the picture shows the prompt's concept, on prompts worded as
in training and as it never saw, and how much one prompt's pictures differ, relative to the teacher's. Same prompts
and noise for all; 95 % intervals in brackets.

{table}

The autoencoder (64 x 64 x 3 to 8 x 8 x 16) returns pictures that it was not trained on at {psnr:.1f} dB; thin lines and
small text blur. The networks have seen each picture thousands of times: they draw these emoji, and not new ones.
Concepts that are not listed below come out as something near them, or as blobs. Data: no person's likeness, no text
from the web.

## Training

{training}

## Concepts

{names}
"""
