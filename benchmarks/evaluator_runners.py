"""What the timed processes of mil_evaluator.py run: one network by the evaluator, and the same one by PyTorch."""

from pathlib import Path
from typing import Any

import numpy as np


def noise_named(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Return standard normal float32 numbers, the same for a name in every process."""
    return np.random.default_rng(list(name.encode())).standard_normal(shape, dtype=np.float32)


def feeds_of(specs: Any) -> dict[str, np.ndarray]:
    """Return noise for every float input, ones for ids."""
    return {s.name: noise_named(s.name, s.shape) if s.dtype == "float32" else np.ones(s.shape, s.dtype) for s in specs}


class EvaluatorRunner:
    """A .mlpackage by the evaluator; its first output is left in `saved`, a .npy."""

    def __init__(self, package: str, numerics: str, threads: int, saved: str) -> None:
        self.package, self.numerics, self.threads, self.saved = Path(package), numerics, threads, Path(saved)

    def imports(self) -> None:
        """Import torch and the evaluator."""
        import torch  # noqa: F401

        import edgestep.runtimes.mil.interpreter  # noqa: F401

    def load(self) -> float | None:
        """Open the package; nothing is compiled."""
        from edgestep.runtimes.mil_evaluator import MilEvaluator

        self.session = MilEvaluator(self.package, numerics=self.numerics, threads=self.threads)
        self.feeds = feeds_of(self.session.inputs)
        np.save(self.saved, next(iter(self.session.run(self.feeds).values())))
        return None

    def draw(self) -> dict[str, float]:
        """Run once."""
        self.session.run(self.feeds)
        return {}

    def close(self) -> None:
        """Nothing to close: the process ends."""


class EagerRunner:
    """What both PyTorch sides share: a checkpoint's folder, float32, its first output in `saved`."""

    def __init__(self, checkpoint: str, threads: int, saved: str) -> None:
        self.folder, self.threads, self.saved = Path(checkpoint), threads, Path(saved)

    def imports(self) -> None:
        """Import torch and diffusers, and set the number of threads."""
        import torch
        from diffusers import StableDiffusionPipeline  # noqa: F401

        torch.set_num_threads(self.threads)

    def load(self) -> float | None:
        """Load the weights; eager PyTorch compiles nothing."""
        import torch

        self.open()
        with torch.inference_mode():
            np.save(self.saved, self.run())
        return None

    def draw(self) -> dict[str, float]:
        """Run once."""
        import torch

        with torch.inference_mode():
            self.run()
        return {}

    def open(self) -> None:
        """Load the network, and make what it is fed."""
        raise NotImplementedError

    def run(self) -> np.ndarray:
        """Return the first output."""
        raise NotImplementedError

    def close(self) -> None:
        """Nothing to close: the process ends."""


class UNetRunner(EagerRunner):
    """The UNet alone, its time embedding too, fed as the package in Apple's layout is."""

    def open(self) -> None:
        """Load the UNet."""
        import torch
        from diffusers import UNet2DConditionModel

        from edgestep.export.coreml.apple import apple_io
        from edgestep.export.graph.io import Shapes
        from edgestep.export.recipe.contract import contract_from_checkpoint
        from edgestep.export.source.checkpoint import open_checkpoint

        opened = open_checkpoint(self.folder)
        contract = contract_from_checkpoint(opened)
        feeds = feeds_of(apple_io("unet", Shapes(contract, opened.configs))[0])
        states = torch.from_numpy(feeds["encoder_hidden_states"]).squeeze(2).transpose(1, 2).contiguous()
        self.feeds = (torch.from_numpy(feeds["sample"]), contract.timestep, states)
        self.unet = UNet2DConditionModel.from_pretrained(self.folder / "unet", torch_dtype=torch.float32).eval()

    def run(self) -> np.ndarray:
        """Return what the UNet predicts."""
        return self.unet(*self.feeds, return_dict=False)[0].numpy()


class PipelineRunner(EagerRunner):
    """Ids and noise to uint8 picture: what the fused package does."""

    def open(self) -> None:
        """Load the pipeline."""
        import torch

        from edgestep.harness.reference.torch_one_step import TorchOneStep

        self.model = TorchOneStep(self.folder)
        self.ids = np.ones((1, self.model.prompt_tokens), np.int64)
        self.noise = torch.from_numpy(noise_named("noise", (1, *self.model.latent_shape)))

    def run(self) -> np.ndarray:
        """Return the picture."""
        told = self.model.conditioning(input_ids=self.ids)
        image = self.model.decode(self.model.denoise(self.noise, told["prompt_embeds"]))
        return (image * 255).round().astype(np.uint8)
