"""Two graphs, float and quantized, under a runtime's profiler -> the nanoseconds of each module in each.

Of every operation the fastest of some runs counts: what else the machine does only ever adds. Rounding to integers and
back belongs to the module that makes a tensor, where that is quantized, else to the one that reads it.
"""

import json
import re
import tempfile
from collections import defaultdict
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edgestep.artifact import BadInput
from edgestep.quantize.floats import module_path

RUNS = 12
REST = ""
"""The module of what belongs to none."""
_ADDED = re.compile(r"(_token_\d+|_nchwc|_kernel_time|_quant|_QuantizeLinear|_DequantizeLinear|_q|_dq)+$")
"""What ONNX Runtime and its quantizer put behind the name of a node or a tensor."""

Feed = Mapping[str, np.ndarray]


def module_times(file: Path, feed: Feed, modules: Collection[str], runs: int = RUNS) -> dict[str, int]:
    """Return {module: nanoseconds} of one run on one thread, REST among them; `modules` are those that are told apart.

    `file` is an .onnx or an OpenVINO .xml; raises BadInput for another.
    """
    if file.suffix == ".onnx":
        fastest, named = _onnx_events(file, feed, runs), _onnx_modules(file, modules)
    elif file.suffix == ".xml":
        fastest, named = _openvino_events(file, feed, runs), {}
    else:
        raise BadInput(f"got {file}; expected an .onnx or .xml file; profile that")
    found: dict[str, int] = defaultdict(int)
    for event, nanoseconds in fastest.items():
        found[_module_of(event, named, modules)] += nanoseconds
    return dict(found)


def _module_of(event: str, named: Mapping[str, str], modules: Collection[str]) -> str:
    bare = _ADDED.sub("", event)
    path = module_path(bare)
    return path if path in modules else named.get(bare, REST)


def _onnx_events(file: Path, feed: Feed, runs: int) -> dict[str, int]:
    """Return {event: nanoseconds}, the fastest of `runs`, by ONNX Runtime's profiler, which counts microseconds."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.enable_profiling = True
    with tempfile.TemporaryDirectory() as folder:
        options.profile_file_prefix = str(Path(folder) / "profile")
        session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        for _ in range(runs):
            session.run(None, dict(feed))
        events = json.loads(Path(session.end_profiling()).read_text())
    spent: dict[str, list[int]] = defaultdict(list)
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            spent[event["name"]].append(1000 * event["dur"])
    return {name: min(each) for name, each in spent.items()}


def _onnx_modules(file: Path, modules: Collection[str]) -> dict[str, str]:
    """Return {tensor: module} of the tensors that only one of `modules` makes, or else reads."""
    import onnx

    graph = onnx.load(file, load_external_data=False).graph
    read: dict[str, set[str]] = defaultdict(set)
    made: dict[str, str] = {}
    for node in reversed(graph.node):  # from the outputs: a rounding's reader is known before it
        path = module_path(node.name)
        mine = {path} if path in modules else set().union(*(read[name] for name in node.output))
        if path in modules:
            made.update((name, path) for name in node.output)
        if path in modules or node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            for name in node.input:
                read[name] |= mine
    found = {name: next(iter(paths)) for name, paths in read.items() if len(paths) == 1}
    return {_ADDED.sub("", name): path for name, path in {**found, **made}.items()}


def _openvino_events(file: Path, feed: Feed, runs: int) -> dict[str, int]:
    """Return {operation: nanoseconds}, the fastest of `runs`, by OpenVINO's counters."""
    import openvino

    config: dict[str, Any] = {
        "PERF_COUNT": "YES",
        "INFERENCE_NUM_THREADS": 1,
        "INFERENCE_PRECISION_HINT": "f32",
        "PERFORMANCE_HINT": "LATENCY",
    }
    core = openvino.Core()
    request = core.compile_model(core.read_model(file), "CPU", config).create_infer_request()
    spent: dict[str, list[int]] = defaultdict(list)
    for _ in range(runs):
        request.infer(dict(feed))
        for info in request.profiling_info:
            if info.status == openvino.ProfilingInfo.Status.EXECUTED:
                spent[info.node_name].append(int(info.real_time.total_seconds() * 1e9))
    return {name: min(each) for name, each in spent.items()}
