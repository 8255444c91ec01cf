"""Changes to the graphs of fixtures: compact names, shared graphs, and variants of other exporters."""

import json
import shutil
from pathlib import Path

import onnx


def compact(path: Path) -> None:
    """Shortens names inside of a graph: half of a tiny graph consists of the tracer's names."""
    model = onnx.load(str(path))
    graph = model.graph
    kept = {value.name for value in [*graph.input, *graph.output]} | {""}
    short = {}

    def rename(name: str) -> str:
        return name if name in kept else short.setdefault(name, f"v{len(short)}")

    for i, node in enumerate(graph.node):
        node.name = f"n{i}"
        node.ClearField("doc_string")
        node.input[:] = [rename(name) for name in node.input]
        node.output[:] = [rename(name) for name in node.output]
    for tensor in graph.initializer:
        tensor.name = rename(tensor.name)
    del graph.value_info[:]
    onnx.save(model, str(path))


def drop_twins(target: Path, out: Path) -> None:
    """Removes graphs that equal a graph of an earlier bundle. Tests restore them from `twins.json`."""
    twins = {}
    for path in sorted(target.glob("*/model.onnx")):
        for other in sorted(out.glob("*/*/model.onnx")):
            if other.parent.parent != target and other.read_bytes() == path.read_bytes():
                twins[str(path.relative_to(target))] = str(other.relative_to(out))
                path.unlink()
                break
    if twins:
        (target / "twins.json").write_text(json.dumps(twins, indent=2) + "\n")


def make_variants(source: Path, target: Path) -> None:
    """Writes graphs as other exporters do, and one that needs much memory.

    The variants: a scalar integer timestep, a fixed batch of 1, external weights.
    """
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    graph = onnx.load(str(source / "unet" / "model.onnx"))
    timestep = next(value for value in graph.graph.input if value.name == "timestep")
    scalar_timestep(graph.graph, timestep)
    onnx.save(graph, str(target / "unet-int64-timestep.onnx"))
    graph = onnx.load(str(source / "vae_decoder" / "model.onnx"))
    onnx.save(
        graph,
        str(target / "model.onnx"),
        save_as_external_data=True,
        location="model.onnx_data",
        size_threshold=64,
    )
    (target / "model.onnx").rename(target / "vae_decoder-external.onnx")
    for name in ("vae_decoder", "unet"):
        graph = onnx.load(str(source / name / "model.onnx"))
        for value in [*graph.graph.input, *graph.graph.output]:
            dim = value.type.tensor_type.shape.dim[0]
            dim.ClearField("dim_param")
            dim.dim_value = 1
        onnx.save(graph, str(target / f"{name}-batch1.onnx"))
    graph = onnx.load(str(source / "vae_decoder" / "model.onnx"))
    large_map(graph.graph)
    onnx.save(graph, str(target / "vae_decoder-large.onnx"))


def large_map(graph) -> None:
    """Adds an intermediate result of 128 MiB for each picture, in one piece.

    It holds the maximum of the picture. The difference of both maxima, 0, is added to the picture. It is so
    large that the other memory of a process does not matter.
    """
    helper = onnx.helper
    [output] = [value.name for value in graph.output]
    for node in graph.node:
        node.output[:] = ["picture" if name == output else name for name in node.output]
    graph.initializer.append(helper.make_tensor("map_shape", onnx.TensorProto.INT64, [4], [1, 1, 8192, 4096]))
    graph.node.extend(
        [
            helper.make_node("ReduceMax", ["picture"], ["brightest"], axes=[1, 2, 3]),
            helper.make_node("Expand", ["brightest", "map_shape"], ["map"]),
            helper.make_node("ReduceMax", ["map"], ["of_map"], axes=[1, 2, 3]),
            helper.make_node("Sub", ["of_map", "brightest"], ["nothing"]),
            helper.make_node("Add", ["picture", "nothing"], [output]),
        ]
    )


def scalar_timestep(graph, value) -> None:
    """Makes the timestep a scalar int64 as optimum does; casts and expands it to the [B] of the graph."""
    for node in graph.node:
        for i, name in enumerate(node.input):
            if name == "timestep":
                node.input[i] = "timestep_rows"
    value.type.tensor_type.elem_type = onnx.TensorProto.INT64
    value.type.tensor_type.shape.ClearField("dim")
    helper = onnx.helper
    nodes = [
        helper.make_node("Cast", ["timestep"], ["timestep_float"], to=onnx.TensorProto.FLOAT),
        helper.make_node("Shape", ["sample"], ["timestep_batch"], start=0, end=1),
        helper.make_node("Expand", ["timestep_float", "timestep_batch"], ["timestep_rows"]),
    ]
    for node in reversed(nodes):
        graph.node.insert(0, node)
