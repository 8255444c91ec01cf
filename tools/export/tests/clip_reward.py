"""Set-up of the tests of export_clip_reward.py: samples, and how a graph is run and compared."""

from itertools import pairwise
from pathlib import Path

import numpy
import onnxruntime
import torch
from reward_command import run
from reward_models import OriginalClip

TOKENIZER = Path(__file__).resolve().parents[1] / "configs" / "clip-tokenizer"
OPENAI = {
    "input_resolution": torch.tensor(32),
    "context_length": torch.tensor(12),
    "vocab_size": torch.tensor(49408),
}
END = 49407


def start(place: Path, source: str, *options):
    """Exports `source` in the folder `place` to out/reward."""
    return run("export_clip_reward", place / source, place / "out" / "reward", *options)


def graph(folder: Path, **feeds) -> list[numpy.ndarray]:
    """Outputs of the exported graph."""
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])
    kinds = {
        value.name: numpy.float16 if value.type == "tensor(float16)" else None
        for value in session.get_inputs()
    }
    feeds = {name: value.numpy().astype(kinds[name] or value.numpy().dtype) for name, value in feeds.items()}
    return [value.astype(numpy.float32) for value in session.run(None, feeds)]


def sample() -> dict[str, torch.Tensor]:
    """Three pictures and prompts."""
    torch.manual_seed(1)
    ids = torch.randint(40000, (3, 12))
    ids[:, 0], ids[:, -1] = END - 1, END
    ids[1, 4:] = END
    mask = torch.ones(3, 12, dtype=torch.int64)
    mask[1, 5:] = 0
    return {"pixel_values": torch.randn(3, 3, 32, 32), "input_ids": ids, "attention_mask": mask}


def embeddings_agree(folder: Path, model: OriginalClip, tolerance: float) -> None:
    """Expects the graph to return the embeddings of the original model."""
    feeds = sample()
    with torch.no_grad():
        wanted = model(feeds["pixel_values"], feeds["input_ids"])
    for expected, actual in zip(wanted, graph(folder, **feeds), strict=True):
        assert expected.std() > 0.1
        assert numpy.abs(expected.numpy() - actual).max() < tolerance * expected.abs().max()


def head(*sizes: int) -> dict[str, torch.Tensor]:
    """Weights of an aesthetic head with layers of these sizes."""
    torch.manual_seed(2)
    layers = [torch.nn.Linear(a, b) for a, b in pairwise(sizes)]
    return {
        f"layers.{2 * i}.{name}": value.data
        for i, layer in enumerate(layers)
        for name, value in layer.named_parameters()
    }
