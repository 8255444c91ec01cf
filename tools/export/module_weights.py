"""Creates the modules of single-file checkpoints from their configs, and assigns the weights."""

import diffusers
import layouts
import torch
import transformers
from checkpoints import CheckpointError
from state_dicts import refuse_not_finite, some


def create(module: str, config: dict) -> torch.nn.Module:
    """Creates a component from its config, for the families that come in single files."""
    if module == "unet":
        return diffusers.UNet2DConditionModel.from_config(config)
    if module == "vae":
        return diffusers.AutoencoderKL.from_config(config)
    name = config.get("architectures", ["CLIPTextModel"])[0]
    return getattr(transformers, name)(transformers.CLIPTextConfig.from_dict(config))


def fill(
    module: torch.nn.Module, weights: layouts.Renamed, what: str, ignore_unknown: bool
) -> torch.nn.Module:
    """Assigns weights to a module on the meta device. Raises CheckpointError when they do not fit."""
    wanted, tensors = module.state_dict(), dict(weights.tensors)
    for name in wanted.keys() & tensors.keys():
        if not tensors[name].is_floating_point():
            kind = str(tensors[name].dtype).removeprefix("torch.")
            raise CheckpointError(f"{what}: {name} is stored as {kind}; floating-point weights are accepted.")
        if tensors[name].dim() == wanted[name].dim() + 2 and tensors[name].shape[-2:] == (1, 1):
            tensors[name] = tensors[name][..., 0, 0]  # a linear layer that was a convolution
        if wanted[name].shape != tensors[name].shape:
            raise CheckpointError(
                f"{what}: {name} is {list(tensors[name].shape)}, and {list(wanted[name].shape)} was "
                "expected; this is another architecture. "
                "--configs FOLDER gives its configs in diffusers' form."
            )
    missing = [name for name in wanted if name not in tensors]
    if missing:
        raise CheckpointError(
            f"{what} lacks {len(missing)} of {len(wanted)} weights: {some(missing)} (diffusers' names). "
            "Is it a whole checkpoint, and downloaded whole?"
        )
    unknown = [*weights.unknown, *(name for name in tensors if name not in wanted)]
    if unknown and not ignore_unknown:
        raise CheckpointError(
            f"{what} has weights that its architecture has no place for: {some(unknown)}. "
            "Without them the pictures would be others; --ignore-unknown-keys goes on all the same."
        )
    for name in wanted:
        refuse_not_finite(tensors[name], f"{what}: {weights.keys.get(name, name)}")
    module.load_state_dict({name: tensors[name].float() for name in wanted}, assign=True)
    for name, buffer in list(module.named_buffers()):
        if buffer.is_meta:
            _count_positions(module, name, torch.arange(buffer.shape[-1]).expand(buffer.shape).clone())
    return module.eval()


def _count_positions(module: torch.nn.Module, name: str, tensor: torch.Tensor) -> None:
    """Sets position_ids, which count up and are not stored."""
    if not name.endswith("position_ids"):
        raise CheckpointError(f"{name} is neither stored nor counted; report the model.")
    owner = module.get_submodule(name.rpartition(".")[0])
    owner.register_buffer("position_ids", tensor, persistent=False)
