"""Writes a component as ONNX, converts it to float16, and compares it with PyTorch."""

import logging
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy
import onnx
import onnxruntime
import symbolics
import torch
import weights
from components import Component
from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16

OPSET = 17
symbolics.register(OPSET)
logging.getLogger("onnxruntime.transformers.float16").setLevel(logging.ERROR)

# In float16, angles of hundreds have no fraction, and squares overflow.
IN_FLOAT32 = ["Sin", "Cos", "Pow", "ReduceMean", "Sqrt"]
# Allowed difference, relative to the largest number of the output.
TOLERANCE = {"fp32": 1e-3, "fp16": 5e-2}


class Wrapper(torch.nn.Module):
    def __init__(self, module: torch.nn.Module, call):
        super().__init__()
        self.module = module
        self.call = call

    def forward(self, *tensors):
        return self.call(self.module, *tensors)


def write(component: Component, folder: Path, dtype: str, external: bool = False) -> Path:
    """Writes `folder`/model.onnx (and model.onnx_data). Returns its path.

    The graph is traced without its weights, which are then written one by one, so they are never in memory
    twice.
    Raises OverflowInHalfError when a weight does not fit into float16.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "model.onnx"
    wrapper = Wrapper(component.module, component.call).eval()
    graph = trace(wrapper, component, path)
    tensors = {
        **dict(wrapper.named_parameters(remove_duplicate=False)),
        **dict(wrapper.named_buffers(remove_duplicate=False)),
    }
    transposed = weights.fold_transposes(graph.graph, set(tensors))
    if dtype == "fp16":
        graph = to_float16(graph, component.keep_float32)
    weights.attach(graph, tensors, transposed, path, external)
    return path


def trace(wrapper: Wrapper, component: Component, path: Path) -> onnx.ModelProto:
    """Traces the graph. Its weights are inputs with their names in the module."""
    with torch.no_grad(), warnings.catch_warnings():
        # The tracer warns for every size that it treats as a constant. `compare` runs other sizes
        # than the traced ones.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            wrapper,
            tuple(component.inputs.values()),
            str(path),
            input_names=list(component.inputs),
            output_names=component.outputs,
            dynamic_axes=component.dynamic_axes,
            opset_version=OPSET,
            dynamo=False,
            export_params=False,
            # Constant folding would replace weights, which are found by their names later.
            do_constant_folding=False,
        )
    graph = onnx.load(str(path))
    path.unlink()
    return graph


def to_float16(model: onnx.ModelProto, keep_float32: list[str]) -> onnx.ModelProto:
    """Converts weights and computation to float16. Values derived from the inputs in `keep_float32` stay
    float32 up to their sines and cosines.
    """
    model = onnx.shape_inference.infer_shapes(model)
    present = [value.name for value in model.graph.input if value.name in keep_float32]
    half = convert_float_to_float16(
        model,
        keep_io_types=present,
        disable_shape_infer=True,
        op_block_list=[*DEFAULT_OP_BLOCK_LIST, *IN_FLOAT32],
        node_block_list=angles(model.graph, present),
    )
    drop_round_trips(half.graph)
    return half


def angles(graph: onnx.GraphProto, inputs: list[str]) -> list[str]:
    """Names of the nodes between these inputs and their sines and cosines, and of the constants that they
    read.
    """
    constants = {node.output[0]: node.name for node in graph.node if node.op_type == "Constant"}
    reached = set(inputs)
    names = []
    for node in graph.node:
        if reached.isdisjoint(node.input):
            continue
        names += [node.name, *(constants[name] for name in node.input if name in constants)]
        if node.op_type not in ("Sin", "Cos"):
            reached.update(node.output)
    return names


def drop_round_trips(graph: onnx.GraphProto) -> None:
    """Removes casts float32 -> float16 -> float32 between two nodes that stay float32, because they would
    round the values.
    """

    def casts(to: int) -> dict[str, onnx.NodeProto]:
        return {
            node.output[0]: node
            for node in graph.node
            if node.op_type == "Cast"
            and any(attribute.name == "to" and attribute.i == to for attribute in node.attribute)
        }

    # Only casts with these names were added by the conversion, so their inputs are float32.
    down = {
        name: node
        for name, node in casts(onnx.TensorProto.FLOAT16).items()
        if node.input[0].endswith("_cast_to_fp16") or node.name.startswith("graph_input_cast")
    }
    up = casts(onnx.TensorProto.FLOAT)
    source = {name: down[node.input[0]].input[0] for name, node in up.items() if node.input[0] in down}
    for node in graph.node:
        for i, name in enumerate(node.input):
            node.input[i] = source.get(name, name)
    used = {name for node in graph.node for name in node.input} | {value.name for value in graph.output}
    unused = [node for node in graph.node if node.op_type == "Cast" and node.output[0] not in used]
    while unused:
        for node in unused:
            graph.node.remove(node)
        used = {name for node in graph.node for name in node.input} | {value.name for value in graph.output}
        unused = [node for node in graph.node if node.op_type == "Cast" and node.output[0] not in used]


@dataclass(frozen=True)
class Reference:
    """Outputs of PyTorch for sample inputs of a component, with another batch size than the traced one."""

    outputs: list[str]
    tensors: dict[str, torch.Tensor]
    wanted: list[numpy.ndarray]


def reference(component: Component) -> Reference:
    """Computes the reference. Call it before the module is freed: then graph and module need not be in memory
    together.
    """
    batched = {name for name, axes in component.dynamic_axes.items() if axes.get(0) == "batch"}
    tensors = {
        name: torch.cat([tensor, tensor[:1]]) if name in batched else tensor
        for name, tensor in component.inputs.items()
    }
    with torch.no_grad():
        wanted = [tensor.numpy() for tensor in component.call(component.module, *tensors.values())]
    return Reference(component.outputs, tensors, wanted)


def compare(expected: Reference, path: Path, dtype: str) -> float:
    """Returns the largest difference between graph and module, relative to the largest number of the output.

    Raises OverflowInHalfError when the graph overflows, RuntimeError when the difference is large.
    """
    options = onnxruntime.SessionOptions()
    # Fully optimized graphs store most weights a second time, in another layout.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.add_session_config_entry("session.disable_prepacking", "1")
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    types = {value.name: numpy.float16 for value in session.get_inputs() if value.type == "tensor(float16)"}
    feeds = {
        value.name: expected.tensors[value.name]
        .numpy()
        .astype(types.get(value.name, expected.tensors[value.name].numpy().dtype))
        for value in session.get_inputs()
    }
    got = session.run(expected.outputs, feeds)
    largest = 0.0
    for name, wanted, actual in zip(expected.outputs, expected.wanted, got, strict=True):
        if not numpy.isfinite(actual).all():
            raise weights.OverflowInHalfError(
                f"{path}: {name} has numbers that are not finite, and PyTorch's in float32 has none; "
                "export this part in fp32 (--vae-dtype, --dtype)."
            )
        difference = float(numpy.abs(wanted - actual.astype(numpy.float32)).max() / numpy.abs(wanted).max())
        largest = max(largest, difference)
        if not difference <= TOLERANCE[dtype]:
            raise RuntimeError(
                f"{path}: {name} differs from PyTorch by {difference:.2e} of its largest number "
                f"({TOLERANCE[dtype]:.0e} "
                f"is accepted). The bundle is not sound; try --dtype fp32, and report the model."
            )
    return largest
