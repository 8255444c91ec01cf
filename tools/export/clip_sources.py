"""Sources of a CLIP: a transformers folder, or one file in the original key layout."""

import json
import math
import shutil
from pathlib import Path
from typing import Protocol

import clip_layout
import torch
import torchscript
from checkpoints import CheckpointError, read_weights, size_of
from state_dicts import refuse_not_finite, some
from transformers import AutoImageProcessor, AutoTokenizer, CLIPConfig, CLIPModel

TOKENIZER = Path(__file__).parent / "configs" / "clip-tokenizer"
# Special tokens of that vocabulary, which all families of Stable Diffusion use.
TOKENIZER_CONFIG = Path(__file__).parent / "configs" / "sd1" / "tokenizer" / "tokenizer_config.json"
MEAN = [0.48145466, 0.4578275, 0.40821073]
STD = [0.26862954, 0.26130258, 0.27577711]


class ClipSource(Protocol):
    """A CLIP model that a reward is exported from."""

    # Numbers in an embedding; width and height of a picture in pixels.
    embedding: int
    image_size: int
    # Number of parameters, and size of the files in bytes.
    parameters: int
    stored: int
    # Remarks for the user.
    notes: list[str]

    def learned_scale(self) -> float:
        """exp(logit_scale) of the checkpoint."""

    def load(self) -> CLIPModel:
        """Loads the model in float32 for inference. Raises CheckpointError when weights are missing, unknown
        or of other shapes.
        """

    def copy_processor(self, out: Path) -> None:
        """preprocessor_config.json."""

    def copy_tokenizer(self, out: Path) -> None: ...


class FileSource:
    """A checkpoint of OpenAI or open_clip: a state dict, a dict with one under "state_dict", or OpenAI's
    TorchScript archive.
    """

    def __init__(self, path: Path, activation: str | None):
        self._path = path
        if path.is_file() and torchscript.is_archive(path):
            # Only OpenAI publishes CLIP as TorchScript archives.
            self._weights = torchscript.read_weights(path)
            activation = activation or "quick_gelu"
        else:
            self._weights = clip_layout.plain_keys(read_weights(path))
        self._config = clip_layout.read_config(self._weights, path, activation)
        vision, text = self._config.vision_config, self._config.text_config
        words = len(json.loads((TOKENIZER / "vocab.json").read_text(encoding="utf8")))
        if text.vocab_size != words:
            raise CheckpointError(
                f"{path} knows {text.vocab_size} tokens, and CLIP's vocabulary has {words}; a model with "
                "another tokenizer can't be imported from its file."
            )
        self.embedding = self._config.projection_dim
        self.image_size = self._config.vision_config.image_size
        self.parameters = sum(tensor.numel() for tensor in self._weights.values())
        self.stored = size_of(path)
        self.notes = [
            f"A vision transformer of {vision.num_hidden_layers} layers of {vision.hidden_size}, "
            f"{vision.image_size}x{vision.image_size} pixels in patches of "
            f"{vision.patch_size}, text of {text.num_hidden_layers} layers of {text.hidden_size}, "
            f"activation {vision.hidden_act}" + ("." if activation else " (--activation takes another).")
        ]

    def learned_scale(self) -> float:
        if "logit_scale" not in self._weights:
            raise CheckpointError(f"{self._path} lacks logit_scale; give --scale a number.")
        return math.exp(float(self._weights["logit_scale"]))

    def load(self) -> CLIPModel:
        return clip_layout.build(self._config, self._weights, self._path)

    def copy_processor(self, out: Path) -> None:
        """As OpenAI's and open_clip's own: Resize, CenterCrop, ToTensor and Normalize of torchvision."""
        size = self.image_size
        processor = {
            "image_processor_type": "CLIPImageProcessor",
            "do_resize": True,
            "size": {"shortest_edge": size},
            "resample": 3,
            "do_center_crop": True,
            "crop_size": {"height": size, "width": size},
            "crop_rounding": "nearest",
            "do_rescale": True,
            "rescale_factor": 1 / 255,
            "do_normalize": True,
            "image_mean": MEAN,
            "image_std": STD,
            "do_convert_rgb": True,
        }
        (out / "preprocessor_config.json").write_text(json.dumps(processor, indent=2) + "\n")

    def copy_tokenizer(self, out: Path) -> None:
        for name in ("vocab.json", "merges.txt"):
            shutil.copy(TOKENIZER / name, out / name)
        config = json.loads(TOKENIZER_CONFIG.read_text()) | {
            "model_max_length": self._config.text_config.max_position_embeddings
        }
        (out / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")


class FolderSource:
    """A folder of transformers' CLIPModel with its preprocessor and tokenizer."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._config = self._read_config()
        with torch.device("meta"):
            empty = CLIPModel(self._config)
        self.embedding = self._config.projection_dim
        self.image_size = self._config.vision_config.image_size
        self.parameters = sum(weight.numel() for weight in empty.parameters())
        files = [*folder.glob("*.safetensors"), *folder.glob("pytorch_model*.bin")]
        if not files:
            raise CheckpointError(
                f"{folder} has no weights (model.safetensors or pytorch_model.bin); copy the whole folder."
            )
        for path in files:
            read_weights(path)  # only maps the file; raises for a truncated file or one with code
        self.stored = (
            min(size_of(path) for path in files) if len(files) == 2 else sum(size_of(path) for path in files)
        )
        self.notes = []

    def _read_config(self) -> CLIPConfig:
        path = self._folder / "config.json"
        if (self._folder / "open_clip_config.json").exists() and not path.exists():
            raise CheckpointError(
                f"{self._folder} is a folder of open_clip; give the checkpoint file in it instead."
            )
        try:
            content = json.loads(path.read_text(encoding="utf8"))
        except (OSError, ValueError):
            raise CheckpointError(
                f"{self._folder} has no readable config.json; give a folder of transformers' CLIP, or one "
                "checkpoint file."
            ) from None
        kind = content.get("model_type") if isinstance(content, dict) else None
        if kind != "clip":
            raise CheckpointError(
                f"{self._folder} is a model of type {kind}; transformers' clip is accepted."
            )
        return CLIPConfig.from_dict(content)

    def learned_scale(self) -> float:
        return math.exp(self.load().logit_scale.item())

    def load(self) -> CLIPModel:
        try:
            model, loading = CLIPModel.from_pretrained(
                self._folder, local_files_only=True, dtype=torch.float32, output_loading_info=True
            )
        except (OSError, RuntimeError, ValueError) as error:
            raise CheckpointError(
                f"{self._folder} can't be loaded: {str(error).splitlines()[0]} Copy the folder again."
            ) from None
        if loading["missing_keys"]:
            raise CheckpointError(
                f"{self._folder} lacks weights: {some(loading['missing_keys'])}; copy the folder again."
            )
        unknown = {key for key in loading["unexpected_keys"] if not key.endswith("position_ids")}
        if unknown:
            raise CheckpointError(
                f"{self._folder} has weights that CLIP has no place for: {some(unknown)}. It is another "
                "architecture, whose scores would be others."
            )
        for name, weight in model.named_parameters():
            refuse_not_finite(weight, f"{self._folder}: {name}")
        return model.eval().requires_grad_(False)

    def copy_processor(self, out: Path) -> None:
        self._copy(AutoImageProcessor, "preprocessor_config.json", out)

    def copy_tokenizer(self, out: Path) -> None:
        tokenizer = self._copy(AutoTokenizer, "tokenizer", out)
        # If files are missing, transformers makes a tokenizer without a vocabulary.
        wanted = end_token(self._config.text_config)
        if tokenizer.eos_token_id != wanted or len(tokenizer) > self._config.text_config.vocab_size:
            raise CheckpointError(
                f"{self._folder} has a tokenizer of {len(tokenizer)} tokens that ends in token "
                f"{tokenizer.eos_token_id}, and its model is for {self._config.text_config.vocab_size} "
                f"tokens and reads token {wanted}; copy the whole folder, with tokenizer.json, or "
                "vocab.json and merges.txt."
            )

    def _copy(self, kind, what: str, out: Path):
        try:
            found = kind.from_pretrained(self._folder, local_files_only=True)
        except (OSError, ValueError, KeyError, TypeError):
            raise CheckpointError(
                f"{self._folder} has no {what} that can be read; copy the whole folder."
            ) from None
        found.save_pretrained(out)
        return found


def end_token(text) -> int:
    """Token at whose position a model with this text config takes the embedding."""
    # Configs from before transformers' pull request 24773 say 2 and mean the last token.
    return text.vocab_size - 1 if text.eos_token_id == 2 else text.eos_token_id


def open_source(path: Path, activation: str | None = None) -> ClipSource:
    """Opens a transformers folder or one file. Raises CheckpointError when it can't be used."""
    if path.is_dir():
        if activation:
            raise CheckpointError("--activation is for single files; a transformers folder says it itself.")
        return FolderSource(path)
    return FileSource(path, activation)
