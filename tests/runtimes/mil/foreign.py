"""Small models of other people's classes at random weights, converted by coremltools alone."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from edgestep.mlpackage.tools import silenced
from edgestep.runtimes.mil_evaluator import MilEvaluator


@dataclass(frozen=True)
class Foreign:
    """`make` returns the module and its inputs; `target` is the oldest system that the program is for.

    `exported`: by torch.export; else by torch.jit.trace, as most people convert, which coremltools cannot always read.
    """

    make: Callable[[], tuple[nn.Module, tuple[torch.Tensor, ...]]]
    target: str = "iOS15"
    exported: bool = False


class First(nn.Module):
    """A model of transformers or diffusers as a module of tensors: the first of what it returns."""

    def __init__(self, model: nn.Module, **constants: Any) -> None:
        super().__init__()
        self.model, self.constants = model, constants

    def forward(self, *args: torch.Tensor) -> torch.Tensor:
        return self.model(*args, return_dict=False, **self.constants)[0]


class Causal(nn.Module):
    """A decoder of text that is handed its mask: what makes one inside, coremltools cannot read."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return self.model(tokens, attention_mask=mask, use_cache=False, return_dict=False)[0]


def causal_mask(length: int = 12) -> torch.Tensor:
    return torch.full((1, 1, length, length), -1e4).triu(1)


def pixels(size: int = 64, channels: int = 3) -> torch.Tensor:
    return torch.randn(1, channels, size, size)


def ids(length: int = 12, vocabulary: int = 99) -> torch.Tensor:
    return torch.randint(3, vocabulary, (1, length), dtype=torch.int32)


TEXT = {"vocab_size": 99, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}


def resnet() -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
    from transformers import ResNetConfig, ResNetModel

    config = ResNetConfig(embedding_size=16, hidden_sizes=[16, 32, 48], depths=[1, 2, 1], layer_type="bottleneck")
    return First(ResNetModel(config)), (pixels(),)


def mobilenet_v2() -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
    from transformers import MobileNetV2Config, MobileNetV2Model

    return First(MobileNetV2Model(MobileNetV2Config(depth_multiplier=0.35, image_size=64))), (pixels(),)


def efficientnet() -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
    from transformers import EfficientNetConfig, EfficientNetModel

    config = EfficientNetConfig(
        image_size=64,
        hidden_dim=640,
        width_coefficient=0.5,
        depth_coefficient=0.4,
        num_block_repeats=[1, 1, 1],
        in_channels=[32, 16, 24],
        out_channels=[16, 24, 40],
        kernel_sizes=[3, 3, 5],
        strides=[1, 2, 2],
        expand_ratios=[1, 6, 6],
        depthwise_padding=[],
    )
    return First(EfficientNetModel(config)), (pixels(),)


def convnext() -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
    from transformers import ConvNextConfig, ConvNextModel

    return First(ConvNextModel(ConvNextConfig(hidden_sizes=[16, 24, 32, 48], depths=[1, 1, 2, 1]))), (pixels(),)


def regnet() -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
    from transformers import RegNetConfig, RegNetModel

    config = RegNetConfig(embedding_size=16, hidden_sizes=[16, 32], depths=[1, 1], groups_width=8)
    return First(RegNetModel(config)), (pixels(),)


def vit() -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
    from transformers import ViTConfig, ViTModel

    sizes = {k: v for k, v in TEXT.items() if k != "vocab_size"}
    return First(ViTModel(ViTConfig(**sizes, image_size=32, patch_size=8))), (pixels(32),)


def swin() -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
    from transformers import SwinConfig, SwinModel

    config = SwinConfig(image_size=32, patch_size=2, embed_dim=16, depths=[2, 2], num_heads=[2, 4], window_size=4)
    return First(SwinModel(config)), (pixels(32),)


def segformer() -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
    from transformers import SegformerConfig, SegformerForSemanticSegmentation

    config = SegformerConfig(
        num_encoder_blocks=2,
        depths=[1, 1],
        sr_ratios=[4, 1],
        hidden_sizes=[16, 32],
        patch_sizes=[7, 3],
        strides=[4, 2],
        num_attention_heads=[1, 2],
        mlp_ratios=[2, 2],
        decoder_hidden_size=24,
    )
    return First(SegformerForSemanticSegmentation(config)), (pixels(),)


def bert() -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
    from transformers import BertConfig, BertModel

    return First(BertModel(BertConfig(**TEXT))), (ids(), torch.ones(1, 12, dtype=torch.int32))


def distilbert() -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
    from transformers import DistilBertConfig, DistilBertModel

    config = DistilBertConfig(vocab_size=99, dim=32, n_layers=2, n_heads=4, hidden_dim=64)
    return First(DistilBertModel(config)), (ids(), torch.ones(1, 12, dtype=torch.int32))


def gpt2() -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
    from transformers import GPT2Config, GPT2Model

    config = GPT2Config(vocab_size=99, n_embd=32, n_layer=2, n_head=4, n_positions=32, attn_implementation="eager")
    return Causal(GPT2Model(config)), (ids(), causal_mask())


def clip_text() -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
    from transformers import CLIPTextConfig, CLIPTextModel

    return First(CLIPTextModel(CLIPTextConfig(**TEXT, eos_token_id=2, bos_token_id=1))), (ids(),)


def clip_vision() -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
    from transformers import CLIPVisionConfig, CLIPVisionModel

    sizes = {k: v for k, v in TEXT.items() if k != "vocab_size"}
    return First(CLIPVisionModel(CLIPVisionConfig(**sizes, image_size=32, patch_size=8))), (pixels(32),)


def t5_encoder() -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
    from transformers import T5Config, T5EncoderModel

    config = T5Config(vocab_size=99, d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4)
    return First(T5EncoderModel(config)), (ids(),)


def whisper_encoder() -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
    from transformers import WhisperConfig
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

    config = WhisperConfig(
        d_model=32, encoder_layers=2, encoder_attention_heads=4, encoder_ffn_dim=64, max_source_positions=40
    )
    return First(WhisperEncoder(config)), (torch.randn(1, 80, 80),)


def wav2vec2() -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
    from transformers import Wav2Vec2Config, Wav2Vec2Model

    sizes = {k: v for k, v in TEXT.items() if k != "vocab_size"}
    config = Wav2Vec2Config(
        **sizes,
        conv_dim=(16, 16, 16),
        conv_kernel=(10, 3, 3),
        conv_stride=(5, 2, 2),
        num_feat_extract_layers=3,
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=4,
    )
    return First(Wav2Vec2Model(config)), (torch.randn(1, 1600),)


def llama() -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
    from transformers import LlamaConfig, LlamaModel

    config = LlamaConfig(**TEXT, num_key_value_heads=2, max_position_embeddings=32, attn_implementation="eager")
    return Causal(LlamaModel(config)), (ids(), causal_mask())


def unet() -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
    from diffusers import UNet2DConditionModel

    model = UNet2DConditionModel(
        sample_size=16,
        block_out_channels=(16, 32),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=32,
        attention_head_dim=4,
        norm_num_groups=8,
    )
    return First(model), (torch.randn(1, 4, 16, 16), torch.tensor([999.0]), torch.randn(1, 7, 32))


def vae_decoder() -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
    from diffusers import AutoencoderKL

    model = AutoencoderKL(
        block_out_channels=(16, 32),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        norm_num_groups=8,
        latent_channels=4,
    )
    model.forward = model.decode
    return First(model), (torch.randn(1, 4, 8, 8),)


def recurrent() -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
    class Tagger(nn.Module):
        """Embedding, two-way LSTM, GRU, linear: a tagger as of 2016."""

        def __init__(self) -> None:
            super().__init__()
            self.embed, self.lstm = nn.Embedding(99, 16), nn.LSTM(16, 12, batch_first=True, bidirectional=True)
            self.gru, self.out = nn.GRU(24, 10, batch_first=True), nn.Linear(10, 5)

        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            return self.out(self.gru(self.lstm(self.embed(tokens))[0])[0]).log_softmax(-1)

    return Tagger(), (ids(),)


def super_resolution() -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
    module = nn.Sequential(
        nn.Conv2d(3, 16, 5, padding="same", padding_mode="reflect"),
        nn.PReLU(16),
        nn.Conv2d(16, 27, 3, padding=1),
        nn.PixelShuffle(3),
        nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False),
        nn.ConvTranspose2d(3, 3, 4, stride=2, padding=1),
        nn.AvgPool2d(2, ceil_mode=True),
        nn.Hardswish(),
    )
    return module, (pixels(9),)


FOREIGN: dict[str, Foreign] = {
    "ResNet (transformers)": Foreign(resnet),
    "MobileNetV2 (transformers)": Foreign(mobilenet_v2),
    "EfficientNet (transformers)": Foreign(efficientnet, "iOS16"),
    "ConvNeXt (transformers)": Foreign(convnext, "iOS17"),
    "RegNet (transformers)": Foreign(regnet),
    "ViT (transformers)": Foreign(vit, "iOS18"),
    "Swin (transformers)": Foreign(swin, "iOS16", exported=True),
    "SegFormer (transformers)": Foreign(segformer, "iOS17"),
    "BERT (transformers)": Foreign(bert, "iOS18", exported=True),
    "DistilBERT (transformers)": Foreign(distilbert),
    "GPT-2 (transformers)": Foreign(gpt2, "iOS16", exported=True),
    "CLIP text (transformers)": Foreign(clip_text, "iOS17", exported=True),
    "CLIP vision (transformers)": Foreign(clip_vision, "iOS18"),
    "T5 encoder (transformers)": Foreign(t5_encoder, "iOS16", exported=True),
    "Whisper encoder (transformers)": Foreign(whisper_encoder, "iOS18"),
    "wav2vec 2.0 (transformers)": Foreign(wav2vec2, "iOS17"),
    "Llama (transformers)": Foreign(llama, "iOS18", exported=True),
    "UNet2DConditionModel (diffusers)": Foreign(unet, "iOS15", exported=True),
    "AutoencoderKL decoder (diffusers)": Foreign(vae_decoder, "iOS16", exported=True),
    "LSTM and GRU tagger (torch.nn)": Foreign(recurrent),
    "super-resolution (torch.nn)": Foreign(super_resolution, "iOS17"),
}
"""What a reader knows it by -> how it is made."""


def sqnr_of(name: str, folder: Path) -> float:
    """Convert with coremltools' defaults but float32, evaluate, and return dB against the PyTorch module."""
    import coremltools as ct

    foreign = FOREIGN[name]
    torch.manual_seed(0)
    module, inputs = foreign.make()
    module = _settled(module, inputs)
    with torch.no_grad():
        want = module(*inputs).numpy()
        program = _exported(module, inputs) if foreign.exported else torch.jit.trace(module, inputs, check_trace=False)
    names = [f"x{i}" for i in range(len(inputs))]
    with silenced():
        model = ct.convert(
            program,
            inputs=[
                ct.TensorType(name=name, shape=x.shape, dtype=x.numpy().dtype.type)
                for name, x in zip(names, inputs, strict=True)
            ],
            convert_to="mlprogram",
            minimum_deployment_target=getattr(ct.target, foreign.target),
            compute_precision=ct.precision.FLOAT32,
            skip_model_load=True,
        )
    path = folder / f"{name.split(' ', maxsplit=1)[0]}.mlpackage"
    model.save(str(path))
    with MilEvaluator(path, numerics="fp32") as session:
        (got,) = session.run({name: x.numpy() for name, x in zip(names, inputs, strict=True)}).values()
    assert got.shape == want.shape and want.std() > 0
    error = np.square(want.astype(np.float64) - got).sum()
    return float(10 * np.log10(np.square(want.astype(np.float64)).sum() / error)) if error else np.inf


def _settled(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> nn.Module:
    """Return it in eval mode, its batch norms with the statistics of these inputs: else activations die out."""
    norms = [part for part in module.modules() if isinstance(part, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = None
    if norms:
        with torch.no_grad():
            module.train()(*inputs)
    return module.eval()


def _exported(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> torch.export.ExportedProgram:
    program = torch.export.export(module, inputs, strict=False).run_decompositions({})
    for node in list(program.graph.nodes):  # what computes nothing, and coremltools 9 does not know
        if str(node.target) in ("aten.alias.default", "aten._assert_tensor_metadata.default"):
            if node.users:
                node.replace_all_uses_with(node.args[0])
            program.graph.erase_node(node)
    program.graph_module.recompile()
    return program
