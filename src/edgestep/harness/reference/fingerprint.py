"""torch and a device -> the fingerprint of what drew a reference: driver, libraries and the switches that change it."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_DRIVER = Path("/proc/driver/nvidia/version")


@dataclass(frozen=True)
class Fingerprint:
    """What PyTorch drew on. Strings are "" where they do not apply or are not known; `threads` 0 likewise.

    `device`: cpu, cuda or mps; `name`: the GPU's; `driver`: NVIDIA's; `cuda` and `cudnn`: the versions that torch was
    built with. `tf32_matmul` and `tf32_cudnn`: whether float32 was computed as TF32 while the cases were drawn.
    """

    device: str = ""
    name: str = ""
    driver: str = ""
    torch: str = ""
    cuda: str = ""
    cudnn: str = ""
    tf32_matmul: bool = False
    tf32_cudnn: bool = False
    threads: int = 0


def fingerprint_from_torch(torch: Any, device: str) -> Fingerprint:
    """Return the fingerprint as torch stands now: call it while the switches are as they were for the cases."""
    cuda = device == "cuda"
    return Fingerprint(
        device=device,
        name=accelerator_name(torch, device),
        driver=_driver() if cuda else "",
        torch=str(torch.__version__),
        cuda=str(torch.version.cuda or "") if cuda else "",
        cudnn=str(torch.backends.cudnn.version() or "") if cuda else "",
        tf32_matmul=cuda and bool(torch.backends.cuda.matmul.allow_tf32),
        tf32_cudnn=cuda and bool(torch.backends.cudnn.allow_tf32),
        threads=torch.get_num_threads(),
    )


def accelerator_name(torch: Any, device: str) -> str:
    """Return the GPU's name, "" on the CPU."""
    if device == "cuda":
        return str(torch.cuda.get_device_name())
    return "Apple GPU (MPS)" if device == "mps" else ""


def _driver() -> str:
    """NVIDIA's kernel module says it where there is a /proc; elsewhere it stays unknown."""
    if not _DRIVER.is_file():
        return ""
    match = re.search(r"\b\d{3}\.\d+(?:\.\d+)?\b", _DRIVER.read_text(errors="replace"))
    return match[0] if match else ""
