"""Quantised weights: those with scales become numbers again, the others are refused by their name."""

import json
from pathlib import Path

import torch
from checkpoints import CheckpointError

Weights = dict[str, torch.Tensor]

# Endings of keys that formats without a way back here have beside the weights, and their names.
REFUSED = {
    ".quant_state.bitsandbytes__nf4": "bitsandbytes nf4",
    ".quant_state.bitsandbytes__fp4": "bitsandbytes fp4",
    ".absmax": "bitsandbytes, 4 bits",
    ".quant_map": "bitsandbytes, 4 bits",
    ".wscales": "SVDQuant of Nunchaku, 4 bits",
    ".qweight": "GPTQ or AWQ, 4 bits",
    ".qzeros": "GPTQ or AWQ, 4 bits",
    ".weight_scale_2": "nvfp4",
    ".weight_packed": "compressed-tensors, 4 bits",
}
# Endings of the scales of a weight: W = stored * scale.
SCALES = (".scale_weight", ".weight_scale", ".weight_scale_inv")
# bitsandbytes int8: W = stored * SCB / 127.
ROW_MAXIMA = ".SCB"
# What belongs to activations, or marks a file.
IGNORED = (".scale_input", ".input_scale", ".weight_format", "scaled_fp8", ".comfy_quant")
WIDENED = torch.float32


def dequantised(path: Path, weights: Weights) -> Weights:
    """Returns the weights with their scales applied, in float32, and without the scales.

    Raises CheckpointError for weights whose format has no scales in the file, or another one.
    """
    for ending, kind in REFUSED.items():
        key = next((key for key in weights if key.endswith(ending)), None)
        if key is not None:
            raise _refusal(path, kind, key)
    _refuse_formats(path, weights)
    result = {}
    for key, tensor in weights.items():
        stem = key.removesuffix(".weight")
        if key.endswith((*SCALES, ROW_MAXIMA, *IGNORED)) and not key.endswith(".weight"):
            continue
        scale = next((weights[stem + end] for end in SCALES if key != stem and stem + end in weights), None)
        maxima = weights.get(stem + ROW_MAXIMA) if key != stem else None
        if scale is not None:
            tensor = _scaled(path, key, tensor, scale)
        elif maxima is not None:
            tensor = _scaled(path, key, tensor, maxima.float() / 127)
        elif tensor.dtype in (torch.int8, torch.uint8) and tensor.dim() > 1:
            name = str(tensor.dtype).removeprefix("torch.")
            raise _refusal(path, f"{name} without scales", key)
        result[key] = tensor
    return result


def _scaled(path: Path, key: str, tensor: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    scale = scale.to(WIDENED)
    if scale.numel() == 1:
        scale = scale.reshape(())
    elif scale.dim() == 1 and scale.shape[0] == tensor.shape[0]:
        scale = scale.reshape(-1, *[1] * (tensor.dim() - 1))
    elif scale.dim() != tensor.dim() or any(
        have not in (1, want) for have, want in zip(scale.shape, tensor.shape, strict=True)
    ):
        raise CheckpointError(
            f"{path}: {key} is {list(tensor.shape)} with scales of {list(scale.shape)}; one for the whole "
            "weight or one for each row are accepted. Take the checkpoint in fp16, bf16 or fp32."
        )
    return tensor.to(WIDENED) * scale


def _refuse_formats(path: Path, weights: Weights) -> None:
    """ComfyUI stores the format of each weight as JSON in bytes."""
    for key, tensor in weights.items():
        if not key.endswith(".comfy_quant"):
            continue
        try:
            format_name = json.loads(bytes(tensor.to(torch.uint8).flatten().tolist())).get("format")
        except (ValueError, AttributeError):
            format_name = None
        if format_name not in ("float8_e4m3fn", "float8_e5m2"):
            raise _refusal(path, str(format_name), key)


def _refusal(path: Path, kind: str, key: str) -> CheckpointError:
    return CheckpointError(
        f"{path} is quantised ({kind}): {key}. Take the checkpoint in fp16, bf16 or fp32; fp8, and int8 "
        "with scales, are read too."
    )
