"""Operators that PyTorch's tracing exporter does not know."""

import torch
from torch.onnx import symbolic_helper


@symbolic_helper.parse_args("v", "is", "v", "f")
def rms_norm(g, tensor, normalized_shape, weight, eps):
    """x / sqrt(mean(x^2) + eps) * weight over the last axes (Zhang and Sennrich 2019, arXiv 1910.07467)."""
    axes = [-(i + 1) for i in range(len(normalized_shape))]
    # A power and not a product: powers stay float32 in float16 graphs, where squares would
    # overflow.
    squares = g.op("Pow", tensor, g.op("Constant", value_t=torch.tensor(2.0)))
    mean = g.op("ReduceMean", squares, axes_i=axes, keepdims_i=1)
    epsilon = g.op(
        "Constant", value_t=torch.tensor(eps if eps is not None else torch.finfo(torch.float32).eps)
    )
    normalized = g.op("Div", tensor, g.op("Sqrt", g.op("Add", mean, epsilon)))
    return normalized if symbolic_helper._is_none(weight) else g.op("Mul", normalized, weight)


@symbolic_helper.parse_args("v", "i", "i", "v")
def repeat_interleave(g, tensor, repeats, dim, _output_size):
    """Repeats each element along the last axis (the exporter's own form loses the sizes of rotary
    embeddings).
    """
    rank = symbolic_helper._get_tensor_rank(tensor)
    if rank is None or dim % rank != rank - 1:
        raise NotImplementedError(f"repeat_interleave along axis {dim} of {rank}")
    columns = symbolic_helper._unsqueeze_helper(g, tensor, [rank])
    repeated = g.op("Concat", *([columns] * repeats), axis_i=rank)
    shape = g.op("Constant", value_t=torch.tensor([0] * (rank - 1) + [-1]))
    return g.op("Reshape", repeated, shape)


@symbolic_helper.parse_args("v", "i", "is")
def unflatten(g, tensor, dim, sizes):
    """Splits the last axis (the exporter's own form writes the traced batch size into the graph)."""
    rank = symbolic_helper._get_tensor_rank(tensor)
    if rank is None or dim % rank != rank - 1:
        raise NotImplementedError(f"unflatten of axis {dim} of {rank}")
    shape = g.op("Constant", value_t=torch.tensor([0] * (rank - 1) + list(sizes)))
    return g.op("Reshape", tensor, shape)


def register(opset: int) -> None:
    torch.onnx.register_custom_op_symbolic("aten::rms_norm", rms_norm, opset)
    torch.onnx.register_custom_op_symbolic("aten::repeat_interleave", repeat_interleave, opset)
    torch.onnx.register_custom_op_symbolic("aten::unflatten", unflatten, opset)
