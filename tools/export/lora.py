"""Merges LoRA files, and their relatives, into the weights of a model: W' = W + weight * alpha / rank * up @
down for a plain LoRA (Hu et al. 2021, section 4.1).
"""

import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import lora_changes
import lora_names
import torch
from checkpoints import CheckpointError, read_metadata, read_weights
from state_dicts import some


@dataclass
class Lora:
    """A LoRA file: the tensors of each module by its name in the file, and the user's weight."""

    path: Path
    weight: float
    modules: dict[str, lora_changes.Parts] = field(default_factory=dict)
    # alpha / rank of each module.
    scales: dict[str, float] = field(default_factory=dict)


def parse(text: str) -> tuple[Path, float]:
    """Parses FILE or FILE:WEIGHT. Raises CheckpointError when the weight is not a number."""
    name, colon, weight = text.rpartition(":")
    if not colon or Path(text).exists():
        return Path(text), 1.0
    try:
        number = float(weight)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise CheckpointError(
            f"{text}: {weight!r} is not a weight; give FILE or FILE:WEIGHT, such as style.safetensors:0.8."
        )
    return Path(name), number


def read(path: Path, weight: float, report: Callable[[str], None] = print) -> Lora:
    """Reads a LoRA file.

    report: called with remarks for the user
    Raises CheckpointError when the file is not a LoRA, damaged, or of a kind that can't be merged.
    """
    tensors = _with_diffusers_names(path, read_weights(path))
    lora = Lora(path, weight)
    for key, tensor in tensors.items():
        for part, kind in lora_names.OTHER_KINDS.items():
            if part in key:
                raise CheckpointError(
                    f"{path} is {kind} ({key}); it can't be merged. Merge it with the tool that made it, "
                    "and import the result."
                )
        if key.startswith(lora_names.EMBEDDINGS):
            continue
        role, name = lora_names.split(key)
        if role is None:
            raise CheckpointError(
                f"{path} has the key {key}, which belongs to no LoRA; is it a LoRA at all? LoRA, DoRA, LoHa, "
                "LoKr and full differences can be merged."
            )
        if not tensor.is_floating_point() and role != "alpha":
            raise CheckpointError(
                f"{path}: {key} is stored as {str(tensor.dtype).removeprefix('torch.')}; floating-point "
                "weights are accepted, quantised ones are not."
            )
        if not torch.isfinite(tensor.float()).all():
            raise CheckpointError(f"{path}: {key} has numbers that are not finite; the file is damaged.")
        lora.modules.setdefault(name, {})[role] = tensor
    _check(lora)
    _scale(lora)
    _remark(lora, [key for key in tensors if key.startswith(lora_names.EMBEDDINGS)], report)
    return lora


def refuse_strangers(loras: list[Lora], names: dict[str, list[str]], unet_config: dict | None) -> None:
    """Raises CheckpointError when a LoRA changes a module that the model does not have.

    names: the modules with weights, by component
    unet_config: for names of the original layout; None without a UNet
    """
    known = {
        alias
        for component, modules in names.items()
        for name in modules
        for alias in lora_names.aliases(component, name, unet_config)
    }
    for lora in loras:
        strangers = [name for name in lora.modules if name not in known]
        if strangers:
            raise CheckpointError(
                f"{lora.path} changes {strangers[0]}"
                f"{f' and {len(strangers) - 1} more' if len(strangers) > 1 else ''}, which this model has "
                "not; it was made for another family of models."
            )


def merge(module: torch.nn.Module, component: str, loras: list[Lora]) -> int:
    """Changes the weights of the module, whose config names its layers. Returns the number of changed
    weights. Raises CheckpointError when a shape does not fit.
    """
    merged = 0
    config = dict(module.config) if component == "unet" else None
    for name, part in module.named_modules():
        if getattr(part, "weight", None) is None:
            continue
        names = lora_names.aliases(component, name, config)
        for lora in loras:
            for alias in names:
                if alias not in lora.modules:
                    continue
                try:
                    _apply(part, lora.modules[alias], lora.scales[alias], lora.weight)
                except (RuntimeError, ValueError, IndexError):
                    raise CheckpointError(
                        f"{lora.path}: {alias} does not fit {list(part.weight.shape)}; it was made for "
                        "another family of models."
                    ) from None
                merged += 1
    return merged


def _apply(part: torch.nn.Module, tensors: lora_changes.Parts, scale: float, strength: float) -> None:
    # Not in place: the tensors may be mapped from the checkpoint file.
    with torch.no_grad():
        if "diff_b" in tensors and part.bias is not None:
            bias = part.bias + strength * tensors["diff_b"].float().reshape(part.bias.shape)
            part.bias = torch.nn.Parameter(bias, requires_grad=False)
        if tensors.keys() != {"diff_b"}:
            weight = lora_changes.changed(part.weight, tensors, scale, strength)
            part.weight = torch.nn.Parameter(weight, requires_grad=False)


def _with_diffusers_names(path: Path, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """FLUX's original names are those of other tensors (query, key and value in one); diffusers splits
    them.
    """
    if not any(part in key for key in tensors for part in ("double_blocks", "single_blocks")):
        return tensors
    from diffusers.loaders import FluxLoraLoaderMixin

    try:
        state, alphas = FluxLoraLoaderMixin.lora_state_dict(dict(tensors), return_alphas=True)
    except Exception as error:  # whatever diffusers makes of unexpected names
        raise CheckpointError(
            f"{path} has FLUX's original names, which can't be read ({type(error).__name__}); convert it to "
            "diffusers' names."
        ) from None
    return state | {key: torch.tensor(float(value)) for key, value in (alphas or {}).items()}


def _check(lora: Lora) -> None:
    if not lora.modules:
        raise CheckpointError(f"{lora.path} holds no LoRA; download it again.")
    for name, parts in lora.modules.items():
        if not lora_changes.is_complete(parts):
            kind = lora_changes.kind_of(parts)
            what = "one half" if kind == "LoRA" else f"a part of the {kind}"
            raise CheckpointError(
                f"{lora.path} lacks {what} of {name}: it can't be merged; download it again."
            )


def _scale(lora: Lora) -> None:
    """Sets alpha / rank of each module: by its own alpha, else by the config of PEFT, else 1."""
    config = _peft_config(lora.path)
    for name, parts in lora.modules.items():
        alpha, rank = parts.pop("alpha", None), lora_changes.rank_of(parts)
        if rank is None:
            lora.scales[name] = 1.0
        elif alpha is not None:
            lora.scales[name] = float(alpha) / rank
        else:
            lora.scales[name] = _peft_scale(config, name, rank)


def _peft_config(path: Path) -> dict:
    """PEFT's settings of a LoRA, from the metadata that diffusers writes ("unet.lora_alpha") or from
    adapter_config.json beside the file.
    """
    beside = path.parent / "adapter_config.json"
    try:
        text = read_metadata(path).get("lora_adapter_metadata")
        if text is None and path.name.startswith("adapter_model") and beside.is_file():
            text = beside.read_text(encoding="utf8")
        config = json.loads(text) if text else {}
    except ValueError as error:
        raise CheckpointError(f"{path}: the settings of its LoRA can't be read ({error}).") from None
    return config if isinstance(config, dict) else {}


def _peft_scale(config: dict, name: str, rank: int) -> float:
    component, _, rest = name.partition(".")
    if not any(key.startswith(f"{component}.") for key in config):
        component, rest = "", name

    def setting(key: str, default):
        return config.get(f"{component}.{key}" if component else key, default)

    alpha = setting("lora_alpha", rank)
    for pattern, value in (setting("alpha_pattern", None) or {}).items():
        # As PEFT's get_pattern_key has it.
        if re.match(rf"(.*\.)?({pattern})$", rest):
            alpha = value
            break
    if not isinstance(alpha, int | float) or not math.isfinite(alpha):
        raise CheckpointError(f"The settings of the LoRA have lora_alpha {alpha!r}; a number is needed.")
    return alpha / (math.sqrt(rank) if setting("use_rslora", False) else rank)


def _remark(lora: Lora, embeddings: list[str], report: Callable[[str], None]) -> None:
    if embeddings:
        report(f"{lora.path}: embeddings in it are left out ({some(embeddings)}); only its LoRA is merged.")
    still = [name for name, scale in lora.scales.items() if scale == 0]
    if still:
        report(
            f"{lora.path}: alpha is 0 in {len(still)} of {len(lora.modules)} modules ({some(still)}), so "
            "they change nothing."
        )
    if lora.weight == 0:
        report(f"{lora.path}: its weight is 0, so it changes nothing.")
