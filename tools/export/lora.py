"""Merges LoRA files into the weights of a model: W' = W + weight * alpha / rank * up @ down (Hu et al. 2021,
section 4.1).

Accepts the keys of kohya's scripts (`lora_unet_...`, `lora_te_...`, also with the block numbers of the
original layout), of diffusers and of PEFT.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path

import torch
from checkpoints import CheckpointError, read_weights
from diffusers.loaders.lora_conversion_utils import _maybe_map_sgm_blocks_to_diffusers

# kohya's prefix of each component, by diffusers' name.
PREFIXES = {
    "unet": ("lora_unet_",),
    "transformer": ("lora_unet_", "lora_transformer_"),
    "text_encoder": ("lora_te_", "lora_te1_"),
    "text_encoder_2": ("lora_te2_",),
    "text_encoder_3": ("lora_te3_",),
}
ROLES = [
    (re.compile(r"(\.|_)lora(\.|_)(down|A)(\.default)?\.weight$"), "down"),
    (re.compile(r"(\.|_)lora(\.|_)(up|B)(\.default)?\.weight$"), "up"),
    (re.compile(r"\.alpha$"), "alpha"),
    (re.compile(r"\.(lora_)?mid\.weight$"), "mid"),
]
OTHER_KINDS = {
    "hada_w1": "LoHa",
    "lokr_": "LoKr",
    "dora_scale": "DoRA",
    "oft_": "OFT",
    ".diff": "a full difference",
}


@dataclass
class Lora:
    """A LoRA file: its pairs of matrices by their names in the file, and its weight."""

    path: Path
    weight: float
    pairs: dict[str, dict[str, torch.Tensor]] = field(default_factory=dict)


def parse(text: str) -> tuple[Path, float]:
    """Parses FILE or FILE:WEIGHT. Raises CheckpointError when the weight is not a number."""
    name, colon, weight = text.rpartition(":")
    if not colon or Path(text).exists():
        return Path(text), 1.0
    try:
        return Path(name), float(weight)
    except ValueError:
        raise CheckpointError(
            f"{text}: {weight!r} is not a weight; give FILE or FILE:WEIGHT, such as style.safetensors:0.8."
        ) from None


def read(path: Path, weight: float, unet_config: dict | None) -> Lora:
    """Reads a LoRA file. Raises CheckpointError when it is not a LoRA, or of a kind that can't be merged."""
    tensors = read_weights(path)
    for part, kind in OTHER_KINDS.items():
        if any(part in key for key in tensors):
            raise CheckpointError(
                f"{path} is {kind}, not a plain LoRA; it can't be merged. Merge it with the tool that made "
                "it, and import the result."
            )
    if any("_input_blocks_" in key or "_output_blocks_" in key for key in tensors) and unet_config:
        tensors = _maybe_map_sgm_blocks_to_diffusers(dict(tensors), _Config(unet_config))
    lora = Lora(path, weight)
    for key, tensor in tensors.items():
        role, name = _role(key)
        if role is None:
            raise CheckpointError(f"{path} has the key {key}, which belongs to no LoRA; is it a LoRA at all?")
        lora.pairs.setdefault(name, {})[role] = tensor
    for name, pair in lora.pairs.items():
        if not {"down", "up"} <= pair.keys():
            raise CheckpointError(f"{path} lacks one half of {name}; download it again.")
    if not lora.pairs:
        raise CheckpointError(f"{path} is empty; download it again.")
    return lora


def refuse_strangers(loras: list[Lora], names: dict[str, list[str]]) -> None:
    """Raises CheckpointError when a LoRA changes a module that the model does not have.

    names: the modules with weights, by component.
    """
    known = {
        alias
        for component, modules in names.items()
        for name in modules
        for alias in _aliases(component, name)
    }
    for lora in loras:
        strangers = [name for name in lora.pairs if name not in known]
        if strangers:
            raise CheckpointError(
                f"{lora.path} changes "
                f"{strangers[0]}{f' and {len(strangers) - 1} more' if len(strangers) > 1 else ''}, which "
                "this model has not; "
                "it was made for another family of models."
            )


def merge(module: torch.nn.Module, component: str, loras: list[Lora]) -> int:
    """Changes the weights of the module. Returns the number of changed weights. Raises CheckpointError when a
    shape does not fit.
    """
    merged = 0
    for name, part in module.named_modules():
        weight = getattr(part, "weight", None)
        if weight is None:
            continue
        for lora in loras:
            for alias in _aliases(component, name):
                pair = lora.pairs.get(alias)
                if pair is None:
                    continue
                try:
                    with torch.no_grad():
                        # Not in place: the tensor may be mapped from the checkpoint file.
                        part.weight = torch.nn.Parameter(
                            weight + lora.weight * _change(pair).reshape(weight.shape), requires_grad=False
                        )
                except RuntimeError:
                    raise CheckpointError(
                        f"{lora.path}: {alias} does not fit {list(weight.shape)}; it was made for another "
                        "family of models."
                    ) from None
                weight = part.weight
                merged += 1
    return merged


def _change(pair: dict[str, torch.Tensor]) -> torch.Tensor:
    down, up = pair["down"].float(), pair["up"].float()
    rank = down.shape[0]
    scale = float(pair["alpha"]) / rank if "alpha" in pair else 1.0
    if "mid" in pair:
        return scale * torch.einsum("or,rskl,si->oikl", up.flatten(1), pair["mid"].float(), down.flatten(1))
    return scale * (up.flatten(1) @ down.flatten(1)).reshape(up.shape[0], *down.shape[1:])


def _role(key: str) -> tuple[str | None, str]:
    for pattern, role in ROLES:
        match = pattern.search(key)
        if match:
            return role, key[: match.start()].replace(".processor.", ".")
    return None, key


def _aliases(component: str, name: str) -> list[str]:
    """Names that a module may have in a LoRA file."""
    names = [name]
    if component.startswith("text_encoder"):
        # Versions of transformers differ in this level of the name.
        names.append(
            name.removeprefix("text_model.") if name.startswith("text_model.") else "text_model." + name
        )
    return [
        f"{component}.{each.replace('.to_out.0', '.to_out')}" for each in names if ".to_out.0" in each
    ] + [
        alias
        for each in names
        for alias in (
            f"{component}.{each}",
            *(prefix + each.replace(".", "_") for prefix in PREFIXES.get(component, ())),
        )
    ]


class _Config:
    """Provides a number as an attribute, as the function of diffusers expects."""

    def __init__(self, config: dict):
        self.layers_per_block = config["layers_per_block"]
