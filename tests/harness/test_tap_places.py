"""Which value is which tap, on graphs written by hand: what is ambiguous or folded is told, never guessed."""

from edgestep.harness.bisection.segments import segments_of
from edgestep.harness.bisection.tap_places import (
    FOLDED,
    GRAPH_INPUT,
    NO_NAME,
    NO_OPERATION,
    OTHER_CALLS,
    SEVERAL,
    Graph,
    Place,
    place_taps,
)
from edgestep.harness.reference.taps import Tap
from edgestep.runtimes.probe import GraphNode, GraphView, constants_of

SHAPE = (1, 8, 4, 4)


def node(name: str, *inputs: str, op: str = "", shape: tuple[int, ...] = SHAPE) -> tuple[GraphNode, tuple[int, ...]]:
    kind = op or name.rpartition("/")[2].partition("_")[0]
    return GraphNode(name, kind, inputs, (f"{name}.out",)), shape


def view(*made: tuple[GraphNode, tuple[int, ...]], output: str = "") -> GraphView:
    nodes = tuple(one for one, _ in made)
    constants = constants_of(nodes, {"weight"})
    shapes = {one.outputs[0]: shape for one, shape in made} | {"x": SHAPE}
    return GraphView(nodes, ("x",), {"y": output or nodes[-1].outputs[0]}, shapes, constants)


def tap(module: str, port: str, call: int = 0, *, leaf: bool = True, sha: str = "", shape=SHAPE) -> Tap:
    return Tap("unet", module, port, call, leaf, shape, {"case-00": sha or f"{module} {port} {call}"})


def placed(graph: GraphView, *taps: Tap) -> tuple[dict[str, str], dict[str, str]]:
    """Return value -> tap, and tap -> reason."""
    places, missing = place_taps(Graph(graph), taps, {})
    return {p.value: p.tap.sha256["case-00"] for p in places}, {m.tap.sha256["case-00"]: m.reason for m in missing}


RESNET = view(
    node("u.conv1/Conv", "x", "weight"),
    node("u.act/Sigmoid", "u.conv1/Conv.out"),
    node("u.act/Mul", "u.conv1/Conv.out", "u.act/Sigmoid.out"),
    node("u.conv2/Conv", "u.act/Mul.out", "weight"),
    node("u.act/Sigmoid_2", "u.conv2/Conv.out"),
    node("u.act/Mul_2", "u.conv2/Conv.out", "u.act/Sigmoid_2.out"),
    node("u/Add", "u.act/Mul_2.out", "x"),
)


def test_calls_of_one_module_are_told_apart_and_the_last_value_is_the_output():
    found, missing = placed(RESNET, tap("u.act", "out", 0), tap("u.act", "out", 1), tap("u", "out", leaf=False))
    assert found == {"u.act/Mul.out": "u.act out 0", "u.act/Mul_2.out": "u.act out 1", "u/Add.out": "u out 0"}
    assert missing == {}


def test_a_call_that_was_folded_away_does_not_shift_the_others():
    time = tap("u.act", "out", 1, shape=(1, 32))
    found, missing = placed(RESNET, tap("u.act", "out", 0), time, tap("u.act", "out", 2))
    assert found == {"u.act/Mul.out": "u.act out 0", "u.act/Mul_2.out": "u.act out 2"}
    assert list(missing) == ["u.act out 1"]


def test_another_number_of_calls_is_no_match():
    _, missing = placed(RESNET, *(tap("u.act", "out", call) for call in range(3)))
    assert set(missing.values()) == {OTHER_CALLS}


def test_what_follows_counts_where_it_is_folded_in():
    taps = (tap("u.conv1", "out", sha="before"), tap("u.act", "in", sha="after"), tap("u.act", "out"))
    found, missing = placed(RESNET, *taps, tap("u.act", "out", 1))
    assert found["u.conv1/Conv.out"] == "after"
    assert missing == {"before": FOLDED}


def test_inputs_and_lost_modules_are_told():
    taps = (tap("u.conv1", "in"), tap("u.conv1", "out"), tap("u.time", "out"))
    found, missing = placed(RESNET, *taps)
    assert found == {"u.conv1/Conv.out": "u.conv1 out 0"}
    assert missing == {"u.conv1 in 0": GRAPH_INPUT, "u.time out 0": NO_OPERATION}


def test_two_values_of_one_shape_are_not_guessed():
    graph = view(
        node("a/Conv", "x"), node("b/Conv", "x"), node("m.cat/Concat", "a/Conv.out", "b/Conv.out", shape=(1, 16, 4, 4))
    )
    wide = tap("m.cat", "out", shape=(1, 16, 4, 4))
    found, missing = placed(graph, tap("m.cat", "in"), wide)
    assert missing == {"m.cat in 0": SEVERAL}
    assert found == {"m.cat/Concat.out": "m.cat out 0"}


def test_quantization_is_looked_through_in_both_formats():
    onnx = view(
        node("a.norm/Add", "x"),
        node("q", "a.norm/Add.out", op="QuantizeLinear"),
        node("dq", "q.out", op="DequantizeLinear"),
        node("a.conv/Conv", "dq.out", "weight"),
    )
    openvino = view(
        node("a.norm/Add", "x"),
        node("a.norm/Add_0_0/nncf_smooth_quant", "a.norm/Add.out", op="Multiply"),
        node("a.norm/Add/fq_output_0", "a.norm/Add_0_0/nncf_smooth_quant.out", op="FakeQuantize"),
        node("a.conv/Conv/WithoutBiases", "a.norm/Add/fq_output_0.out", "weight", op="Convolution"),
        node("a.conv/Conv", "a.conv/Conv/WithoutBiases.out", "weight", op="Add"),
    )
    for graph in (onnx, openvino):
        found, _ = placed(
            graph, tap("a.norm", "out", sha="same"), tap("a.conv", "in", sha="same"), tap("a.conv", "out")
        )
        assert found == {"a.norm/Add.out": "same", "a.conv/Conv.out": "a.conv out 0"}


def test_a_module_that_ends_in_an_output_without_a_name_is_not_guessed():
    embeddings = view(node("e.tokens/Gather", "x", "weight"), node("hidden_states.0", "e.tokens/Gather.out", "weight"))
    found, missing = placed(embeddings, tap("e", "out", leaf=False), tap("e.tokens", "out"))
    assert found == {}
    assert missing == {"e out 0": NO_NAME, "e.tokens out 0": NO_NAME}


def test_a_piece_is_called_after_what_computes_in_it():
    graph = Graph(
        view(
            node("u.q/MatMul", "x"),
            node("u/Reshape", "u.q/MatMul.out"),
            node("u/MatMul", "u/Reshape.out", "x"),
            node("u/Softmax", "u/MatMul.out"),
            node("u/Transpose", "u/Softmax.out"),
            node("Sub", "u/Transpose.out", "x"),
        )
    )
    values = ("u.q/MatMul.out", "u/Transpose.out", "Sub.out")
    places = [Place(value, tap("", "out", leaf=False), i) for i, value in enumerate(values)]
    pieces = segments_of(graph, places, "unet")
    named = {value: (piece.module, piece.op, piece.ops) for value, piece in pieces.items()}
    assert named == {
        "u.q/MatMul.out": ("u.q", "MatMul", ("MatMul",)),
        "u/Transpose.out": ("u", "Softmax", ("MatMul", "Softmax")),
        "Sub.out": ("unet", "Sub", ("Sub",)),
    }
