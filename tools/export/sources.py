"""Sources of a pipeline's modules: a diffusers folder, or one file in the original key layout.

Both load one module at a time in float32, so that only one is in memory.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import checkpoint_keys
import layouts
import quantisation
import text_encoders
import torch
from checkpoints import CheckpointError, read_weights, size_of
from folder_source import FolderSource
from module_weights import create, fill
from pipeline_source import MODULES, Source, read_json, read_tokens
from state_dicts import some

CONFIGS = Path(__file__).parent / "configs"
CLIP_TOKENIZER = CONFIGS / "clip-tokenizer"
AUTOENCODER_FILES = tuple(
    f"diffusion_pytorch_model.{ending}" for ending in ("safetensors", "bin", "fp16.safetensors", "fp16.bin")
)


class SingleFileSource:
    """A checkpoint of Stable Diffusion 1.x, 2.x or XL in the original key layout.

    vae: file or folder of an autoencoder that replaces that of the checkpoint, or None.
    text_encoder: file or folder of text encoders that replace those of the checkpoint, or None.
    configs: folder of diffusers configs for another architecture than the family's published one, or None.
    prediction_type: name in diffusers; required for 2.x, whose files do not determine it.
    size: width and height in pixels that the model was trained for, or None for the family's.
    """

    def __init__(
        self,
        path: Path,
        vae: Path | None = None,
        text_encoder: Path | None = None,
        configs: Path | None = None,
        prediction_type: str | None = None,
        size: int | None = None,
        use_ema: bool = False,
        ignore_unknown: bool = False,
        report: Callable[[str], None] = print,
    ):
        self._path = path
        weights = quantisation.dequantised(path, read_weights(path))
        self._weights = checkpoint_keys.unwrapped(path, weights, report)
        layout = layouts.detect(path, self._weights, has_text=text_encoder is None)
        self.family = "sdxl" if layout == "sdxl" else "sd"
        self.configs = configs or CONFIGS / layout
        self.modules = [name for name in MODULES if (self.configs / name / "config.json").exists()]
        self.files = [path, *(each for each in (vae, text_encoder) if each)]
        self._scheduler = layouts.scheduler_changes(path, layout, self._weights, prediction_type)
        is_velocity = self._scheduler.get("prediction_type", "epsilon") == "v_prediction"
        self._size = size or (512 if layout == "sd2" and not is_velocity else None)
        self._vae = vae
        self._text_encoder = text_encoder
        self._report = report
        self._use_ema = use_ema and checkpoint_keys.FIRST_CONV in self._weights
        if vae is None and not layouts.has_vae(self._weights):
            raise CheckpointError(
                f"{path} has no autoencoder; give one with --vae FILE (for Stable Diffusion 1.x "
                "vae-ft-mse-840000 is usual)."
            )
        if use_ema and not any(key.startswith("model_ema.") for key in self._weights):
            raise CheckpointError(f"{path} has no averaged (EMA) weights; leave --ema out.")
        if checkpoint_keys.FIRST_CONV not in self._weights:
            report(f"{path.name}: the UNet is there as averaged (EMA) weights alone; they are taken.")
            names = list(self._empty("unet").state_dict())
            self._weights = checkpoint_keys.from_averaged(self._weights, names, self.config("unet"))
        self._ignore_unknown = ignore_unknown
        others = [key for key in self._weights if layouts.is_unknown(key)]
        if others:
            report(f"Not used: {some(others)}, which no part of the model has.")
        self.tokens = read_tokens(self.configs)

    def names(self, module: str) -> list[str]:
        return [name for name, _ in self._empty(module).named_modules()]

    def count(self, module: str) -> int:
        return sum(weight.numel() for weight in self._empty(module).parameters())

    def _empty(self, module: str) -> torch.nn.Module:
        with torch.device("meta"):
            return create(module, self.config(module))

    def config(self, module: str) -> dict:
        config = read_json(self.configs / module / "config.json")
        scale = 8 if module == "unet" else 1
        if self._size and module in ("unet", "vae"):
            config["sample_size"] = self._size // scale
        return config

    def load(self, module: str) -> torch.nn.Module:
        where = self._path
        config = self.config(module)
        found = self._empty(module)
        if module == "vae" and self._vae:
            where = self._vae
            weights = layouts.vae_weights(_autoencoder_file(self._vae), config)
        elif module == "vae":
            weights = layouts.vae_weights(self._weights, config)
        elif module == "unet":
            weights = layouts.unet_weights(self._weights, config, self._use_ema)
        elif self._text_encoder:
            where = self._text_encoder
            weights = text_encoders.read(self._text_encoder, module, found, self._report)
        else:
            weights = layouts.text_encoder_weights(self._weights, module, found)
        return fill(found, weights, f"{where}: {module}", self._ignore_unknown)

    def copy_files(self, out: Path) -> None:
        shutil.copy(self.configs / "model_index.json", out / "model_index.json")
        for folder in sorted(self.configs.iterdir()):
            if not folder.is_dir() or not (folder.name.startswith("tokenizer") or folder.name == "scheduler"):
                continue
            shutil.copytree(folder, out / folder.name, dirs_exist_ok=True)
            if folder.name != "scheduler" and not (folder / "vocab.json").exists():
                for file in CLIP_TOKENIZER.iterdir():
                    shutil.copy(file, out / folder.name / file.name)
        path = out / "scheduler" / "scheduler_config.json"
        path.write_text(json.dumps({**read_json(path), **self._scheduler}, indent=2) + "\n")


def _autoencoder_file(path: Path) -> dict[str, torch.Tensor]:
    if path.is_dir():
        found = [path / part / name for part in ("vae", "") for name in AUTOENCODER_FILES]
        file = next((each for each in found if each.is_file()), None)
        if file is None:
            raise CheckpointError(f"{path} has no autoencoder: {AUTOENCODER_FILES[0]} is expected in it.")
        path = file
    return quantisation.dequantised(path, read_weights(path))


def open_source(
    path: Path, variant: str | None = None, report: Callable[[str], None] = print, **options
) -> Source:
    """Opens a folder with model_index.json, or one file.

    variant: for folders; the other options are those of SingleFileSource
    """
    if path.is_dir():
        if not (path / "model_index.json").exists():
            raise CheckpointError(
                f"{path} has no model_index.json; give the folder of a diffusers pipeline, or one "
                "checkpoint file."
            )
        return FolderSource(path, variant, report)
    return SingleFileSource(path, report=report, **options)


def weights_size(source: Source) -> int:
    """Upper bound of the size of all weights in float32, in bytes."""
    return max(1, sum(size_of(path) for path in source.files))
