"""What computes in float32 inside a float16 program: the formula, and the layers whose rounding it would amplify.

- whatever arithmetic stands outside a module: x_in = k_in z, x0 = k_z z - k_e F (at t = 999 an error in F is
  amplified 14.6 times), the next z of a loop, x0 / scale + shift; but not the picture's scaling, after the decoder;
- the denoiser's first and last layer;
- linear attention, which sums over all pixels without a softmax;
- norms that square what they did not centre (T5's, Gemma's, SANA's): the numbers are large there. The others are one
  operation of Core ML each.

coremltools keeps for each operation the stack trace of the node that it was made of, through every fusion. It reads
that from the node, so the node says here which module it belongs to, and the name of the operation says it too.
"""

import re
from collections import Counter
from typing import Any

FORMULA = ("add", "sub", "mul", "div", "neg", "rsub", "clamp", "clamp_min", "round")
"""ATen operators, without their overloads, that count as arithmetic outside a module."""
EDGES = re.compile(r"(unet|transformer)(_\d+)?\.(conv_in|conv_out|proj_out|pos_embed|patch_embed)\b")
NOTHING = ("aten.alias.default", "aten._assert_tensor_metadata.default")
"""Operations that compute nothing; coremltools 9 does not know the first."""
FLOAT32 = "float32: "
"""What a node's stack trace begins with where its operation is to stay float32; the module's path follows."""


def name_nodes(program: Any) -> None:
    """Name every node of an ExportedProgram after its module, in place, and note in it what is to compute in float32.

    The convolution of unet.conv_in becomes unet_conv_in, arithmetic outside of modules formula_mul, formula_sub ...
    """
    calls = [node for node in program.graph.nodes if node.op == "call_function"]
    wide, decoded, renamed = _linear_attentions(calls) | _root_mean_squares(calls), _decoded(calls), {}
    for node in calls:
        old, module = node.name, module_of(node)
        float32 = node not in decoded and _is_float32(node, module, wide)
        node.meta["stack_trace"] = (FLOAT32 if float32 else "") + module
        node._rename(_name(node, "picture" if node in decoded else "formula"))
        renamed[old] = node.name
    for spec in program.graph_signature.output_specs:
        spec.arg.name = renamed.get(spec.arg.name, spec.arg.name)


def drop_nothings(program: Any) -> None:
    """Remove the nodes that compute nothing from an ExportedProgram, in place."""
    for node in list(program.graph.nodes):
        if str(node.target) in NOTHING:
            if node.users:
                node.replace_all_uses_with(node.args[0])
            program.graph.erase_node(node)
    program.graph_module.recompile()


def in_float16(operation: Any) -> bool:
    """Tell of a MIL operation whether it is to compute in float16: coremltools' op_selector."""
    from coremltools.converters.mil.mil.scope import ScopeSource

    traces = operation.scopes.get(ScopeSource.EXIR_STACK_TRACE) or []
    return not any(trace is not None and trace.startswith(FLOAT32) for trace in traces)


def module_of(node: Any) -> str:
    """Return the path of the module that a node was captured in: unet.conv_in; "" outside of all."""
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    return stack[-1][0] if stack else ""


def _is_float32(node: Any, module: str, wide: set[str]) -> bool:
    if not module:
        return _operator(node) in FORMULA
    return module in wide or EDGES.match(module) is not None


def _decoded(nodes: list[Any]) -> set[Any]:
    """Return the nodes outside of modules that come after the decoder: they scale a picture, amplifying nothing."""
    found: set[Any] = set()
    for node in nodes:
        if not module_of(node) and any(i in found or module_of(i).startswith("vae.") for i in node.all_input_nodes):
            found.add(node)
    return found


def _operator(node: Any) -> str:
    name = getattr(node.target, "__name__", str(node.target))
    return name.partition(".")[0]


def _name(node: Any, outside: str) -> str:
    module, operator = module_of(node), _operator(node)
    path = re.sub(r"\W", "_", module)
    if not path:
        return f"{outside}_{operator}"
    main = operator in ("conv2d", "linear", "embedding", "instance_norm", "layer_norm")
    return path if main else f"{path}_{operator}"


def _linear_attentions(nodes: list[Any]) -> set[str]:
    """Return the modules that multiply matrices twice and divide, without a softmax: (Q (K^T V)) / (Q (K^T 1))."""
    return {
        module
        for module, count in _operators(nodes).items()
        if count["matmul"] + count["bmm"] >= 2 and count["div"] and not count["softmax"]
    }


def _root_mean_squares(nodes: list[Any]) -> set[str]:
    """Return the modules that take a mean and a root and subtract nothing: x / sqrt(mean(x^2))."""
    return {
        module for module, count in _operators(nodes).items() if count["mean"] and count["rsqrt"] and not count["sub"]
    }


def _operators(nodes: list[Any]) -> dict[str, Counter[str]]:
    """Return module -> how many of each operator it has itself."""
    found: dict[str, Counter[str]] = {}
    for node in nodes:
        if module := module_of(node):
            found.setdefault(module, Counter())[_operator(node)] += 1
    return found
