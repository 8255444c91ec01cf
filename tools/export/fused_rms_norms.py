"""Root-mean-square norms as one node, `SimplifiedLayerNormalization`, which ONNX Runtime has beside ONNX's
operators (Zhang and Sennrich 2019, arXiv 1910.07467).

ONNX Runtime's own fusion does not find them in float16 graphs, where casts surround the squares.
"""

import onnx
from onnx import numpy_helper


class Nodes:
    """Finds the neighbors of a node across casts, which a float16 graph has between its types."""

    def __init__(self, graph: onnx.GraphProto):
        self.makers = {name: node for node in graph.node for name in node.output}
        self.weights = {tensor.name: tensor for tensor in graph.initializer}
        self.users: dict[str, list[onnx.NodeProto]] = {}
        for node in graph.node:
            for name in node.input:
                self.users.setdefault(name, []).append(node)
        self.outputs = {value.name for value in graph.output}

    def source(self, name: str) -> str:
        """The value of which `name` is a cast, or `name`."""
        while name in self.makers and self.makers[name].op_type == "Cast":
            name = self.makers[name].input[0]
        return name

    def next(self, node: onnx.NodeProto, kind: str) -> onnx.NodeProto | None:
        """The only user of a node's result, if its operator is `kind`."""
        while True:
            users = self.users.get(node.output[0], [])
            if len(users) != 1 or node.output[0] in self.outputs:
                return None
            node = users[0]
            if node.op_type != "Cast":
                return node if node.op_type == kind else None

    def number(self, name: str) -> float | None:
        """A constant of one element."""
        name = self.source(name)
        if name in self.makers and self.makers[name].op_type == "Constant":
            array = numpy_helper.to_array(self.makers[name].attribute[0].t)
            return float(array.reshape(-1)[0]) if array.size == 1 else None
        return None


def fuse(graph: onnx.GraphProto) -> int:
    """Fuses x / sqrt(mean(x^2) + eps) * weight and x * (1 / sqrt(mean(x^2) + eps)) * weight over the last
    axis. Returns how many were fused.
    """
    nodes = Nodes(graph)
    fused = {}
    for mean in graph.node:
        found = match(nodes, mean) if mean.op_type == "ReduceMean" else None
        if found is not None:
            last, root, weight, epsilon = found
            fused[last.output[0]] = onnx.helper.make_node(
                "SimplifiedLayerNormalization",
                [root, weight],
                [last.output[0]],
                name=mean.name + "_rms_norm",
                axis=-1,
                epsilon=epsilon,
                stash_type=1,
            )
    kept = [fused.get(node.output[0], node) for node in graph.node]
    del graph.node[:]
    graph.node.extend(used(kept, nodes.outputs))
    return len(fused)


def match(nodes: Nodes, mean: onnx.NodeProto) -> tuple[onnx.NodeProto, str, str, float] | None:
    """The last node, the input, the weight and epsilon of the norm around a ReduceMean, if there is one."""
    power = nodes.makers.get(nodes.source(mean.input[0]))
    axes = [list(attribute.ints) for attribute in mean.attribute if attribute.name == "axes"]
    if axes != [[-1]] or power is None or power.op_type != "Pow" or nodes.number(power.input[1]) != 2.0:
        return None
    root = nodes.source(power.input[0])
    add = nodes.next(mean, "Add")
    epsilon = None if add is None else nodes.number(add.input[1])
    sqrt = None if add is None else nodes.next(add, "Sqrt")
    divided = None if sqrt is None else nodes.next(sqrt, "Div")
    if epsilon is None or divided is None:
        return None
    normed = divided
    if nodes.number(divided.input[0]) == 1.0:
        normed = nodes.next(divided, "Mul")
    if normed is None or root not in {nodes.source(name) for name in normed.input}:
        return None
    last = nodes.next(normed, "Mul")
    weight = None if last is None else next((name for name in last.input if name in nodes.weights), None)
    if weight is None or len(nodes.weights[weight].dims) != 1:
        return None
    return last, root, weight, epsilon


def used(nodes: list[onnx.NodeProto], outputs: set[str]) -> list[onnx.NodeProto]:
    """The nodes whose results are used, in their order (the conversion to float16 leaves it not sorted)."""
    makers = {name: node for node in nodes for name in node.output}
    needed: set[str] = set()
    open_names = list(outputs)
    while open_names:
        name = open_names.pop()
        if name in makers and name not in needed:
            open_names += makers[name].input
        needed.add(name)
    return [node for node in nodes if not needed.isdisjoint(node.output)]
