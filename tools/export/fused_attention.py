"""Attention as one node, `com.microsoft.MultiHeadAttention`, whose kernels never store the full matrix of
scores (Dao et al. 2022, arXiv 2205.14135).
ONNX Runtime has kernels for CPU, CUDA, WebGPU and DirectML.
"""

import torch
import torch.nn.functional as functional


class MultiHeadAttention(torch.autograd.Function):
    """query [B, S, H * D], key and value [B, T, H * D] -> [B, S, H * D].

    Computes softmax(q k^T / sqrt(D)) v in each of H heads.
    """

    @staticmethod
    def forward(ctx, query, key, value, heads):
        parts = [tensor.unflatten(-1, (heads, -1)).transpose(1, 2) for tensor in (query, key, value)]
        return functional.scaled_dot_product_attention(*parts).transpose(1, 2).flatten(2)

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
        if attention.group_norm is not None:
            # On four axes, as the other group norms of the graph are, so that it is fused as they are.
            hidden_states = (
                attention.group_norm(hidden_states)
                if len(shape) == 4
                else attention.group_norm(hidden_states.transpose(1, 2)).transpose(1, 2)
            )
        if len(shape) == 4:
            hidden_states = hidden_states.flatten(2).transpose(1, 2)
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
