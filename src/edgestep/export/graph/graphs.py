"""Torch models and a contract -> the one-step graphs, captured once each with torch.export at static shapes, batch 1.

text_encoder   input_ids [1,T] int64                                    -> last_hidden_state [1,T,D]
unet           sample [1,C,h,w], timestep [], encoder_hidden_states     -> out_sample [1,C,h,w], which is x0
vae_decoder    latent_sample [1,C,h,w]                                  -> sample [1,3,H,W] in [-1,1]
generator      input_ids [1,T] int64, noise [1,C,h,w]                   -> image [1,H,W,3] uint8
"""

import warnings
from collections.abc import Callable
from typing import Any

from edgestep.artifact import Component, OneStep, TensorSpec
from edgestep.export.graph.fold import fold_timestep
from edgestep.export.graph.torch_models import TorchModels, load_models, quiet
from edgestep.export.source.checkpoint import Checkpoint

LAYOUTS = {"split": ("text_encoder", "unet", "vae_decoder"), "fused": ("generator",)}
"""Layout -> its graphs."""
MASK = 3e4


class Graphs:
    """The captured graphs of one checkpoint; each is captured when it is first asked for, and kept.

    Hand the same object to every `export` of a process, so that the checkpoint is loaded and captured once.
    """

    def __init__(self, checkpoint: Checkpoint, contract: OneStep, tell: Callable[[str], None] = lambda _: None):
        self.checkpoint = checkpoint
        self.contract = contract
        self.folded_parameters = 0
        self._tell = tell
        self._models: TorchModels | None = None
        self._programs: dict[str, Any] = {}
        self.onnx_programs: dict[str, Any] = {}

    @property
    def models(self) -> TorchModels:
        """The torch models, with t folded into the UNet."""
        if self._models is None:
            self._tell("loading the checkpoint")
            self._models = load_models(self.checkpoint)
            self.folded_parameters = fold_timestep(self._models.unet, self.contract.timestep)
        return self._models

    def program(self, name: str) -> Any:
        """Return the torch.export.ExportedProgram of that graph, decompositions run."""
        if name not in self._programs:
            models = self.models
            self._tell(f"capturing {name}")
            self._programs[name] = _captured(_module(name, models, self.contract), self.component(name).inputs)
        return self._programs[name]

    def component(self, name: str, file: str = "") -> Component:
        """Return the component's names, types and shapes."""
        inputs, outputs = io_of(name, self.contract, int(self.checkpoint.configs["text_encoder"]["hidden_size"]))
        return Component(name, file, inputs, outputs)


def io_of(name: str, contract: OneStep, text_width: int) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """Return the inputs and outputs of a graph. `timestep` of the unet is not used: clients hand it over."""
    ids = TensorSpec("input_ids", "int64", (1, contract.prompt_tokens))
    latents = (1, *contract.latent_shape)
    states = (1, contract.prompt_tokens, text_width)
    height, width = contract.image_size
    table = {
        "text_encoder": ((ids,), TensorSpec("last_hidden_state", "float32", states)),
        "unet": (
            (
                TensorSpec("sample", "float32", latents),
                TensorSpec("timestep", "int64", ()),
                TensorSpec("encoder_hidden_states", "float32", states),
            ),
            TensorSpec("out_sample", "float32", latents),
        ),
        "vae_decoder": (
            (TensorSpec("latent_sample", "float32", latents),),
            TensorSpec("sample", "float32", (1, 3, height, width)),
        ),
        "generator": (
            (ids, TensorSpec("noise", "float32", latents)),
            TensorSpec("image", "uint8", (1, height, width, 3)),
        ),
    }
    inputs, output = table[name]
    return inputs, (output,)


def _captured(module: Any, inputs: tuple[TensorSpec, ...]) -> Any:
    import torch

    examples = tuple(torch.zeros(spec.shape, dtype=getattr(torch, spec.dtype)) for spec in inputs)
    with torch.no_grad(), warnings.catch_warnings(), quiet("torch.export"):
        warnings.simplefilter("ignore")
        program = torch.export.export(module.eval(), examples).run_decompositions({})
    bound_constants(program)
    return program


def bound_constants(program: Any) -> None:
    """Bring the attention mask's -3.4e38, in place, to -3e4: float16 holds that, and exp of both is 0 all the same."""
    for node in program.graph.nodes:
        if node.op == "call_function" and any(isinstance(a, float) and a < -MASK for a in node.args):
            node.args = tuple(-MASK if isinstance(a, float) and a < -MASK else a for a in node.args)
    program.graph_module.recompile()


def _module(name: str, models: TorchModels, contract: OneStep) -> Any:
    """Return the torch module of a graph.

    Submodules are called text_encoder, unet and vae in every graph: those are the prefixes of node and weight names.
    """
    import torch

    class TextEncoder(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.text_encoder = models.text_encoder

        def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
            return self.text_encoder(input_ids, return_dict=False)[0]

    class Denoiser(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.unet = models.unet

        def forward(self, sample: torch.Tensor, timestep: Any, encoder_hidden_states: torch.Tensor) -> torch.Tensor:
            return _x0(self.unet, sample, encoder_hidden_states, contract)

    class Decoder(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.vae = models.vae

        def forward(self, latent_sample: torch.Tensor) -> torch.Tensor:
            return self.vae.decode(latent_sample, return_dict=False)[0]

    class Generator(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.text_encoder, self.unet, self.vae = models.text_encoder, models.unet, models.vae

        def forward(self, input_ids: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
            states = self.text_encoder(input_ids, return_dict=False)[0]
            latents = _x0(self.unet, noise, states, contract) / contract.latent_scale
            if contract.latent_shift:
                latents = latents + contract.latent_shift
            sample = self.vae.decode(latents, return_dict=False)[0]
            pixels = torch.round((sample / 2 + 0.5).clamp(0, 1) * 255)
            return pixels.permute(0, 2, 3, 1).to(torch.uint8)

    modules = {"text_encoder": TextEncoder, "unet": Denoiser, "vae_decoder": Decoder, "generator": Generator}
    return modules[name]()


def _x0(unet: Any, z: Any, states: Any, contract: OneStep) -> Any:
    """Return k_z z - k_e F(k_in z, c). The UNet is handed t = 0: nothing in it reads t any more."""
    x_in = z if contract.k_in == 1 else contract.k_in * z
    f = unet(x_in, 0, states, return_dict=False)[0]
    return -contract.k_e * f if contract.k_z == 0 else contract.k_z * z - contract.k_e * f
