"""Attention as one node, `com.microsoft.MultiHeadAttention`, whose kernels never store the full matrix of
scores (Dao et al. 2022, arXiv 2205.14135).
ONNX Runtime has kernels for CPU, CUDA, WebGPU and DirectML.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as functional

# `fused_in_transformers` replaces the name in its module for a while.
scaled_dot_product_attention = functional.scaled_dot_product_attention


class MultiHeadAttention(torch.autograd.Function):
    """query [B, S, H * D], key and value [B, T, H * D] -> [B, S, H * D].

    Computes softmax(q k^T / sqrt(D)) v in each of H heads.
    """

    @staticmethod
    def forward(ctx, query, key, value, heads):
        parts = [tensor.unflatten(-1, (heads, -1)).transpose(1, 2) for tensor in (query, key, value)]
        return scaled_dot_product_attention(*parts).transpose(1, 2).flatten(2)

    @staticmethod
    def symbolic(g, query, key, value, heads):
        return g.op("com.microsoft::MultiHeadAttention", query, key, value, num_heads_i=heads).setType(
            query.type()
        )


class FusedProcessor:
    """Replaces diffusers' AttnProcessor2_0 by the node above. Does not support masks, which text-to-image
    pipelines do not use.
    """

    def __call__(self, attention, hidden_states, encoder_hidden_states=None, attention_mask=None, temb=None):
        if (
            attention_mask is not None
            or attention.norm_cross
            or getattr(attention, "norm_q", None) is not None
        ):
            raise NotImplementedError("masked or normed attention")
        residual, shape = hidden_states, hidden_states.shape
        if attention.spatial_norm is not None:
            hidden_states = attention.spatial_norm(hidden_states, temb)
        if len(shape) == 4:
            hidden_states = hidden_states.flatten(2).transpose(1, 2)
        if attention.group_norm is not None:
            hidden_states = attention.group_norm(hidden_states.transpose(1, 2)).transpose(1, 2)
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        mixed = MultiHeadAttention.apply(
            attention.to_q(hidden_states), attention.to_k(context), attention.to_v(context), attention.heads
        )
        mixed = attention.to_out[1](attention.to_out[0](mixed))
        if len(shape) == 4:
            mixed = mixed.transpose(1, 2).reshape(shape)
        if attention.residual_connection:
            mixed = mixed + residual
        return mixed / attention.rescale_output_factor


class HeadsAttention(torch.autograd.Function):
    """query [B, H, S, D], key and value [B, H, T, D] -> [B, H, S, D], by the node above."""

    @staticmethod
    def forward(ctx, query, key, value, heads, width):
        return scaled_dot_product_attention(query, key, value)

    @staticmethod
    def symbolic(g, query, key, value, heads, width):
        def reshape(tensor, sizes):
            return g.op("Reshape", tensor, g.op("Constant", value_t=torch.tensor(sizes)))

        flat = [
            reshape(g.op("Transpose", tensor, perm_i=[0, 2, 1, 3]), [0, 0, -1])
            for tensor in (query, key, value)
        ]
        mixed = g.op("com.microsoft::MultiHeadAttention", *flat, num_heads_i=heads)
        mixed.setType(query.type().with_sizes([None, None, heads * width]))
        split = reshape(mixed, [0, 0, heads, -1])
        return g.op("Transpose", split, perm_i=[0, 2, 1, 3]).setType(query.type())


@contextmanager
def fused_in_transformers() -> Iterator[None]:
    """While it is open, `scaled_dot_product_attention` is traced as the node above. For the transformers of
    Stable Diffusion 3 and FLUX, whose attention has no masks. (Their processors differ by model and are not
    replaced one by one.)
    """

    def fused(query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None, **options):
        if attn_mask is not None or is_causal or scale is not None or options.get("enable_gqa"):
            raise NotImplementedError("Attention with a mask or a scale; try --attention plain.")
        return HeadsAttention.apply(query, key, value, int(query.shape[1]), int(query.shape[3]))

    functional.scaled_dot_product_attention = fused
    try:
        yield
    finally:
        functional.scaled_dot_product_attention = scaled_dot_product_attention
