"""Fills a module from the weights of another key layout. Every weight of the module must be in the file, and
every weight of the file must be used.
"""

from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from checkpoints import CheckpointError

# Key in the file, and a function that derives the weight from its tensor (None: the whole tensor).
Origin = tuple[str, Callable[[torch.Tensor], torch.Tensor] | None]

# Prefixes of keys that identify other kinds of files, and the tool that reads them.
KINDS = {
    "model.diffusion_model.": "a Stable Diffusion checkpoint; import_checkpoint.py imports it",
    "blip.visual_encoder.": "an ImageReward checkpoint; import_image_reward.py imports it",
    "visual.transformer.resblocks.": "a CLIP checkpoint; export_clip_reward.py imports it",
    "visual.layer1.": "a CLIP with a ResNet, and only those with a vision transformer can be imported",
    "visual.trunk.": "a CLIP with a vision tower of timm (as SigLIP or EVA), which can't be imported",
    "vision_model.": (
        "a checkpoint in transformers' layout; give its folder, with config.json, to export_clip_reward.py"
    ),
    "lora_": "a LoRA; import_checkpoint.py merges it into a checkpoint (--lora)",
    "layers.0.": "a head such as the aesthetic predictor's; export_clip_reward.py takes it as --aesthetic",
    "first_stage_model.": "an autoencoder; import_checkpoint.py takes it as --vae",
}


def some(names: Iterable[str]) -> str:
    """Lists the first three keys, and how many more there are."""
    names = sorted(names)
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def refuse_kind(path: Path, keys: Iterable[str], wanted: str) -> CheckpointError:
    """Returns the error for a file that is something else than `wanted` (a noun with its article)."""
    keys = list(keys)
    for start, kind in KINDS.items():
        if any(key.startswith(start) for key in keys):
            return CheckpointError(f"{path} is not {wanted}: it is {kind}.")
    return CheckpointError(f"{path} is not {wanted}: its keys are {some(keys)}. Is it the right file?")


def fill(
    module: torch.nn.Module,
    weights: dict[str, torch.Tensor],
    origin: Callable[[str], Origin],
    path: Path,
    what: str,
    unused: set[str] = frozenset(),
) -> torch.nn.Module:
    """Assigns weights in float32 to a module on the meta device. Weights that are float32 in the file are not
    copied.

    origin: returns, for a name in the module, the key in the file and how to derive the weight from its
    tensor.
    unused: keys that the file may have and that no weight uses.
    what: noun for messages, such as "ImageReward".
    Raises CheckpointError that names keys as in the file.
    """
    wanted = module.state_dict()
    origins = {name: origin(name) for name in wanted}
    keys = {key for key, _ in origins.values()}
    missing = keys - weights.keys()
    if missing:
        raise CheckpointError(
            f"{path} lacks {len(missing)} of the {len(keys)} weights of {what}: {some(missing)}. Take the "
            "whole checkpoint, and download it again if it is that."
        )
    unknown = weights.keys() - keys - unused
    if unknown:
        raise CheckpointError(
            f"{path} has weights that {what} has no place for: {some(unknown)}. It is another architecture "
            "or version, whose scores would be others; take the published one."
        )
    filled = {}
    for name, (key, part) in origins.items():
        tensor = weights[key]
        if not tensor.is_floating_point():
            raise CheckpointError(
                f"{path}: {key} is stored as {str(tensor.dtype).removeprefix('torch.')}; floating-point "
                "weights are accepted, quantised ones are not."
            )
        tensor = part(tensor) if part else tensor
        if tensor.shape != wanted[name].shape:
            raise CheckpointError(
                f"{path}: {key} is {list(weights[key].shape)}, which does not fit the rest of {what} "
                f"({list(wanted[name].shape)} was expected for {name}). "
                "It is damaged, or another architecture."
            )
        filled[name] = tensor.float()
    for name, tensor in filled.items():
        refuse_not_finite(tensor, f"{path}: {origins[name][0]}")
    module.load_state_dict(filled, assign=True)
    for name, buffer in list(module.named_buffers()):
        if buffer.is_meta:
            # position_ids count up and are not stored.
            owner = module.get_submodule(name.removesuffix(".position_ids"))
            owner.register_buffer(
                "position_ids", torch.arange(buffer.shape[-1]).expand(1, -1).clone(), persistent=False
            )
    return module.eval().requires_grad_(False)


def refuse_not_finite(tensor: torch.Tensor, where: str) -> None:
    """Raises CheckpointError when a weight is infinite or not a number.

    where: the file and the key
    """
    tensor = tensor.float() if tensor.dtype.itemsize == 1 else tensor
    # The sum of squares is finite only if all numbers are; unlike isfinite it needs no second tensor.
    if not torch.isfinite(torch.linalg.vector_norm(tensor, dtype=torch.float64)):
        raise CheckpointError(
            f"{where} has numbers that are not finite; the file is damaged. Download it again."
        )
