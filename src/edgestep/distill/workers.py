"""The processes that train together, over accelerate: one CPU, one GPU, many GPUs, many nodes, one code.

Every process draws the whole global batch from the same seed and takes its share, so that the losses do not depend on
how many processes there are.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch

from edgestep.artifact import BadInput
from edgestep.distill.replay import Replayed


class Workers:
    """This process among those that train: its device, its share of a batch, the exchange of gradients."""

    def __init__(self, accelerator: Any):
        self.accelerator = accelerator
        self.device: torch.device = accelerator.device
        self.rank: int = accelerator.process_index
        self.count: int = accelerator.num_processes
        if self.device.type == "cuda":
            torch.set_float32_matmul_precision("high")  # TF32 for what is not in bf16: sampling the teacher

    @classmethod
    def of(cls, cpu: bool = False, log_folder: Path | None = None) -> "Workers":
        """Join the processes that `accelerate launch` or `torchrun` started; alone where nothing was launched.

        `cpu` keeps to the CPU where there is a GPU. `log_folder` takes TensorBoard's event files, where tensorboard
        is installed.
        """
        from accelerate import Accelerator
        from accelerate.utils import DistributedDataParallelKwargs, is_tensorboard_available

        tracked = log_folder is not None and is_tensorboard_available()
        # no buffers to broadcast: group norms keep none, and a broadcast inside a forward pass would only cost
        exchange = DistributedDataParallelKwargs(broadcast_buffers=False)
        log_with = "tensorboard" if tracked else None
        accelerator = Accelerator(cpu=cpu, log_with=log_with, project_dir=log_folder, kwargs_handlers=[exchange])
        if tracked:
            accelerator.init_trackers("curves")
        return cls(accelerator)

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and tells progress."""
        return self.accelerator.is_main_process

    def share(self, *tensors: torch.Tensor) -> Any:
        """Return this process's equal slice of each global batch, on the device: one tensor, or a tuple of them."""
        shares = tuple(self._share(tensor) for tensor in tensors)
        return shares[0] if len(shares) == 1 else shares

    def _share(self, tensor: torch.Tensor) -> torch.Tensor:
        size, rest = divmod(len(tensor), self.count)
        if rest:
            raise BadInput(
                f"got a batch of {len(tensor)} for {self.count} processes; expected a multiple of {self.count}; "
                "choose another batch size"
            )
        return tensor[self.rank * size : (self.rank + 1) * size].to(self.device, non_blocking=True)

    def noise(self, shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
        """Return this process's share of standard normal noise of the global `shape`, drawn on the device.

        The device's generator is seeded from `generator` (on the CPU): drawing there and copying costs more than a
        small network's step.
        """
        seed = int(torch.randint(2**62, (1,), generator=generator))
        there = torch.Generator(self.device).manual_seed(seed)
        return self._share(torch.randn(shape, generator=there, device=self.device))

    def module(self, module: torch.nn.Module) -> torch.nn.Module:
        """Put `module` on the device; return what to call in training, tensors in and tensors out.

        Several processes: wrapped to exchange gradients. One GPU: recorded and replayed, so its inputs must not need
        gradients. One CPU: the module itself.
        """
        module.to(self.device)
        if self.count > 1:
            return self.accelerator.prepare_model(module)
        return Replayed(module) if self.device.type == "cuda" else module

    def autocast(self) -> AbstractContextManager:
        """bf16 where the device has it, float32 on a CPU."""
        if self.device.type == "cuda" and torch.cuda.is_bf16_supported():
            return torch.autocast("cuda", torch.bfloat16)
        return nullcontext()

    def update(
        self, loss: torch.Tensor, module: torch.nn.Module, optimizer: torch.optim.Optimizer, clip: float = 1.0
    ) -> torch.Tensor:
        """Take one step down `loss`; return the gradient's norm before it was clipped to `clip`, a scalar tensor."""
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(module.parameters(), clip)
        optimizer.step()
        return norm

    def mean(self, losses: Mapping[str, torch.Tensor | float]) -> dict[str, float]:
        """Return each loss's mean over all processes."""
        if not losses:
            return {}
        scalars = [torch.as_tensor(value, dtype=torch.float32).detach() for value in losses.values()]
        values = torch.stack([scalar.to(self.device) for scalar in scalars])
        if self.count > 1:
            values = self.accelerator.reduce(values, "mean")
        return dict(zip(losses, values.tolist(), strict=True))

    def wait(self) -> None:
        """Wait until every process is here."""
        self.accelerator.wait_for_everyone()


def adamw(module: torch.nn.Module, lr: float, betas: tuple[float, float] = (0.9, 0.999)) -> torch.optim.AdamW:
    """Return AdamW over `module`'s trainable parameters: weight decay 0.01, one fused kernel on a GPU."""
    wanted = [p for p in module.parameters() if p.requires_grad]
    fused = all(p.is_cuda for p in wanted) or None
    return torch.optim.AdamW(wanted, lr=lr, weight_decay=0.01, betas=betas, fused=fused)
