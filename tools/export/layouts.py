"""The original key layouts (CompVis, Stability): detects the layout of a file, and renames its weights to
diffusers' names.

The renaming uses functions of diffusers.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from checkpoint_keys import FIRST_CONV, UNET, Weights, has_averaged_unet
from checkpoints import CheckpointError
from diffusers.loaders import single_file_utils as diffusers_layouts

VAE = ("first_stage_model.", "vae.")
CLIP = ("cond_stage_model.transformer.", "conditioner.embedders.0.transformer.")
OPEN_CLIP = ("cond_stage_model.model.", "conditioner.embedders.1.model.")
# Keys beside the model: training state, noise schedule, and the mark of v-prediction models.
BESIDE = (
    "model_ema.",
    "optimizer",
    "lr_schedulers",
    "embedding_manager.",
    "denoiser.",
    "first_stage_model.loss.",
    "loss.",
)
NOISE_SCHEDULE = [
    "betas",
    "alphas_cumprod",
    "alphas_cumprod_prev",
    "sqrt_alphas_cumprod",
    "sqrt_one_minus_alphas_cumprod",
    "log_one_minus_alphas_cumprod",
    "sqrt_recip_alphas_cumprod",
    "sqrt_recipm1_alphas_cumprod",
    "posterior_variance",
    "posterior_log_variance_clipped",
    "posterior_mean_coef1",
    "posterior_mean_coef2",
    "lvlb_weights",
    "logvar",
    "scale_factor",
    "global_step",
    "v_pred",
    "ztsnr",
]
# Marks of EDM (Karras et al. 2022), whose noise levels and preconditioning no scheduler here has.
EDM = {
    "edm_vpred.sigma_max": "CosXL",
    "edm_vpred.sigma_min": "CosXL",
    "edm_mean": "Playground 2.5",
    "edm_std": "Playground 2.5",
}
# Keys of a text encoder that its output does not depend on.
UNUSED_TEXT = ("position_ids", "logit_scale", "attn_mask", "text_projection")
# The names inside of a text encoder in transformers' layout.
PLAIN_TEXT = ("text_model.", "transformer.text_model.", "embeddings.token_embedding.")


@dataclass(frozen=True)
class Renamed:
    """Weights under diffusers' names, and keys that have no place there."""

    tensors: Weights
    unknown: list[str]
    # Keys in the file by diffusers' names, where one tensor is one weight.
    keys: dict[str, str]


def detect(path: Path, weights: Weights, has_text: bool = True) -> str:
    """Returns sd1, sd2 or sdxl. Raises CheckpointError that says what else the file is and what to do with
    it.

    has_text: whether the file has to have text encoders
    """
    other = _other_kind(weights)
    if other:
        raise CheckpointError(f"{path} is {other}")
    for mark, model in EDM.items():
        if mark in weights:
            raise CheckpointError(
                f"{path} is an EDM model, as {model} is (it has {mark}): its noise levels and "
                "preconditioning are those of EDM, which findery does not have. It can't be imported."
            )
    if FIRST_CONV not in weights and not has_averaged_unet(weights):
        start = ", ".join(sorted(weights)[:3])
        raise CheckpointError(
            f"{path} is of an unknown family: its keys begin with {start}. Single files of Stable "
            "Diffusion 1.x, 2.x and XL can be imported; "
            "give other models as a diffusers folder."
        )
    first = weights.get(FIRST_CONV)
    channels = 4 if first is None else first.shape[1] if first.dim() == 4 else 0
    if channels != 4:
        kind = {9: "an inpainting model", 8: "an instruct-pix2pix model", 5: "a depth model"}.get(
            channels, "another kind of model"
        )
        raise CheckpointError(
            f"{path} is {kind} (its UNet takes {channels} channels); text-to-image models take 4."
        )
    if any(key.startswith("conditioner.embedders.0.model.") for key in weights):
        raise CheckpointError(
            f"{path} is an SDXL refiner, which makes no pictures from noise; give the base model."
        )
    if any(key.startswith(OPEN_CLIP[1]) for key in weights):
        return "sdxl"
    if any(key.startswith(OPEN_CLIP[0]) for key in weights):
        return "sd2"
    if any(key.startswith(CLIP[0]) for key in weights):
        return "sd1"
    if not has_text:
        return _layout_of_unet(weights)
    what, wanted = ("a UNet and", "") if has_vae(weights) else ("a UNet alone,", "--vae and ")
    raise CheckpointError(
        f"{path} has {what} no text encoder; give {wanted}--text-encoder with files or folders to take them "
        "from, or the whole checkpoint."
    )


def _layout_of_unet(weights: Weights) -> str:
    """The family by the UNet alone: XL has a label embedding, 2.x linear projections in its attention."""
    if any(key.startswith(UNET + "label_emb.") for key in weights):
        return "sdxl"
    projections = [
        tensor for key, tensor in weights.items() if key.startswith(UNET) and key.endswith("proj_in.weight")
    ]
    return "sd2" if projections and projections[0].dim() == 2 else "sd1"


def _other_kind(weights: Weights) -> str | None:
    def has(*parts: str) -> bool:
        return any(part in key for key in weights for part in parts)

    if FIRST_CONV in weights or has_averaged_unet(weights):
        return None
    if has("lora_down", "lora_up", "lora_A", "lora_B", "lora.down", "lora.up"):
        return "a LoRA, which changes a model and is none: import a checkpoint with --lora FILE."
    if has("double_blocks.", "single_transformer_blocks."):
        return "a FLUX transformer without text encoders; give the model as a diffusers folder."
    if has("joint_blocks."):
        return "a Stable Diffusion 3 model; give it as a diffusers folder."
    if has("control_model.", "controlnet_", "zero_convs."):
        return "a ControlNet, which can't be served."
    if has("emb_params", "string_to_param"):
        return "a textual inversion, which can't be served."
    if has("blip."):
        return "a reward, it seems ImageReward: import it with import_image_reward.py."
    if has("visual.transformer.resblocks", "vision_model."):
        return "a CLIP model: import it with export_clip_reward.py."
    if has("down_blocks.", "up_blocks."):
        return "one part of a diffusers pipeline; give the folder that has model_index.json."
    if has("decoder.up.", "decoder.conv_in"):
        return "an autoencoder alone: import a checkpoint with --vae FILE."
    return None


def scheduler_changes(path: Path, layout: str, weights: Weights, prediction_type: str | None) -> dict:
    """Returns the values of the scheduler's config that differ from the family's. Raises CheckpointError when
    neither the file nor the caller gives them.
    """
    changes = {}
    marked = "v_prediction" if "v_pred" in weights else None
    if marked and prediction_type not in (None, marked):
        raise CheckpointError(
            f"{path} is marked as {marked}; --prediction-type {prediction_type} contradicts it."
        )
    chosen = prediction_type or marked
    if layout == "sd2" and chosen is None:
        raise CheckpointError(
            f"{path} is of the 2.x family, whose files do not say what they predict: give "
            "--prediction-type v_prediction (the 768-pixel models) or epsilon (the 512-pixel base)."
        )
    if chosen:
        changes["prediction_type"] = chosen
    if "ztsnr" in weights:
        changes.update(rescale_betas_zero_snr=True, timestep_spacing="trailing")
    return changes


def has_vae(weights: Weights) -> bool:
    return any(key.startswith(VAE) for key in weights)


def is_unknown(key: str) -> bool:
    """Whether a key belongs to no part of a model and is not known to be harmless."""
    return not key.startswith((UNET, *VAE, *CLIP, *OPEN_CLIP, *BESIDE)) and key not in NOISE_SCHEDULE


def unet_weights(weights: Weights, config: dict, use_ema: bool) -> Renamed:
    own = {key: tensor for key, tensor in weights.items() if key.startswith(UNET)}
    if use_ema:
        # EMA names are those of the UNet without dots.
        averaged = {"model_ema." + key.removeprefix("model.").replace(".", ""): key for key in own}
        own = {key: weights[ema] for ema, key in averaged.items() if ema in weights}
    tensors = diffusers_layouts.convert_ldm_unet_checkpoint(own, config)
    return Renamed(tensors, _left_over(own, tensors), _keys(own, tensors))


def vae_weights(weights: Weights, config: dict) -> Renamed:
    """Weights of an autoencoder, from a complete checkpoint, an autoencoder in the original layout, or one of
    diffusers.
    """
    if any(".up_blocks." in key for key in weights):
        renamed = {_attention_name(key): tensor for key, tensor in weights.items()}
        return Renamed(renamed, [], {_attention_name(key): key for key in weights})
    own = {key: tensor for key, tensor in weights.items() if key.startswith(VAE)} or weights
    own = {
        key: tensor
        for key, tensor in own.items()
        if not key.startswith(BESIDE) and not key.startswith("model_ema")
    }
    tensors = diffusers_layouts.convert_ldm_vae_checkpoint(own, config)
    return Renamed(tensors, _left_over(own, tensors), _keys(own, tensors))


def _attention_name(key: str) -> str:
    """The present name of a weight that diffusers called otherwise before its version 0.15."""
    if ".attentions." not in key:
        return key
    stem, _, kind = key.rpartition(".")
    for old, new in (("query", "to_q"), ("key", "to_k"), ("value", "to_v"), ("proj_attn", "to_out.0")):
        if stem.endswith(f".{old}"):
            return f"{stem.removesuffix(old)}{new}.{kind}"
    return key


def text_encoder_weights(weights: Weights, module: str, model: torch.nn.Module) -> Renamed:
    """Weights of a text encoder: CLIP of transformers, or OpenCLIP's layout for 2.x and for the second
    encoder of XL.
    """
    candidates = [OPEN_CLIP[1]] if module == "text_encoder_2" else [*CLIP, OPEN_CLIP[0]]
    prefix = next((p for p in candidates if any(key.startswith(p) for key in weights)), None)
    if prefix is None:
        is_plain = any(key.startswith(PLAIN_TEXT) for key in weights)
        prefix = "" if is_plain else candidates[0]
    own = {key: tensor for key, tensor in weights.items() if key.startswith(prefix)}
    if prefix in OPEN_CLIP:
        converted = diffusers_layouts.convert_open_clip_checkpoint(model, own, prefix)
        layers = model.config.num_hidden_layers
        beyond = tuple(f"{prefix}transformer.resblocks.{i}." for i in range(layers, 100))
        own = {
            key: tensor
            for key, tensor in own.items()
            if not key.endswith(("in_proj_weight", "in_proj_bias")) and not key.startswith(beyond)
        }
    else:
        converted = {key.removeprefix(prefix).removeprefix("transformer."): own[key] for key in own}
    unknown = [key for key in _left_over(own, converted) if not key.endswith(UNUSED_TEXT)]
    wanted = set(model.state_dict())
    tensors = {}
    for key, tensor in converted.items():
        bare = key.removeprefix("text_model.")
        name = next((name for name in (key, bare, "text_model." + bare) if name in wanted), None)
        if name is not None:
            tensors[name] = tensor
        elif prefix in ("", *CLIP) and not key.endswith(UNUSED_TEXT):
            unknown.append(prefix + key)
    return Renamed(tensors, unknown, _keys(own, tensors))


def _left_over(own: Weights, tensors: Weights) -> list[str]:
    """Keys whose tensors were not taken over."""
    used = {tensor.data_ptr() for tensor in tensors.values()}
    return [key for key, tensor in own.items() if tensor.data_ptr() not in used]


def _keys(own: Weights, tensors: Weights) -> dict[str, str]:
    keys = {tensor.data_ptr(): key for key, tensor in own.items()}
    return {name: keys[tensor.data_ptr()] for name, tensor in tensors.items() if tensor.data_ptr() in keys}
