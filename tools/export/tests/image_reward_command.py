"""Set-up of the tests of import_image_reward.py: a checkpoint, samples, and how a graph is run."""

from pathlib import Path

import numpy
import onnxruntime
import torch
from reward_command import run
from reward_models import WORDS

TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"word{i}" for i in range(WORDS - 5))]


def start(place: Path, *options, checkpoint: str = "ImageReward.pt"):
    """Imports a checkpoint in the folder `place` to out/reward."""
    return run(
        "import_image_reward",
        place / checkpoint,
        place / "out" / "reward",
        "--vocabulary",
        place / "vocab.txt",
        *options,
    )


def change(place: Path, **changes) -> None:
    """Rewrites the checkpoint: replaces the tensor of a key, or removes it for None."""
    state = torch.load(place / "ImageReward.pt", weights_only=True)
    for key, tensor in changes.items():
        if tensor is None:
            del state[key]
        else:
            state[key] = tensor
    torch.save(state, place / "ImageReward.pt")


def score(folder: Path, pixels, ids, mask) -> numpy.ndarray:
    """Scores of the exported graph."""
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])
    kind = numpy.float16 if session.get_inputs()[0].type == "tensor(float16)" else numpy.float32
    feeds = {
        "pixel_values": pixels.numpy().astype(kind),
        "input_ids": ids.numpy(),
        "attention_mask": mask.numpy(),
    }
    return session.run(["reward"], feeds)[0].astype(numpy.float32)


def sample() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Four pictures, token ids and masks."""
    torch.manual_seed(1)
    mask = torch.ones(4, 35, dtype=torch.int64)
    mask[0, 5:] = 0
    mask[1, 20:] = 0
    return torch.randn(4, 3, 32, 32), torch.randint(WORDS + 2, (4, 35)), mask
