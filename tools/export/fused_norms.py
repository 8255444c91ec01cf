"""Group norms as one node, `com.microsoft.GroupNorm`, with the SiLU that follows them (CUDA, channels last).

ONNX Runtime's `FusionGroupNorm` needs two mends for the graphs of this importer.
"""

import numpy
import onnx
from onnx import TensorProto, numpy_helper
from onnxruntime.transformers.fusion_group_norm import FusionGroupNorm
from onnxruntime.transformers.fusion_transpose import FusionInsertTranspose
from onnxruntime.transformers.onnx_model import OnnxModel


def fold_unsqueezed_weights(graph: onnx.GraphProto) -> int:
    """Replaces each Unsqueeze of an initializer by an initializer. Returns how many were replaced.

    Graphs are traced without weights, so the tracer leaves the scale of a norm as Unsqueeze(weight), and the
    fusion looks for a constant [C, 1, 1].
    """
    arrays = {tensor.name: tensor for tensor in graph.initializer}
    axes = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer if tensor.dims == [1]}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            axes[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
    folded: dict[str, numpy.ndarray] = {}
    replaced = []
    # The tracer writes the inner one of two first.
    for node in graph.node:
        if node.op_type != "Unsqueeze" or node.input[1] not in axes:
            continue
        array = folded.get(node.input[0])
        if array is None and node.input[0] in arrays:
            array = numpy_helper.to_array(arrays[node.input[0]])
        if array is None:
            continue
        given = axes[node.input[1]].reshape(-1)
        folded[node.output[0]] = numpy.expand_dims(array, tuple(int(axis) for axis in given))
        replaced.append(node)
    for node in replaced:
        graph.node.remove(node)
    used = {name for node in graph.node for name in node.input}
    for name, array in folded.items():
        if name in used:
            graph.initializer.append(numpy_helper.from_array(numpy.ascontiguousarray(array), name))
    return len(replaced)


class GroupNormFusion(FusionGroupNorm):
    """`FusionGroupNorm` for float16 graphs.

    The kernel reads scale and bias as float32 whatever the graph computes in. The original declares them as
    float32 and stores the bytes of the float16 array. The kernel has no form for an odd number of channels in
    a group; such norms stay as they are.
    """

    def fuse(self, node, *maps):
        added, removed = len(self.nodes_to_add), len(self.nodes_to_remove)
        super().fuse(node, *maps)
        if any(self.has_odd_groups(new) for new in self.nodes_to_add[added:]):
            del self.nodes_to_add[added:], self.nodes_to_remove[removed:]

    def has_odd_groups(self, node: onnx.NodeProto) -> bool:
        if node.op_type != "GroupNorm":
            return False
        groups = next(attribute.i for attribute in node.attribute if attribute.name == "groups")
        return self.model.get_initializer(node.input[1]).dims[0] // groups % 2 == 1

    def add_initializer(self, name, data_type, dims, vals, raw=True):
        if data_type == TensorProto.FLOAT:
            vals = numpy.asarray(vals, numpy.float32)
        return super().add_initializer(name, data_type, dims, vals, raw)


def fuse(model: onnx.ModelProto) -> onnx.ModelProto:
    """Fuses group norms, as the optimizer does it in its step `enable_group_norm`. Changes `model`."""
    fold_unsqueezed_weights(model.graph)
    optimizer = OnnxModel(model)
    GroupNormFusion(optimizer).apply()
    FusionInsertTranspose(optimizer).apply()
    return optimizer.model
