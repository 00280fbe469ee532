"""TorchOneStep -> taps: forward hooks on every module of the text encoders, the denoiser and the decoder.

Of a module without modules inside, what it reads and gives is recorded; of the others what they give, where that is one
tensor. A later step of a loop is a component of its own, unet_2, as in an artifact.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgestep.harness.reference.bundle import ReferenceCase
from edgestep.harness.reference.taps import IN, OUT, Recorded, Tap, sha256_of_array
from edgestep.harness.reference.torch_one_step import TorchOneStep

LARGEST_BYTES = 1 << 28
"""Tensors above are left out, and the pieces between taps are larger there: a decoder of 1024 x 1024 pictures has some
of 512 MB."""
PASSES = ("Dropout", "Identity")
"""Modules that do nothing when a model draws."""

Key = tuple[str, str, str, int, bool]
"""Component, module, port, call, leaf."""


@dataclass
class _Run:
    """What hooks see of one case. `step` counts the denoiser's calls, `calls` those of each module since."""

    seen: dict[Key, np.ndarray] = field(default_factory=dict)
    calls: Counter[str] = field(default_factory=Counter)
    step: int = 0
    too_large: int = 0

    def keep(self, key: Key, tensor: Any) -> None:
        """Record one tensor of numbers; anything else is passed over."""
        if not hasattr(tensor, "is_floating_point") or not tensor.is_floating_point():
            return
        if tensor.numel() * 4 > LARGEST_BYTES:
            self.too_large += 1
            return
        self.seen[key] = tensor.detach().float().cpu().numpy().copy()


def record_taps(model: TorchOneStep, cases: Sequence[ReferenceCase]) -> Recorded:
    """Draw the cases once more and return what the modules read and gave, float32 whatever the precision."""
    names = tuple(case.name for case in cases)
    shas: dict[Key, dict[str, str]] = {}
    shapes: dict[Key, tuple[int, ...]] = {}
    tensors: dict[str, np.ndarray] = {}
    too_large = 0
    for case in cases:
        with _hooked(model) as run:
            model.draw(**case.inputs)
        too_large = max(too_large, run.too_large)
        for key, array in run.seen.items():
            sha = sha256_of_array(array)
            tensors[sha] = array
            shas.setdefault(key, {})[case.name] = sha
            shapes[key] = array.shape
    kept = [key for key, of in shas.items() if len(of) == len(names)]
    taps = tuple(Tap(*key, shapes[key], shas[key]) for key in kept)
    used = {sha for tap in taps for sha in tap.sha256.values()}
    return Recorded(names, taps, {sha: tensors[sha] for sha in used}, too_large)


@contextmanager
def _hooked(model: TorchOneStep) -> Iterator[_Run]:
    """Within the block every call of every module is seen."""
    run, handles = _Run(), []
    try:
        for component, prefix, root in _roots(model.pipe):
            handles += _hooks(run, component, prefix, root)
        yield run
    finally:
        for handle in handles:
            handle.remove()


def _roots(pipe: Any) -> Iterable[tuple[str, str, Any]]:
    """Return (component, prefix of the operations' names, module) of what a pipeline calls."""
    for name in ("text_encoder", "text_encoder_2", "unet", "transformer"):
        if getattr(pipe, name, None) is not None:
            yield name, name, getattr(pipe, name)
    for name in ("post_quant_conv", "decoder"):
        if getattr(pipe.vae, name, None) is not None:
            yield "vae_decoder", f"vae.{name}", getattr(pipe.vae, name)


def _hooks(run: _Run, component: str, prefix: str, root: Any) -> list[Any]:
    """Return the handles; the root's own come first, so that they count its calls before the others look."""
    handles = [root.register_forward_pre_hook(_begun(run, component), with_kwargs=True)]
    for name, module in root.named_modules():
        if type(module).__name__.startswith(PASSES):
            continue
        path = f"{prefix}.{name}" if name else prefix
        leaf = next(module.children(), None) is None
        before, after = _before(run, component, path, leaf), _after(run, component, path, leaf)
        handles.append(module.register_forward_pre_hook(before))
        handles.append(module.register_forward_hook(after))
    return handles


def _begun(run: _Run, component: str) -> Callable[..., None]:
    def hook(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if component not in ("unet", "transformer"):
            return
        run.step += 1
        run.calls.clear()
        name = _component(run, component)
        given = args[0] if args else kwargs.get("sample", kwargs.get("hidden_states"))
        run.keep((name, name, IN, 0, False), given)

    return hook


def _component(run: _Run, component: str) -> str:
    """Return unet, and unet_2 in the second step of a loop."""
    loops = component in ("unet", "transformer") and run.step > 1
    return f"{component}_{run.step}" if loops else component


def _before(run: _Run, component: str, path: str, leaf: bool) -> Callable[..., None]:
    def hook(_: Any, args: tuple[Any, ...]) -> None:
        if leaf and args:
            run.keep(_key(run, component, path, IN, leaf), args[0])

    return hook


def _after(run: _Run, component: str, path: str, leaf: bool) -> Callable[..., None]:
    def hook(_: Any, args: tuple[Any, ...], output: Any) -> None:
        if isinstance(output, tuple | list) and len(output) == 1:
            output = output[0]
        run.keep(_key(run, component, path, OUT, leaf), output)
        run.calls[path] += 1

    return hook


def _key(run: _Run, component: str, path: str, port: str, leaf: bool) -> Key:
    name = _component(run, component)
    return name, path.replace(component, name, 1) if name != component else path, port, run.calls[path], leaf
