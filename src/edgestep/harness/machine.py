"""What machine a figure was measured on: processor, memory, system. No host name, no user, no path."""

import os
import platform
import re
import sys
from dataclasses import dataclass
from pathlib import Path

_TELLING_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_int8", "asimd", "asimddp", "i8mm")


@dataclass(frozen=True)
class Machine:
    """`cores` are those this process may use; `flags` those instruction sets that decide INT8 speed and saturation.

    `accelerator` is the GPU's name where one was used, else "".
    """

    processor: str
    architecture: str
    cores: int
    flags: tuple[str, ...]
    memory_bytes: int
    system: str
    python: str
    accelerator: str = ""


def machine_here(accelerator: str = "") -> Machine:
    """Return the fingerprint of this machine. Unknown facts are "" or 0, never a guess."""
    info = _cpuinfo()
    named = info.get("model name") or info.get("hardware") or platform.processor() or platform.machine()
    have = set((info.get("flags") or info.get("features") or "").split())
    return Machine(
        processor=re.sub(r"\s+", " ", named).strip(),
        architecture=platform.machine(),
        cores=usable_cores(),
        flags=tuple(flag for flag in _TELLING_FLAGS if flag in have),
        memory_bytes=_memory_bytes(),
        system=f"{platform.system()} {platform.release()}".strip(),
        python=platform.python_version(),
        accelerator=accelerator,
    )


def usable_cores() -> int:
    """Return the number of cores that this process may run on."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _cpuinfo() -> dict[str, str]:
    path = Path("/proc/cpuinfo")
    if not path.is_file():
        return {}
    info: dict[str, str] = {}
    for line in path.read_text(errors="replace").splitlines():
        key, _, value = line.partition(":")
        info.setdefault(key.strip().lower(), value.strip())
    return info


def _memory_bytes() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 0
