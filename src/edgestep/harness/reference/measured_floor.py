"""PyTorch model and the cases that it drew -> the floor: how far PyTorch is from itself, by row and measure.

Rows: fp32 drawn again; on the CPU fp32 on another number of threads; on CUDA fp32 with TF32; on a GPU fp32 on the CPU;
fp16 and bf16. Measures: SQNR of embeddings and x0, PSNR and SSIM of the picture, both sensitivities; the worst case.
Which cases and rows there are depends on the model's size alone, never on a clock: equal machines record equal floors.
"""

from collections.abc import Callable, Sequence

from edgestep.harness.parity.floor import BF16, CPU_FP32, FP16, FP32_AGAIN, FP32_OTHER_THREADS, TF32
from edgestep.harness.parity.gates import (
    EMBEDDINGS_SQNR,
    IMAGE_PSNR,
    IMAGE_SSIM,
    NOISE_SENSITIVITY,
    PROMPT_SENSITIVITY,
    X0_SQNR,
    Gate,
)
from edgestep.harness.parity.judge import judge
from edgestep.harness.reference.bundle import ReferenceCase
from edgestep.harness.reference.torch_one_step import TorchOneStep
from edgestep.harness.reference.torch_pipeline import models_of
from edgestep.runtimes.drawing import Drawing

FLOOR_CASES = 3
"""Of a model that is not small: enough for a pair of each sensitivity."""
SMALL = 50e6
"""Parameters up to which every case is drawn again in every row."""
HALF_ON_CPU = 200e6
"""Parameters up to which fp16 and bf16 are drawn on a CPU, which may take ten times as long as fp32 there."""
HALF_CASES = 4
"""Cases of fp16 and bf16 on a CPU at most."""
MEASURED = (
    Gate(EMBEDDINGS_SQNR),
    Gate(X0_SQNR),
    Gate(IMAGE_PSNR),
    Gate(IMAGE_SSIM),
    Gate(PROMPT_SENSITIVITY, 1.0, 1.0),
    Gate(NOISE_SENSITIVITY, 1.0, 1.0),
)
"""What the floor is taken on; a sensitivity's worst is the one farthest from 1."""

Tell = Callable[[str], None]


def measure_floor(
    model: TorchOneStep, cases: Sequence[ReferenceCase], tell: Tell = lambda _: None
) -> tuple[dict[str, float], tuple[str, ...]]:
    """Return {"fp16 x0_sqnr_db": worst, ...}, and notes on what of it was not measured and why."""
    size = _parameters(model)
    drawn = cases if size <= SMALL else cases[:FLOOR_CASES]
    notes = [f"floor: the worst of the first {len(drawn)} of {len(cases)} cases"]
    rows: list[tuple[str, Callable[[], dict[str, float]]]] = [(FP32_AGAIN, lambda: _compared(model, drawn))]
    if model.device == "cpu":
        rows.append((FP32_OTHER_THREADS, lambda: _on_other_threads(model, drawn)))
    else:
        rows.append((CPU_FP32, lambda: _compared(model.again(device="cpu"), drawn)))
    if model.device == "cuda":
        rows.append((TF32, lambda: _in_tf32(model, drawn)))
    if model.device == "cpu" and size > HALF_ON_CPU:
        notes.append(f"fp16 and bf16 not measured: {size / 1e6:.0f} million parameters on a CPU")
    else:
        some = drawn[:HALF_CASES] if model.device == "cpu" else drawn
        rows += [(half, lambda half=half: _compared(model.again(precision=half), some)) for half in (FP16, BF16)]
        if len(some) < len(drawn):
            notes.append(f"fp16 and bf16: the worst of the first {len(some)}")
    floor: dict[str, float] = {}
    for row, measure in rows:
        tell(f"reference: the floor, {row}")
        try:
            floor |= {f"{row} {name}": value for name, value in measure().items()}
        except (RuntimeError, NotImplementedError) as error:  # an operator that this device lacks in this type
            notes.append(f"{row} not measured: {str(error).splitlines()[0]}")
    return floor, tuple(notes)


def _compared(model: TorchOneStep, cases: Sequence[ReferenceCase]) -> dict[str, float]:
    drawings = []
    for case in cases:
        one = model.draw(**case.inputs)
        drawings.append(Drawing(one.prompt_embeds, one.x0, None, one.picture))
    results = judge(cases, drawings, MEASURED, fused=False)
    measured = {gate.measure for gate in MEASURED}
    return {r.measure: round(r.worst, _digits(r.measure)) for r in results if r.measure in measured and r.count}


def _on_other_threads(model: TorchOneStep, cases: Sequence[ReferenceCase]) -> dict[str, float]:
    threads = model.torch.get_num_threads()
    model.torch.set_num_threads(1 if threads > 1 else 2)
    try:
        return _compared(model, cases)
    finally:
        model.torch.set_num_threads(threads)


def _in_tf32(model: TorchOneStep, cases: Sequence[ReferenceCase]) -> dict[str, float]:
    backends = model.torch.backends
    backends.cuda.matmul.allow_tf32 = backends.cudnn.allow_tf32 = True
    try:
        return _compared(model, cases)
    finally:
        backends.cuda.matmul.allow_tf32 = backends.cudnn.allow_tf32 = False


def _parameters(model: TorchOneStep) -> int:
    return sum(parameter.numel() for part in models_of(model.pipe) for parameter in part.parameters())


def _digits(measure: str) -> int:
    return 2 if measure.endswith("_db") else 6
