"""Operators of ONNX Runtime (domain com.microsoft) for onnx's ReferenceEvaluator, which has none of them.

Each computes in float32 and rounds its result to the type of its input, as the CUDA kernels do.
"""

import math

import numpy
import onnx
import torch
import torch.nn.functional as functional
from graphs import Reference
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

# Largest accepted difference from PyTorch in float32, relative to the largest number of the output:
# a few roundings to the 11 bits of float16, and to the 24 bits of float32.
TOLERANCE = {"fp16": 2**-8, "fp32": 1e-5}


class ContribOperator(OpRun):
    """An operator whose `compute` takes and returns float32 tensors (or a tuple of them)."""

    op_domain = "com.microsoft"

    def _run(self, *inputs, **_attributes):
        tensors = [None if array is None else torch.from_numpy(numpy.array(array)) for array in inputs]
        results = self.compute(*(None if tensor is None else tensor.float() for tensor in tensors))
        results = results if isinstance(results, tuple) else (results,)
        rounded = [result.to(tensors[0].dtype).numpy() for result in results]
        return tuple(rounded[: len(self.onnx_node.output)])


class GroupNorm(ContribOperator):
    """[B, H, W, C], gamma [C], beta [C]."""

    def _run(self, data, gamma, beta, *rest, **attributes):
        # The kernel refuses other types.
        assert gamma.dtype == beta.dtype == numpy.float32, (gamma.dtype, beta.dtype)
        return super()._run(data, gamma, beta, *rest, **attributes)

    def compute(self, data, gamma, beta):
        assert getattr(self, "channels_last", 1) == 1
        normed = functional.group_norm(data.movedim(-1, 1), self.groups, gamma, beta, self.epsilon)
        return (functional.silu(normed) if self.activation else normed).movedim(1, -1)


class SkipGroupNorm(GroupNorm):
    """As GroupNorm, of data + skip + bias. The sum is the second result."""

    def compute(self, data, gamma, beta, skip, bias=None):
        # The CUDA kernel takes skips [B, H, W, C], [B, 1, 1, C] and [B, C].
        batch, channels = data.shape[0], data.shape[-1]
        assert skip.shape == data.shape or tuple(skip.shape) in {
            (batch, 1, 1, channels),
            (batch, channels),
        }, (skip.shape, data.shape)
        added = data + skip.reshape(batch, *([1, 1] if skip.numel() < data.numel() else skip.shape[1:3]), -1)
        added = added if bias is None else added + bias
        return super().compute(added, gamma, beta), added


class NhwcConv(ContribOperator):
    """[B, H, W, C] with weights [O, kH, kW, C / group]."""

    def compute(self, data, weight, bias=None):
        top, left, bottom, right = getattr(self, "pads", None) or [0, 0, 0, 0]
        padded = functional.pad(data.movedim(-1, 1), (left, right, top, bottom))
        result = functional.conv2d(
            padded,
            weight.movedim(-1, 1),
            bias,
            stride=tuple(getattr(self, "strides", None) or [1, 1]),
            dilation=tuple(getattr(self, "dilations", None) or [1, 1]),
            groups=getattr(self, "group", None) or 1,
        )
        return result.movedim(1, -1)


class BiasSplitGelu(ContribOperator):
    """[B, S, 2 D] -> [B, S, D]: the left half times the GELU of the right half."""

    def compute(self, data, bias):
        left, right = (data + bias).chunk(2, dim=-1)
        return left * functional.gelu(right)


class BiasAdd(ContribOperator):
    def compute(self, data, bias, skip):
        return data + bias + skip


class BiasGelu(ContribOperator):
    def compute(self, data, bias):
        return functional.gelu(data + bias)


class Gelu(ContribOperator):
    def compute(self, data):
        return functional.gelu(data)


class QuickGelu(ContribOperator):
    def compute(self, data):
        return data * torch.sigmoid(self.alpha * data)


class FastGelu(ContribOperator):
    def compute(self, data, bias=None):
        return functional.gelu(data if bias is None else data + bias, approximate="tanh")


class SimplifiedLayerNormalization(ContribOperator):
    """A root-mean-square norm over the last axis."""

    op_domain = ""

    def compute(self, data, weight):
        assert self.axis == -1
        return functional.rms_norm(data, weight.shape, weight, self.epsilon)


class SkipLayerNormalization(ContribOperator):
    """Results: norm, mean, inverse deviation (both unused here), sum."""

    def compute(self, data, skip, gamma, beta=None, bias=None):
        added = data + skip if bias is None else data + skip + bias
        empty = torch.empty(0)
        return functional.layer_norm(added, gamma.shape, gamma, beta, self.epsilon), empty, empty, added


class MultiHeadAttention(ContribOperator):
    """query [B, S, H D], key and value [B, T, H D] -> [B, S, H D]."""

    def compute(self, query, key, value):
        query, key, value = (
            tensor.unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for tensor in (query, key, value)
        )
        scores = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
        return (scores.softmax(-1) @ value).transpose(1, 2).flatten(2)


OPERATORS = [
    GroupNorm,
    SkipGroupNorm,
    NhwcConv,
    BiasSplitGelu,
    BiasAdd,
    BiasGelu,
    Gelu,
    QuickGelu,
    FastGelu,
    SimplifiedLayerNormalization,
    SkipLayerNormalization,
    MultiHeadAttention,
]


def run(model: onnx.ModelProto, feeds: dict[str, numpy.ndarray]) -> dict[str, numpy.ndarray]:
    """Outputs of a graph with operators of ONNX Runtime, by name."""
    names = [value.name for value in model.graph.output]
    return dict(zip(names, ReferenceEvaluator(model, new_ops=OPERATORS).run(names, feeds), strict=True))


def difference(model: onnx.ModelProto, expected: Reference) -> float:
    """Largest difference between a graph and PyTorch, relative to the largest number of the output."""
    types = {
        value.name: onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
        for value in model.graph.input
    }
    feeds = {name: expected.tensors[name].numpy().astype(kind) for name, kind in types.items()}
    got = run(model, feeds)
    return max(
        float(numpy.abs(got[name].astype(numpy.float32) - wanted).max() / numpy.abs(wanted).max())
        for name, wanted in zip(expected.outputs, expected.wanted, strict=True)
    )
