"""The components of a diffusers pipeline as graphs: inputs, outputs, and sample inputs for tracing.

Names are those of optimum's exporter, so its bundles work too. The first axis is always the batch.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch

# Number of layers before the last one whose output a Stable Diffusion 1.x or 2.x text encoder
# provides (diffusers' clip_skip).
MOST_CLIP_SKIP = 4


@dataclass
class Component:
    """One graph to write.

    call takes the tensors of `inputs` in their order and returns a tuple of tensors in the order of
    `outputs`.
    """

    folder: str
    module: torch.nn.Module
    call: Callable
    inputs: dict[str, torch.Tensor]
    outputs: list[str]
    dynamic_axes: dict[str, dict[int, str]]
    # Inputs that stay float32 in a float16 graph: timesteps need more than its 11 bits.
    keep_float32: list[str] = field(default_factory=list)


def text_encoder(folder: str, model, family: str) -> Component:
    """CLIP or T5: input_ids [B, L] -> last_hidden_state [B, L, D] and, for CLIP, the pooled output and
    earlier layers.
    """
    if model.config.model_type == "t5":
        outputs = ["last_hidden_state"]

        def call(module, ids):
            return (module(ids).last_hidden_state,)
    else:
        layers = model.config.num_hidden_layers
        projects = hasattr(model, "text_projection")
        hidden = [f"hidden_states.{i}" for i in range(layers + 1)] if family in ("sdxl", "sd3") else []
        skips = [] if hidden or projects else range(1, min(MOST_CLIP_SKIP, layers - 1) + 1)
        pooled = "text_embeds" if projects else "pooler_output"
        outputs = ["last_hidden_state", pooled, *hidden, *(f"clip_skip.{k}" for k in skips)]

        def call(module, ids):
            out = module(ids, output_hidden_states=True)
            norm = getattr(module, "text_model", module).final_layer_norm
            earlier = tuple(norm(out.hidden_states[-(k + 1)]) for k in skips)
            return (out.last_hidden_state, out[pooled], *(out.hidden_states if hidden else ()), *earlier)

    ids = torch.zeros(2, getattr(model.config, "max_position_embeddings", 16), dtype=torch.int64)
    axes = {"input_ids": {0: "batch", 1: "tokens"}}
    return Component(folder, model, call, {"input_ids": ids}, outputs, axes)


def unet(model, tokens: int) -> Component:
    """sample, timestep [B], encoder_hidden_states (and further inputs of the config) -> out_sample."""
    config = model.config
    # A small size: the graph is the same for every size, and tracing a large one is slow.
    side = min(config.sample_size, 16) if isinstance(config.sample_size, int) else 16
    width = config.cross_attention_dim
    inputs = {
        "sample": torch.randn(2, config.in_channels, side, side),
        "timestep": torch.tensor([7.0, 500.0]),
        "encoder_hidden_states": torch.randn(2, tokens, width),
    }
    if config.time_cond_proj_dim is not None:
        inputs["timestep_cond"] = torch.randn(2, config.time_cond_proj_dim)
    if config.addition_embed_type == "text_time":
        pooled = config.projection_class_embeddings_input_dim - 6 * config.addition_time_embed_dim
        inputs["text_embeds"] = torch.randn(2, pooled)
        inputs["time_ids"] = torch.tensor([[8.0 * side, 8.0 * side, 0, 0, 8.0 * side, 8.0 * side]] * 2)
    names = list(inputs)

    def call(module, *tensors):
        given = dict(zip(names, tensors, strict=True))
        added = {name: given[name] for name in ("text_embeds", "time_ids") if name in given}
        out = module(
            given["sample"],
            given["timestep"],
            given["encoder_hidden_states"],
            timestep_cond=given.get("timestep_cond"),
            added_cond_kwargs=added or None,
            return_dict=False,
        )
        return (out[0],)

    axes = {name: {0: "batch"} for name in names}
    axes["sample"] = {0: "batch", 2: "height", 3: "width"}
    axes["encoder_hidden_states"] = {0: "batch", 1: "tokens"}
    return Component("unet", model, call, inputs, ["out_sample"], axes, ["timestep", "time_ids"])


def sd3_transformer(model, tokens: int) -> Component:
    """hidden_states [B, C, H, W], text, pooled_projections, timestep [B] -> out_hidden_states."""
    config = model.config
    inputs = {
        "hidden_states": torch.randn(2, config.in_channels, config.sample_size, config.sample_size),
        "encoder_hidden_states": torch.randn(2, tokens, config.joint_attention_dim),
        "pooled_projections": torch.randn(2, config.pooled_projection_dim),
        "timestep": torch.tensor([7.0, 500.0]),
    }

    def call(module, latents, text, pooled, timestep):
        return (module(latents, text, pooled, timestep, return_dict=False)[0],)

    axes = {
        "hidden_states": {0: "batch", 2: "height", 3: "width"},
        "encoder_hidden_states": {0: "batch", 1: "tokens"},
        "pooled_projections": {0: "batch"},
        "timestep": {0: "batch"},
    }
    return Component("transformer", model, call, inputs, ["out_hidden_states"], axes, ["timestep"])


def flux_transformer(model, tokens: int) -> Component:
    """hidden_states [B, S, 4C] (patches of 2 x 2), text, pooled_projections, timestep / 1000, ids -> latents.

    ids are the positions [S, 3] of the patches and [T, 3] of the tokens.
    """
    config = model.config
    side = 4
    ids = torch.zeros(side, side, 3)
    ids[..., 1] += torch.arange(side)[:, None]
    ids[..., 2] += torch.arange(side)[None, :]
    inputs = {
        "hidden_states": torch.randn(2, side * side, config.in_channels),
        "encoder_hidden_states": torch.randn(2, tokens, config.joint_attention_dim),
        "pooled_projections": torch.randn(2, config.pooled_projection_dim),
        "timestep": torch.tensor([0.01, 0.5]),
        "img_ids": ids.reshape(-1, 3),
        "txt_ids": torch.zeros(tokens, 3),
    }
    if config.guidance_embeds:
        inputs["guidance"] = torch.tensor([3.5, 3.5])

    def call(module, latents, text, pooled, timestep, img_ids, txt_ids, guidance=None):
        out = module(
            hidden_states=latents,
            encoder_hidden_states=text,
            pooled_projections=pooled,
            timestep=timestep,
            img_ids=img_ids,
            txt_ids=txt_ids,
            guidance=guidance,
            return_dict=False,
        )
        return (out[0],)

    axes = {name: {0: "batch"} for name in inputs}
    axes["hidden_states"] = {0: "batch", 1: "patches"}
    axes["encoder_hidden_states"] = {0: "batch", 1: "tokens"}
    axes["img_ids"] = {0: "patches"}
    axes["txt_ids"] = {0: "tokens"}
    kept = ["timestep", "img_ids", "txt_ids", "guidance"]
    return Component("transformer", model, call, inputs, ["out_hidden_states"], axes, kept)


def vae_decoder(model) -> Component:
    """latent_sample [B, C, h, w] in the range of the autoencoder -> sample [B, 3, H, W] in [-1, 1]."""
    # With the deviation of denoised latents, so that an overflow shows.
    latents = torch.randn(2, model.config.latent_channels, 8, 8) / (model.config.scaling_factor or 1.0)
    axes = {
        "latent_sample": {0: "batch", 2: "height", 3: "width"},
        "sample": {0: "batch", 2: "picture_height", 3: "picture_width"},
    }

    def call(module, tensor):
        return (module.decode(tensor, return_dict=False)[0],)

    return Component("vae_decoder", model, call, {"latent_sample": latents}, ["sample"], axes)
