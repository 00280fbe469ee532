"""Data and measures -> the model card that stands in the bundled generator's folder."""

from collections.abc import Mapping
from typing import Any

HOLDERS = {
    "noto": "Google, Noto Emoji, https://github.com/googlefonts/noto-emoji",
    "classic": "Google, Noto Emoji (the older, 'blob' release), https://github.com/googlefonts/noto-emoji",
    "fluent": "Microsoft, Fluent Emoji (flat), https://github.com/microsoft/fluentui-emoji",
    "twemoji": "Twitter and contributors, Twemoji, https://github.com/jdecked/twemoji",
}


def card_from_measures(data: Mapping[str, Any], measures: Mapping[str, Mapping[str, Any]]) -> str:
    """Return README.md: what it is, data, licences and attribution, measures, limits."""
    packages = "\n".join(
        f"| `{style}` | {HOLDERS[style]} | {about['licence']} | {about['version']} |"
        for style, about in data["packages"].items()
    )
    rows = "\n".join(
        f"| {name} | {row['nfe']} | {100 * row['top1']:.1f} % | {100 * row['top5']:.1f} % |"
        for name, row in measures.items()
    )
    return TEMPLATE.format(
        concepts=len(data["concepts"]), pictures=len(data["rows"]), packages=packages, rows=rows,
        names=", ".join(data["concepts"]),
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
LCMScheduler), so that everything that runs it runs the large ones too. It was trained from nothing on a CPU.

Prompts: a concept, alone or after a style: `grinning face`, `twemoji pizza`, `noto red heart`, `fluent cat face`,
`classic rainbow`. No classifier-free guidance: the guidance is distilled in.

| style | artwork | licence | npm package version |
|---|---|---|---|
{packages}

{pictures} pictures of {concepts} concepts. The weights carry what they learned from all four sources; they are
offered under CC BY 4.0, the strictest of them, with the attribution above.

## Measures

The share of drawn pictures whose nearest one or five pictures of the data show the prompt's concept (16 x 16
thumbnails), same prompts and noise for all:

| drawn by | network evaluations | top 1 | top 5 |
|---|---|---|---|
{rows}

The autoencoder limits the detail (64 x 64 x 3 to 8 x 8 x 16); thin lines and small text blur. Concepts that are not
listed below come out as something near them, or as blobs. Data: no person's likeness, no text from the web.

## Training

`edgestep distill emoji --work DIR --out DIR`: autoencoder, teacher (v-prediction, 10 % null text, EMA), regression on
the teacher's pairs, distribution matching (DMD's objective, DMD2's two time scales). Sizes and rates: `recipe.py`.

The bundled weights took two hours on two CPU cores that had other work to do as well: autoencoder 26 minutes,
teacher 66, pairs 5, regression 7, matching 17. The teacher was stopped and resumed a few times with another number of
steps, so its learning rate did not follow one cosine. It is the limit: the student draws as its teacher does.

## Concepts

{names}
"""
