"""Pipeline class -> Base: which components a checkpoint of it has, and which classes of them are exported."""

from collections.abc import Mapping
from dataclasses import dataclass, field

CLIP = ("CLIPTextModel", "CLIPTextModelWithProjection")
UNET = ("UNet2DConditionModel",)
KL = ("AutoencoderKL", "AutoencoderTiny")
CLIP_TOKENIZERS = ("CLIPTokenizer", "CLIPTokenizerFast")
MODEL, DIFFUSERS = "model", "diffusion_pytorch_model"
"""Stem of the weight files that transformers and that diffusers write."""
PICKLE_STEMS = {MODEL: "pytorch_model", DIFFUSERS: DIFFUSERS}
CLIP_IDS = ("text_model.embeddings.position_ids",)
"""A buffer that older transformers stored: 0, 1, 2, ... and no weight."""


@dataclass(frozen=True)
class Part:
    """A component with weights: its folder holds config.json and files named after `stem`.

    `classes`: what it may be; `rename`: older or wider class -> the class that is built from the same weights.
    `extras`: tensors that published files have and the class does not need.
    """

    classes: tuple[str, ...]
    stem: str
    rename: Mapping[str, str] = field(default_factory=dict)
    extras: tuple[str, ...] = ()


@dataclass(frozen=True)
class Base:
    """One kind of pipeline. `denoiser` is the folder of its network, `tokenizers`: folder -> classes.

    `null`: keys of the denoiser's config that must be null, because each adds an input or a path that no graph here
    has. `equal`: keys that must have one value.
    """

    name: str
    pipelines: tuple[str, ...]
    denoiser: str
    parts: Mapping[str, Part]
    tokenizers: Mapping[str, tuple[str, ...]]
    null: tuple[str, ...] = ()
    equal: Mapping[str, object] = field(default_factory=dict)

    @property
    def says(self) -> str:
        """What is expected, in words, for messages."""
        parts = ", ".join(f"{name} ({' or '.join(part.classes)})" for name, part in self.parts.items())
        return f"a {' or '.join(self.pipelines)} of {parts}"


def _clip() -> Part:
    return Part(CLIP, MODEL, extras=CLIP_IDS)


_UNET_NULL = (
    "class_embed_type",
    "encoder_hid_dim",
    "encoder_hid_dim_type",
    "timestep_post_act",
    "dual_cross_attention",
)

BASES: dict[str, Base] = {
    "sd": Base(
        name="sd",
        pipelines=("StableDiffusionPipeline", "LatentConsistencyModelPipeline", "RectifiedFlowPipeline"),
        denoiser="unet",
        parts={"text_encoder": _clip(), "unet": Part(UNET, DIFFUSERS), "vae": Part(KL, DIFFUSERS)},
        tokenizers={"tokenizer": CLIP_TOKENIZERS},
        null=("addition_embed_type", *_UNET_NULL),
        equal={"resnet_time_scale_shift": "default"},
    ),
    "sdxl": Base(
        name="sdxl",
        pipelines=("StableDiffusionXLPipeline",),
        denoiser="unet",
        parts={
            "text_encoder": _clip(),
            "text_encoder_2": Part(("CLIPTextModelWithProjection",), MODEL, extras=CLIP_IDS),
            "unet": Part(UNET, DIFFUSERS),
            "vae": Part(KL, DIFFUSERS),
        },
        tokenizers={"tokenizer": CLIP_TOKENIZERS, "tokenizer_2": CLIP_TOKENIZERS},
        null=_UNET_NULL,
        equal={"resnet_time_scale_shift": "default", "addition_embed_type": "text_time"},
    ),
    "pixart": Base(
        name="pixart",
        pipelines=("PixArtAlphaPipeline",),
        denoiser="transformer",
        parts={
            "text_encoder": Part(("T5EncoderModel",), MODEL, extras=("lm_head.weight",)),
            "transformer": Part(
                ("PixArtTransformer2DModel", "Transformer2DModel"),
                DIFFUSERS,
                rename={"Transformer2DModel": "PixArtTransformer2DModel"},
                # PixArt's own position embedding is computed; conversions stored it all the same.
                extras=("pos_embed.pos_embed",),
            ),
            "vae": Part(KL, DIFFUSERS),
        },
        tokenizers={"tokenizer": ("T5Tokenizer", "T5TokenizerFast")},
        equal={"norm_type": "ada_norm_single"},
    ),
    "sana": Base(
        name="sana",
        pipelines=("SanaSprintPipeline",),
        denoiser="transformer",
        parts={
            "text_encoder": Part(
                ("Gemma2Model", "Gemma2ForCausalLM"),
                MODEL,
                rename={"Gemma2ForCausalLM": "Gemma2Model"},
                extras=("lm_head.weight",),
            ),
            "transformer": Part(("SanaTransformer2DModel",), DIFFUSERS),
            "vae": Part(("AutoencoderDC",), DIFFUSERS),
        },
        tokenizers={"tokenizer": ("GemmaTokenizer", "GemmaTokenizerFast")},
        equal={"guidance_embeds": True},
    ),
}
"""Name of a base -> what it consists of. Components that are not named here (safety_checker ...) are not read."""


def base_of_pipeline(pipeline_class: object) -> Base | None:
    """Return the base that a model_index.json's `_class_name` belongs to, or None."""
    return next((base for base in BASES.values() if pipeline_class in base.pipelines), None)
