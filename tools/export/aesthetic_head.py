"""The head of LAION's aesthetic predictor: linear layers without activations, which equal one affine map."""

import re
from pathlib import Path

import torch
from checkpoints import CheckpointError, read_weights
from state_dicts import refuse_kind, refuse_not_finite, some

# Weight [1, D] and bias [1].
Affine = tuple[torch.Tensor, torch.Tensor]


def read(path: Path, width: int) -> Affine:
    """Reads a head from a state dict with `layers.N.weight` and `layers.N.bias`, for embeddings of `width`
    numbers.

    Dropout layers take the missing numbers N. Raises CheckpointError when the file is not such a head.
    """
    state = read_weights(path)
    places = sorted(
        {int(match[1]) for key in state if (match := re.fullmatch(r"layers\.(\d+)\.(?:weight|bias)", key))}
    )
    wanted = {f"layers.{place}.{kind}" for place in places for kind in ("weight", "bias")}
    if not places or state.keys() - wanted:
        if places:
            raise CheckpointError(
                f"{path} has weights that an aesthetic head has no place for: "
                f"{some(state.keys() - wanted)}; linear layers alone (layers.N) are accepted."
            )
        raise refuse_kind(path, state, "the head of an aesthetic predictor (layers.N.weight, layers.N.bias)")
    if wanted - state.keys():
        raise CheckpointError(f"{path} lacks {some(wanted - state.keys())}; download it again.")
    for key, tensor in state.items():
        refuse_not_finite(tensor, f"{path}: {key}")
    weight, bias, inputs = None, None, width
    for place in places:
        w, b = state[f"layers.{place}.weight"].float(), state[f"layers.{place}.bias"].float()
        if w.dim() != 2 or w.shape[1] != inputs or b.shape != w.shape[:1]:
            before = f"CLIP's embedding has {width}" if weight is None else f"the layer before gives {inputs}"
            raise CheckpointError(
                f"{path}: layers.{place}.weight is {list(w.shape)}, and {before} numbers; take the head "
                "that belongs to this CLIP (LAION's: OpenAI's ViT-L/14)."
            )
        weight, bias, inputs = (w, b, len(b)) if weight is None else (w @ weight, w @ bias + b, len(b))
    if inputs != 1:
        raise CheckpointError(f"{path} ends in {inputs} numbers; a head with one score is accepted.")
    return weight, bias
