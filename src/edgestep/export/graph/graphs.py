"""A checkpoint and its contract -> captured graphs and the weights that go into them, read when they are written."""

import re
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

from edgestep.artifact import BadInput, Component, OneStep, TensorSpec
from edgestep.export.graph import sd, sdxl, transformers
from edgestep.export.graph.decode import can_fold_scale, decode, fold_scale, image_from_sample, latents_from_x0
from edgestep.export.graph.io import FREE, Shapes, Specs, decoder_io, examples_of, generator_io
from edgestep.export.graph.skeleton import as_fake, quiet, shapes_of, skeleton_from_config
from edgestep.export.source.checkpoint import Checkpoint
from edgestep.export.source.fit import check_fit
from edgestep.export.source.weights import Weights

BASES: dict[str, ModuleType] = {"sd": sd, "sdxl": sdxl, "pixart": transformers, "sana": transformers}
"""Base -> the file that knows its prompt, its fold and its denoiser."""
LAYOUTS = ("split", "fused")
MASK = 3e4
GUARD = 1e-8
"""What is smaller and added to a sum keeps it from being zero, and does nothing else."""


@dataclass(frozen=True, eq=False)
class Captured:
    """A torch.export.ExportedProgram with fake weights, decompositions run, and the weights by its own names."""

    program: Any
    weights: Weights
    component: Component


class Graphs:
    """The captured graphs of one checkpoint; each is captured when it is first asked for, and kept.

    Hand the same object to every `export` of a process with the same `dynamic` and `image`. No weight is in memory.
    `latents`: some x0 that the denoiser drew, float32 [1, C, h, w], by which the decoder's range in float16 is checked.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        contract: OneStep,
        tell: Callable[[str], None] = lambda _: None,
        *,
        dynamic: Iterable[str] = (),
        image: str = "uint8",
        latents: Iterable[Any] = (),
    ):
        self.checkpoint, self.contract = checkpoint, contract
        self.base = BASES[contract.base]
        self.shapes = Shapes(contract, checkpoint.configs, "batch" in dynamic, "resolution" in dynamic, image)
        self.folded_parameters = 0
        self.tell = tell
        self._captured: dict[str, Captured] = {}
        self.onnx_models: dict[str, Any] = {}
        self.derived: dict[str, Any] = {}
        self.latents = tuple(latents)
        self.ranges: dict[str, Any] = {}

    def names(self, layout: str) -> tuple[str, ...]:
        """Return the graphs of a layout, in the order in which they run."""
        if layout == "fused":
            return ("generator",)
        return (*self.base.prompt_io(self.shapes), *_denoisers(self.base.DENOISER, self.contract), "vae_decoder")

    def component(self, name: str, file: str = "") -> Component:
        """Return the component's names, types and shapes, as a client sees them."""
        inputs, outputs = self._io(name)
        # Both text encoders are fed `input_ids` where each is a model of its own.
        own = tuple(replace(s, name="input_ids") if name == "text_encoder_2" else s for s in inputs)
        return Component(name, file, own, outputs)

    def captured(self, name: str) -> Captured:
        """Return that graph. Raises BadInput where weights do not fit their config."""
        if name not in self._captured:
            self.tell(f"capturing {name}")
            self._captured[name] = self._capture(name)
        return self._captured[name]

    def real_program(self, name: str) -> Any:
        """Return a copy of the program with its weights in memory, float32: for converters that cannot stream."""
        import copy

        import torch

        captured = self.captured(name)
        program = copy.copy(captured.program)
        program._state_dict = {
            key: torch.nn.Parameter(torch.from_numpy(captured.weights[key].read()), requires_grad=False)
            if key in captured.weights
            else value
            for key, value in captured.program.state_dict.items()
        }
        return program

    def _io(self, name: str) -> tuple[Specs, Specs]:
        prompt = self.base.prompt_io(self.shapes)
        if name in prompt:
            return prompt[name]
        if name == "vae_decoder":
            return decoder_io(self.shapes)
        if name == "generator":
            return generator_io(self.shapes, _unique(spec for inputs, _ in prompt.values() for spec in inputs))
        return self.base.denoiser_io(self.shapes)

    def _capture(self, name: str) -> Captured:
        from torch._subclasses.fake_tensor import FakeTensorMode

        component = self.component(name)
        parts, weights = self._parts(name)
        mode = FakeTensorMode(allow_non_fake_inputs=True)
        for part in parts.values():
            as_fake(part, mode)
        feeds = tuple(spec.name for spec in self._io(name)[0])
        module = _module(parts, feeds, self._body(name))
        inputs = self._io(name)[0]
        program = _exported(module, inputs, self._dynamic(inputs), mode, self._decompositions())
        return Captured(program, weights, component)

    def _parts(self, name: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the torch modules of a graph by name, and their weights by dotted name."""
        prompt = tuple(self.base.prompt_io(self.shapes))
        steps = _denoisers(self.base.DENOISER, self.contract)
        wanted = (*prompt, *steps, "vae") if name == "generator" else (("vae",) if name == "vae_decoder" else (name,))
        parts: dict[str, Any] = {}
        weights: dict[str, Any] = {}
        for part in wanted:
            component = self.base.DENOISER if part in steps else part
            module, tensors = self._checked(component)
            if part in steps:
                module, tensors = self._rebuilt(*self._folded(module, tensors, steps.index(part)))
            if part == "vae" and self._scales_in_decoder(name):
                tensors = fold_scale(tensors, self.contract)
            parts[part] = module
            weights |= {f"{part}.{key}": weight for key, weight in tensors.items()}
        return parts, weights

    def _checked(self, component: str) -> tuple[Any, Weights]:
        module = skeleton_from_config(self.checkpoint.classes[component], self.checkpoint.configs[component])
        tensors = self.checkpoint.tensors[component]
        check_fit(component, shapes_of(module), tensors)
        return module, tensors

    def _folded(self, module: Any, tensors: Weights, step: int) -> tuple[Any, Weights]:
        steps = (self.contract.timestep, *(later.timestep for later in self.contract.next_steps))
        folded = self.base.fold(module, tensors, self.contract, steps[step], self.shapes)
        self.folded_parameters = folded.removed
        return module, folded.weights

    def _scales_in_decoder(self, name: str) -> bool:
        """Tell whether 1 / latent_scale goes into the decoder: clients of the split form divide themselves."""
        return name == "generator" and can_fold_scale(self.checkpoint.classes["vae"], self.contract)

    def _body(self, name: str) -> Callable[[Any, Mapping[str, Any]], Any]:
        contract, base = self.contract, self.base
        steps = _denoisers(base.DENOISER, contract)
        sample = base.denoiser_io(self.shapes)[0][0].name

        def text(graph: Any, feeds: Mapping[str, Any]) -> Any:
            return base.encode(graph, name, feeds)

        def denoise(graph: Any, feeds: Mapping[str, Any]) -> Any:
            return (_x0(base, graph, steps.index(name), feeds[sample], feeds, contract),)

        def decoder(graph: Any, feeds: Mapping[str, Any]) -> Any:
            return (decode(graph.vae, feeds["latent_sample"]),)

        def generator(graph: Any, feeds: Mapping[str, Any]) -> Any:
            latents = _looped(base, graph, feeds, contract)
            if not self._scales_in_decoder(name):
                latents = latents_from_x0(latents, contract)
            return (self._picture(graph, latents),)

        if name in steps:
            return denoise
        return {"vae_decoder": decoder, "generator": generator}.get(name, text)

    def _picture(self, graph: Any, latents: Any) -> Any:
        """Return the fused form's picture."""
        return image_from_sample(decode(graph.vae, latents), self.shapes.image)

    def _rebuilt(self, module: Any, weights: Weights) -> tuple[Any, Weights]:
        """Return the denoiser, folded, as the graph is to have it."""
        return module, weights

    def _decompositions(self) -> dict[Any, Callable[..., Any]]:
        """Return operator -> what it is taken apart into, beside what torch.export does."""
        return {}

    def _dynamic(self, specs: Specs) -> Any:
        if not (self.shapes.batch or self.shapes.resolution):
            return None
        import torch

        # Latent sizes are multiples of what the denoiser halves them by; 8 holds for every published UNet.
        factor = 2 ** (len(self.checkpoint.configs["unet"]["block_out_channels"]) - 1)
        batch = torch.export.Dim("batch", min=1, max=63)  # diffusers' upsampling takes another way from 64 on
        height, width = (torch.export.Dim(side, min=1, max=1024 // factor) * factor for side in ("height", "width"))
        return (tuple(_free_axes(spec, batch, height, width) for spec in specs),)


def _denoisers(name: str, contract: OneStep) -> tuple[str, ...]:
    return (name, *(f"{name}_{i + 2}" for i in range(len(contract.next_steps))))


def _unique(specs: Iterable[TensorSpec]) -> Specs:
    return tuple({spec.name: spec for spec in specs}.values())


def _free_axes(spec: TensorSpec, batch: Any, height: Any, width: Any) -> dict[int, Any]:
    free = [axis for axis, size in enumerate(spec.shape) if size == FREE]
    spatial = [axis for axis in free if axis >= 2 and len(spec.shape) >= 4]
    sides = dict(zip(spatial[-2:], (height, width), strict=False)) if len(spatial) >= 2 else {}
    return {axis: sides.get(axis, batch) for axis in free}


def _module(parts: Mapping[str, Any], feeds: tuple[str, ...], body: Callable[[Any, Mapping[str, Any]], Any]) -> Any:
    """Return the module of a graph; `parts` are its submodules: the prefixes of node and weight names."""
    import torch

    class Graph(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            for name, part in parts.items():
                setattr(self, name, part)

        def forward(self, *args: Any) -> Any:
            return body(self, dict(zip(feeds, args, strict=True)))

    return Graph().eval()


def _x0(base: ModuleType, graph: Any, step: int, z: Any, given: Mapping[str, Any], contract: OneStep) -> Any:
    """Return k_z z - k_e F(k_in z, c) of one step."""
    k = contract if step == 0 else contract.next_steps[step - 1]
    x_in = z if k.k_in == 1 else k.k_in * z
    f = base.predict(getattr(graph, _denoisers(base.DENOISER, contract)[step]), x_in, given, contract)
    if k.k_z == 0:
        return f if k.k_e == -1 else -k.k_e * f
    return k.k_z * z - k.k_e * f


def _looped(base: ModuleType, graph: Any, feeds: Mapping[str, Any], contract: OneStep) -> Any:
    """Return x0 of the last step, the loop unrolled."""
    given = {**feeds, **base.condition(graph, feeds)}
    z = feeds["noise"]
    x0 = _x0(base, graph, 0, z, given, contract)
    for i, step in enumerate(contract.next_steps):
        z = step.m_z * z + step.m_x * x0
        if step.m_n:
            z = z + step.m_n * feeds["more_noise"][i]
        x0 = _x0(base, graph, i + 1, z, given, contract)
    return x0


def _exported(module: Any, inputs: Specs, dynamic: Any, mode: Any, taken_apart: dict[Any, Any]) -> Any:
    import torch

    with mode:
        examples = tuple(torch.zeros(s.shape, dtype=getattr(torch, s.dtype)) for s in examples_of(inputs))
    with torch.no_grad(), warnings.catch_warnings(), quiet("torch.export", "torch._export"):
        warnings.simplefilter("ignore")
        try:
            program = torch.export.export(module, examples, dynamic_shapes=dynamic, strict=False)
            program = program.run_decompositions(taken_apart)
        except torch._dynamo.exc.UserError as error:
            reason = re.split(r"\n", str(error).strip())[0]
            raise BadInput(f"got a model whose sizes cannot be dynamic ({reason}); export fixed sizes") from error
    bound_constants(program)
    return program


def bound_constants(program: Any) -> None:
    """Mend in place what ONNX or float16 would take otherwise than torch does.

    The attention mask's -3.4e38 becomes -3e4: float16 holds that, and exp of both is 0 all the same. A squeeze of a
    size that is not 1 does nothing in torch, and is an error in ONNX (PixArt). x + 1e-15, a guard against dividing by
    zero (linear attention), would be optimized away as adding nothing: it becomes a maximum.
    """
    import torch

    aten = torch.ops.aten
    for node in list(program.graph.nodes):
        if node.op != "call_function":
            continue
        if any(isinstance(a, float) and a < -MASK for a in node.args):
            node.args = tuple(-MASK if isinstance(a, float) and a < -MASK else a for a in node.args)
        if node.target is aten.squeeze.dim and node.args[0].meta["val"].shape[node.args[1]] != 1:
            node.replace_all_uses_with(node.args[0])
        guards = node.target is aten.add.Tensor and isinstance(node.args[1], float) and 0 < node.args[1] < GUARD
        if guards and not node.kwargs:
            node.target = aten.clamp_min.default
    program.graph.eliminate_dead_code()
    program.graph_module.recompile()
