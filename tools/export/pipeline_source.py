"""What every source of a pipeline's modules shares: its protocol, its modules, its JSON files."""

import json
from pathlib import Path
from typing import Protocol

import torch
from checkpoints import CheckpointError

MODULES = ("text_encoder", "text_encoder_2", "text_encoder_3", "unet", "transformer", "vae")
# CLIP's window, where a config says nothing or, as transformers writes for "unlimited", 1e30.
DEFAULT_TOKENS = 77
MAX_TOKENS = 100_000


class Source(Protocol):
    """A pipeline that a bundle is exported from."""

    family: str
    modules: list[str]
    files: list[Path]
    # Maximum length of a prompt in tokens.
    tokens: int

    def names(self, module: str) -> list[str]:
        """Names of the submodules, without loading weights."""

    def count(self, module: str) -> int:
        """Number of parameters of a module."""

    def config(self, module: str) -> dict: ...

    def load(self, module: str) -> torch.nn.Module:
        """Loads a module in float32 for inference. Raises CheckpointError when weights are missing or of
        other shapes.
        """

    def copy_files(self, out: Path) -> None:
        """Copies model_index.json, the config of the scheduler and the tokenizers."""


def read_json(path: Path) -> dict:
    """Reads a JSON object. Raises CheckpointError when the file is missing or holds none."""
    try:
        found = json.loads(path.read_text(encoding="utf8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} can't be read ({error}); copy it again.") from None
    if not isinstance(found, dict):
        raise CheckpointError(f"{path} holds no JSON object; copy it again.")
    return found


def read_tokens(folder: Path) -> int:
    """Window of the tokenizer of a pipeline, in tokens."""
    path = folder / "tokenizer" / "tokenizer_config.json"
    tokens = read_json(path).get("model_max_length") if path.exists() else None
    return int(tokens) if isinstance(tokens, int | float) and 2 < tokens <= MAX_TOKENS else DEFAULT_TOKENS
