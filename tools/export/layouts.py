"""The original key layouts (CompVis, Stability): detects the layout of a file, and renames its weights to
diffusers' names.

The renaming uses functions of diffusers.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from checkpoints import CheckpointError
from diffusers.loaders import single_file_utils as diffusers_layouts

Weights = dict[str, torch.Tensor]
UNET = "model.diffusion_model."
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
    "edm_vpred.sigma_max",
    "edm_vpred.sigma_min",
]
# Keys of a text encoder that its output does not depend on.
UNUSED_TEXT = ("position_ids", "logit_scale", "attn_mask", "text_projection")
FIRST_CONV = UNET + "input_blocks.0.0.weight"


@dataclass(frozen=True)
class Renamed:
    """Weights under diffusers' names, and keys that have no place there."""

    tensors: Weights
    unknown: list[str]


def detect(path: Path, weights: Weights) -> str:
    """Returns sd1, sd2 or sdxl. Raises CheckpointError that says what else the file is and what to do with
    it.
    """
    other = _other_kind(weights)
    if other:
        raise CheckpointError(f"{path} is {other}")
    if FIRST_CONV not in weights:
        start = ", ".join(sorted(weights)[:3])
        raise CheckpointError(
            f"{path} is of an unknown family: its keys begin with {start}. Single files of Stable "
            "Diffusion 1.x, 2.x and XL can be imported; "
            "give other models as a diffusers folder."
        )
    channels = weights[FIRST_CONV].shape[1]
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
    raise CheckpointError(
        f"{path} has a UNet and no text encoder; give the whole checkpoint, not its UNet alone."
    )


def _other_kind(weights: Weights) -> str | None:
    def has(*parts: str) -> bool:
        return any(part in key for key in weights for part in parts)

    if FIRST_CONV in weights:
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
    return Renamed(tensors, _left_over(own, tensors))


def vae_weights(weights: Weights, config: dict) -> Renamed:
    """Weights of an autoencoder, from a complete checkpoint, an autoencoder in the original layout, or one of
    diffusers.
    """
    if any(".up_blocks." in key for key in weights):
        return Renamed(dict(weights), [])
    own = {key: tensor for key, tensor in weights.items() if key.startswith(VAE)} or weights
    own = {
        key: tensor
        for key, tensor in own.items()
        if not key.startswith(BESIDE) and not key.startswith("model_ema")
    }
    tensors = diffusers_layouts.convert_ldm_vae_checkpoint(own, config)
    return Renamed(tensors, _left_over(own, tensors))


def text_encoder_weights(weights: Weights, module: str, model: torch.nn.Module) -> Renamed:
    """Weights of a text encoder: CLIP of transformers, or OpenCLIP's layout for 2.x and for the second
    encoder of XL.
    """
    is_second = module == "text_encoder_2"
    prefix = (
        OPEN_CLIP[1]
        if is_second
        else next((p for p in (*CLIP, OPEN_CLIP[0]) if any(k.startswith(p) for k in weights)), CLIP[0])
    )
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
        converted = {key.removeprefix(prefix): tensor for key, tensor in own.items()}
    unknown = [key for key in _left_over(own, converted) if not key.endswith(UNUSED_TEXT)]
    wanted = set(model.state_dict())
    tensors = {}
    for key, tensor in converted.items():
        bare = key.removeprefix("text_model.")
        name = next((name for name in (key, bare, "text_model." + bare) if name in wanted), None)
        if name is not None:
            tensors[name] = tensor
        elif prefix in CLIP and not key.endswith(UNUSED_TEXT):
            unknown.append(prefix + key)
    return Renamed(tensors, unknown)


def _left_over(own: Weights, tensors: Weights) -> list[str]:
    """Keys whose tensors were not taken over."""
    used = {tensor.data_ptr() for tensor in tensors.values()}
    return [key for key, tensor in own.items() if tensor.data_ptr() not in used]
