"""Writing a component as ONNX, turning it into float16, and holding it against PyTorch."""

import logging
import tempfile
import warnings
from pathlib import Path

import numpy
import onnx
import onnxruntime
import torch
from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16

import symbolics
from components import Component

OPSET = 17
symbolics.register(OPSET)
# Protocol buffers end at 2 GiB; weights beyond this lie beside the graph.
LARGEST_FILE = 1_900_000_000
EXTERNAL_DATA = "model.onnx_data"
logging.getLogger("onnxruntime.transformers.float16").setLevel(logging.ERROR)

# Angles of hundreds have no fraction left in float16, and squares overflow.
IN_FLOAT32 = ["Sin", "Cos", "Pow", "ReduceMean", "Sqrt"]
# Relative to the largest number of the output.
TOLERANCE = {"fp32": 1e-3, "fp16": 5e-2}


class Wrapper(torch.nn.Module):
    def __init__(self, module: torch.nn.Module, call):
        super().__init__()
        self.module = module
        self.call = call

    def forward(self, *tensors):
        return self.call(self.module, *tensors)


def write(component: Component, out: Path, dtype: str, external: bool) -> Path:
    """Writes `out`/FOLDER/model.onnx (and model.onnx_data). Returns its path."""
    folder = out / component.folder
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "model.onnx"
    with torch.no_grad(), warnings.catch_warnings():
        # The tracer warns of every size that it takes for a constant; `compare` runs other sizes than the traced ones.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            Wrapper(component.module, component.call).eval(),
            tuple(component.inputs.values()),
            str(path),
            input_names=list(component.inputs),
            output_names=component.outputs,
            dynamic_axes=component.dynamic_axes,
            opset_version=OPSET,
            dynamo=False,
        )
    model = to_float16(path, component.keep_float32) if dtype == "fp16" else onnx.load(str(path))
    for leftover in folder.iterdir():
        if leftover.suffix not in (".json", ".txt"):
            leftover.unlink()
    if external or model.ByteSize() > LARGEST_FILE:
        onnx.save(model, str(path), save_as_external_data=True, location=EXTERNAL_DATA, size_threshold=1024)
    else:
        onnx.save(model, str(path))
    return path


def to_float16(path: Path, keep_float32: list[str]) -> onnx.ModelProto:
    """Weights and computation in float16; what is made of the inputs in `keep_float32` stays float32 up to its sines and cosines."""
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        # By path, since a model beyond 2 GiB has no other way of having its shapes inferred.
        inferred = Path(folder) / "inferred.onnx"
        onnx.shape_inference.infer_shapes_path(str(path), str(inferred))
        model = onnx.load(str(inferred), load_external_data=False)
    onnx.load_external_data_for_model(model, str(path.parent))
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
    """Names of the nodes between these inputs and the sines and cosines of them, with the constants that they read."""
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
    """float32 -> float16 -> float32 between two nodes that both stay float32 would round what they are to keep."""

    def casts(to: int) -> dict[str, onnx.NodeProto]:
        return {
            node.output[0]: node
            for node in graph.node
            if node.op_type == "Cast" and any(attribute.name == "to" and attribute.i == to for attribute in node.attribute)
        }

    # Only casts that the conversion put there come from float32 for certain; these are its names for them.
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


def compare(component: Component, path: Path, dtype: str) -> float:
    """Largest difference between graph and module, relative to the output's largest number, on another batch size.

    Raises RuntimeError when it is large.
    """
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    batched = {name for name, axes in component.dynamic_axes.items() if axes.get(0) == "batch"}
    tensors = {
        name: torch.cat([tensor, tensor[:1]]) if name in batched else tensor for name, tensor in component.inputs.items()
    }
    with torch.no_grad():
        wanted = component.call(component.module, *tensors.values())
    types = {value.name: numpy.float16 for value in session.get_inputs() if value.type == "tensor(float16)"}
    feeds = {
        value.name: tensors[value.name].numpy().astype(types.get(value.name, tensors[value.name].numpy().dtype))
        for value in session.get_inputs()
    }
    got = session.run(component.outputs, feeds)
    largest = 0.0
    for name, expected, actual in zip(component.outputs, wanted, got):
        expected = expected.numpy()
        difference = float(numpy.abs(expected - actual.astype(numpy.float32)).max() / numpy.abs(expected).max())
        largest = max(largest, difference)
        if not difference <= TOLERANCE[dtype]:
            raise RuntimeError(
                f"{path}: {name} differs from PyTorch by {difference:.2e} of its largest number ({TOLERANCE[dtype]:.0e} "
                f"is accepted). The bundle is not sound; try --dtype fp32, and report the model."
            )
    return largest
