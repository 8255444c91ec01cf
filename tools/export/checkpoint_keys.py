"""Brings the keys of a single-file checkpoint into the original layout, whatever wrapped the model."""

from collections.abc import Callable
from pathlib import Path

import torch
import unet_names

Weights = dict[str, torch.Tensor]
UNET = "model.diffusion_model."
FIRST_CONV = UNET + "input_blocks.0.0.weight"
EMA = "model_ema."
# Prefixes that wrappers put before every key: parallel training, torch.compile, whole training states.
WRAPPERS = ("module.", "_orig_mod.", "state_dict.", "pipeline.")
# First parts of the names inside of a UNet.
UNET_PARTS = ("input_blocks.", "middle_block.", "output_blocks.", "time_embed.", "label_emb.", "out.")


def unwrapped(path: Path, weights: Weights, report: Callable[[str], None]) -> Weights:
    """Returns the weights under the keys of the original layout.

    report: called with what was seen, where that is not the layout itself
    """
    for prefix in _wrappers(weights):
        report(f"{path.name}: keys begin with {prefix!r}, which is left out.")
        weights = {key.removeprefix(prefix): tensor for key, tensor in weights.items()}
    prefix = unet_prefix(weights)
    if prefix in (None, UNET):
        return weights
    report(
        f"{path.name}: a UNet under {prefix!r} is read as {UNET!r}."
        if prefix
        else f"{path.name}: a bare UNet."
    )
    parts = tuple(prefix + part for part in UNET_PARTS)
    return {
        UNET + key.removeprefix(prefix) if key.startswith(parts) else key: tensor
        for key, tensor in weights.items()
    }


def _wrappers(weights: Weights):
    """Prefixes that nearly all keys have, outermost first."""
    keys = list(weights)
    while True:
        found = next(
            (
                prefix
                for prefix in WRAPPERS
                if keys and sum(key.startswith(prefix) for key in keys) > 0.9 * len(keys)
            ),
            None,
        )
        if found is None:
            return
        yield found
        keys = [key.removeprefix(found) for key in keys]


def unet_prefix(weights: Weights) -> str | None:
    """What stands before the names of a UNet's weights; None if the file has no UNet."""
    first = "input_blocks.0.0.weight"
    found = [key.removesuffix(first) for key in weights if key.endswith(first)]
    # A ControlNet has the same names.
    prefixes = [prefix for prefix in found if "control" not in prefix and not prefix.startswith(EMA)]
    return UNET if UNET in prefixes else next(iter(prefixes), None)


def has_averaged_unet(weights: Weights) -> bool:
    return any(key.startswith(EMA + "diffusion_modelinput_blocks") for key in weights)


def from_averaged(weights: Weights, names: list[str], config: dict) -> Weights:
    """Returns the weights with a UNet that is there only as averaged weights, whose keys have no dots.

    names: of the weights of the UNet, in diffusers
    config: of the UNet
    """
    own = {}
    for name in names:
        original = unet_names.original_name(name, config)
        averaged = f"{EMA}diffusion_model{original.replace('.', '')}" if original else None
        if averaged in weights:
            own[UNET + original] = weights[averaged]
    return own | {key: tensor for key, tensor in weights.items() if not key.startswith(EMA)}
