"""How a Core ML export is made for a device: attention's form, the compute unit it is for, the oldest system."""

from dataclasses import dataclass, replace

from edgestep.artifact import BadInput

PLAIN, SDPA, SPLIT_EINSUM = "plain", "sdpa", "split-einsum"
ATTENTIONS = (PLAIN, SDPA, SPLIT_EINSUM)
COMPUTE_UNITS = ("all", "cpu", "gpu", "ane")
DEPLOYMENT_TARGETS = {"iOS17": 8, "macOS14": 8, "iOS18": 9, "macOS15": 9}
"""Deployment target -> Core ML's specification version, 9 for what iOS 18 brought."""
NEWEST = 9
UNET_BASES = ("sd", "sdxl")
PHONE_MIB = 1024
"""The most MiB of weights in one package for the Neural Engine of a phone."""


@dataclass(frozen=True)
class CoreMLOptions:
    """`attention`: plain, sdpa, split-einsum, or "" for what suits the compute unit: see `resolved`.

    `chunk_mib`: the most MiB of weights in one package of the denoiser, 0 for no limit, None for what suits the device.
    `sizes`: more pictures, (H, W), that the fused form draws, each by a function of its own.
    """

    attention: str = ""
    compute_unit: str = "all"
    deployment_target: str = "iOS17"
    chunk_mib: int | None = None
    sizes: tuple[tuple[int, int], ...] = ()

    @property
    def is_newest(self) -> bool:
        """Tell whether iOS 18's operations may be used: fused attention, 4-bit blocks."""
        return DEPLOYMENT_TARGETS[self.deployment_target] >= NEWEST

    @property
    def told(self) -> dict[str, str]:
        """What manifests and packages say of it: name -> text."""
        told = {"attention": self.attention, "compute_unit": self.compute_unit}
        told["deployment_target"] = self.deployment_target
        more = {"chunk_mib": str(self.chunk_mib)} if self.chunk_mib else {}
        return told | more | ({"sizes": " ".join(f"{h}x{w}" for h, w in self.sizes)} if self.sizes else {})


def resolved(options: CoreMLOptions, base: str) -> CoreMLOptions:
    """Return them with an attention form: split-einsum for the Neural Engine where the base has a UNet, sdpa for GPUs
    from iOS 18 on, else plain. Raises BadInput for a name that is not known, and for a form that cannot be had there.
    """
    _check(options.compute_unit, COMPUTE_UNITS, "--compute-unit")
    _check(options.deployment_target, tuple(DEPLOYMENT_TARGETS), "--deployment-target")
    attention = options.attention or _suiting(options, base)
    _check(attention, ATTENTIONS, "--attention")
    if attention == SDPA and not options.is_newest:
        raise BadInput(
            f"got --attention sdpa for {options.deployment_target}; expected iOS18 or macOS15, which have the fused "
            "operation; give --deployment-target iOS18, or --attention plain"
        )
    if attention == SPLIT_EINSUM and base not in UNET_BASES:
        raise BadInput(
            f"got --attention split-einsum for {base}; expected a base with a UNet ({', '.join(UNET_BASES)}); "
            "give --attention plain"
        )
    _check_sizes(options)
    return replace(options, attention=attention, chunk_mib=_chunk_mib(options))


def check_layout(options: CoreMLOptions, layout: str) -> None:
    """Raise BadInput for pieces of the fused form, and for several sizes of the split one."""
    if options.chunk_mib and layout == "fused":
        raise BadInput("got --chunk-mib for the fused form; expected the split one; give --layout split")
    if options.sizes and layout == "split":
        raise BadInput("got --also-size for the split form; expected the fused one; give --layout fused")


def _suiting(options: CoreMLOptions, base: str) -> str:
    if options.compute_unit == "ane":
        return SPLIT_EINSUM if base in UNET_BASES else PLAIN
    return SDPA if options.is_newest and options.compute_unit in ("all", "gpu") else PLAIN


def _chunk_mib(options: CoreMLOptions) -> int:
    """Return the limit that was given, else that of a phone's Neural Engine, else none."""
    if options.chunk_mib is None:
        return PHONE_MIB if options.compute_unit == "ane" and options.deployment_target.startswith("iOS") else 0
    if options.chunk_mib < 0:
        raise BadInput(f"got --chunk-mib {options.chunk_mib}; expected MiB, or 0 for no limit; {PHONE_MIB} is usual")
    return options.chunk_mib


def _check_sizes(options: CoreMLOptions) -> None:
    if options.sizes and not options.is_newest:
        raise BadInput(
            f"got --also-size for {options.deployment_target}; expected iOS18 or macOS15, from which on a package has "
            "several functions; give --deployment-target iOS18, or export once per --size"
        )
    if options.sizes and options.chunk_mib:
        raise BadInput("got --also-size with --chunk-mib; expected one of them; the fused form is not cut")


def _check(got: str, known: tuple[str, ...], option: str) -> None:
    if got not in known:
        raise BadInput(f"got {option} {got}; expected one of {', '.join(known)}; choose one")
