"""Weights of a traced graph: finds those that are to be stored transposed, and writes them into or beside the
graph.
"""

from pathlib import Path

import numpy
import onnx
import torch
from onnx import numpy_helper

# # Graphs with more bytes of weights store them in a file beside the graph, which is mapped.
# Weights # inside a graph are parsed and copied at each start, and protocol buffers are limited to
# 2 GiB.
LARGEST_INSIDE = 200_000_000
EXTERNAL_DATA = "model.onnx_data"
# Smaller weights stay inside the graph. Larger ones begin at a page, so that they can be mapped.
SMALL = 1024
PAGE = 4096


class OverflowInHalfError(RuntimeError):
    """A graph or one of its weights exceeds the range of float16 and is finite in float32."""


def fold_transposes(graph: onnx.GraphProto, names: set[str]) -> dict[str, list[int]]:
    """Removes Identity and Transpose nodes after weights. Returns the axes by which a weight is to be
        transposed before it is stored.
    A linear layer multiplies by the transpose of its weight. If the graph did that, every session would
        compute and store the transpose.

    """
    # The tracer merges equal weights into one and copies of it.
    alias = {}
    for node in [node for node in graph.node if node.op_type == "Identity"]:
        source = alias.get(node.input[0], node.input[0])
        if source in names:
            alias[node.output[0]] = source
            graph.node.remove(node)
    _rename(graph, alias)

    uses: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in set(node.input) & names:
            uses.setdefault(name, []).append(node)
    transposed, renamed, dropped = {}, {}, []
    for name, nodes in uses.items():
        axes = {tuple(_perm(node)) for node in nodes if node.op_type == "Transpose"}
        if len(axes) == 1 and all(node.op_type == "Transpose" for node in nodes):
            transposed[name] = list(axes.pop())
            renamed.update({node.output[0]: name for node in nodes})
            dropped += nodes
    for node in dropped:
        graph.node.remove(node)
    _rename(graph, renamed)
    for value in graph.input:
        if value.name in transposed:
            sizes = [value.type.tensor_type.shape.dim[axis].dim_value for axis in transposed[value.name]]
            for dim, size in zip(value.type.tensor_type.shape.dim, sizes, strict=True):
                dim.dim_value = size
    return transposed


def attach(
    model: onnx.ModelProto,
    tensors: dict[str, torch.Tensor],
    transposed: dict[str, list[int]],
    path: Path,
    external: bool,
) -> None:
    """Turns the inputs that are weights into initializers of the type that the graph declares, and writes the
    graph.

    external: whether to store weights beside the graph even if they would fit into it.
    Raises OverflowInHalfError when a weight is too large for float16.
    """
    found = [value for value in model.graph.input if value.name in tensors]
    types = {
        value.name: onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type) for value in found
    }
    total = sum(tensors[name].numel() * numpy.dtype(kind).itemsize for name, kind in types.items())
    external = external or total > LARGEST_INSIDE
    used = {name for node in model.graph.node for name in node.input}
    data = (path.parent / EXTERNAL_DATA).open("wb") if external else None
    try:
        for value in found:
            model.graph.input.remove(value)
            if value.name not in used:
                continue
            array = _array(value.name, tensors[value.name], transposed.get(value.name), types[value.name])
            if data is None or array.nbytes < SMALL:
                model.graph.initializer.append(numpy_helper.from_array(array, value.name))
            else:
                model.graph.initializer.append(_write(data, array, value.name))
    finally:
        if data:
            data.close()
    path.write_bytes(model.SerializeToString())


def _array(name: str, tensor: torch.Tensor, axes: list[int] | None, kind: numpy.dtype) -> numpy.ndarray:
    array = tensor.detach().numpy()
    array = array if axes is None else array.transpose(axes)
    with numpy.errstate(over="ignore"):
        result = numpy.ascontiguousarray(array).astype(kind, copy=False)
    if kind == numpy.float16 and not numpy.isfinite(result).all():
        raise OverflowInHalfError(
            f"{name} has a weight of {numpy.abs(array).max():.3g}, too large for float16; export this part "
            "in fp32 (--vae-dtype, --dtype)."
        )
    return result


def _write(data, array: numpy.ndarray, name: str) -> onnx.TensorProto:
    data.write(b"\0" * (-data.tell() % PAGE))
    tensor = onnx.TensorProto(
        name=name, dims=array.shape, data_type=onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
    )
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in (("location", EXTERNAL_DATA), ("offset", data.tell()), ("length", array.nbytes)):
        tensor.external_data.add(key=key, value=str(value))
    data.write(memoryview(array).cast("B"))
    return tensor


def _perm(node: onnx.NodeProto) -> list[int]:
    return next(list(attribute.ints) for attribute in node.attribute if attribute.name == "perm")


def _rename(graph: onnx.GraphProto, names: dict[str, str]) -> None:
    for node in graph.node:
        for i, name in enumerate(node.input):
            node.input[i] = names.get(name, name)
