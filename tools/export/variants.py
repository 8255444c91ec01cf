"""Variants of the weights in a folder of diffusers or transformers, such as `model.fp16.safetensors`."""

import re
from pathlib import Path

from checkpoints import CheckpointError

WEIGHTS = re.compile(
    r"(diffusion_pytorch_model|pytorch_model|model)(?:\.(?P<variant>\w+))?(?:-\d+-of-\d+)?"
    r"\.(?:safetensors|bin)(?:\.index(?:\.(?P<indexed>\w+))?\.json)?"
)
# Taken where a folder has several variants and no plain weights.
PREFERRED = "fp16"


def choose(folder: Path, wanted: str | None) -> str | None:
    """Returns the variant whose weights are to be loaded; None for the plain ones.

    wanted: the user's choice; None: the plain weights, else fp16, else the only variant
    Raises CheckpointError when the folder lacks the wanted one, or when none can be chosen.
    """
    matches = [WEIGHTS.fullmatch(path.name) for path in folder.iterdir() if not path.name.startswith(".")]
    found = {match["variant"] or match["indexed"] for match in matches if match}
    named = sorted(variant for variant in found if variant)
    if wanted is not None:
        if wanted in found:
            return wanted
        have = ", ".join(named) or "no variant"
        raise CheckpointError(f"{folder} has no weights of the variant {wanted!r}; it has {have}.")
    if None in found or not named:
        return None
    if PREFERRED in named or len(named) == 1:
        return PREFERRED if PREFERRED in named else named[0]
    raise CheckpointError(f"{folder} has the variants {', '.join(named)}; choose one with --variant.")
