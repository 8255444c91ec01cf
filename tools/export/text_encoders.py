"""Text encoders for a checkpoint that has none: from another checkpoint, a diffusers folder, or a file of
transformers' weights.
"""

from collections.abc import Callable
from pathlib import Path

import checkpoint_keys
import layouts
import quantisation
import torch
from checkpoints import CheckpointError, read_weights

FILES = ("model.safetensors", "model.fp16.safetensors", "pytorch_model.bin", "pytorch_model.fp16.bin")


def read(path: Path, module: str, model: torch.nn.Module, report: Callable[[str], None]) -> layouts.Renamed:
    """Returns the weights of a text encoder.

    path: a checkpoint in the original layout, a file of transformers' weights, or a folder with one of
    these, perhaps in a folder called as the module
    module: text_encoder or text_encoder_2
    model: the module, whose names are wanted
    """
    if path.is_dir():
        found = [path / part / name for part in (module, "") for name in FILES]
        file = next((each for each in found if each.is_file()), None)
        if file is None:
            raise CheckpointError(
                f"{path} has no {module}: {module}/{FILES[0]} or {FILES[0]} is expected. Give a diffusers "
                "folder, or one file."
            )
        path = file
    weights = quantisation.dequantised(path, read_weights(path))
    weights = checkpoint_keys.unwrapped(path, weights, report)
    return layouts.text_encoder_weights(weights, module, model)
