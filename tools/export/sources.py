"""Sources of a pipeline's modules: a diffusers folder, or one file in the original key layout.

Both load one module at a time in float32, so that only one is in memory.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import diffusers
import layouts
import torch
import transformers
from checkpoints import CheckpointError, read_weights, size_of
from module_weights import create, fill
from state_dicts import some

CONFIGS = Path(__file__).parent / "configs"
CLIP_TOKENIZER = CONFIGS / "clip-tokenizer"
FAMILIES = {
    "sd": ("StableDiffusionPipeline", "LatentConsistencyModelPipeline"),
    "sdxl": ("StableDiffusionXLPipeline",),
    "sd3": ("StableDiffusion3Pipeline",),
    "flux": ("FluxPipeline",),
}
MODULES = ("text_encoder", "text_encoder_2", "text_encoder_3", "unet", "transformer", "vae")


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


class FolderSource:
    """A diffusers pipeline folder."""

    def __init__(self, folder: Path):
        index = _read_json(folder / "model_index.json")
        self.folder = folder
        self.family = _family_of(str(index.get("_class_name")))
        self._classes = {
            name: index[name] for name in MODULES if isinstance(index.get(name), list) and index[name][1]
        }
        self.modules = list(self._classes)
        for name in self.modules:
            if not (folder / name / "config.json").exists():
                raise CheckpointError(
                    f"{folder} names {name} in model_index.json and has no {name}/config.json; copy the "
                    "whole folder."
                )
        self.files = sorted(
            path
            for path in folder.rglob("*")
            if path.is_file() and path.relative_to(folder).parts[0] in self.modules
        )
        for path in self.files:
            if path.suffix == ".safetensors":
                read_weights(path)  # only maps the file; raises for a truncated one

        self.tokens = _tokens(folder)

    def names(self, module: str) -> list[str]:
        return [name for name, _ in self._empty(module).named_modules()]

    def count(self, module: str) -> int:
        return sum(weight.numel() for weight in self._empty(module).parameters())

    def _class(self, module: str):
        library, name = self._classes[module]
        kind = getattr({"diffusers": diffusers, "transformers": transformers}.get(library), name, None)
        if kind is None:
            raise CheckpointError(
                f"{self.folder}: {module} is {library}'s {name}, which this exporter does not know."
            )
        return kind

    def _empty(self, module: str) -> torch.nn.Module:
        kind = self._class(module)
        with torch.device("meta"):
            if hasattr(kind, "from_config") and kind.__module__.startswith("diffusers"):
                return kind.from_config(self.config(module))
            return kind(kind.config_class.from_dict(self.config(module)))

    def config(self, module: str) -> dict:
        return _read_json(self.folder / module / "config.json")

    def load(self, module: str) -> torch.nn.Module:
        kind = self._class(module)
        try:
            # Both libraries read .bin files as weights only, without executing code.
            found, loading = kind.from_pretrained(
                self.folder / module,
                local_files_only=True,
                torch_dtype=torch.float32,
                output_loading_info=True,
            )
        except (OSError, RuntimeError, ValueError) as error:
            raise CheckpointError(
                f"{self.folder / module} can't be loaded: {str(error).splitlines()[0]} Copy the folder again."
            ) from None
        if loading["missing_keys"]:
            raise CheckpointError(
                f"{self.folder / module} lacks weights: {some(loading['missing_keys'])}; copy the folder "
                "again."
            )
        return found.eval()

    def copy_files(self, out: Path) -> None:
        shutil.copy(self.folder / "model_index.json", out / "model_index.json")
        for folder in self.folder.iterdir():
            if folder.is_dir() and (folder.name.startswith("tokenizer") or folder.name == "scheduler"):
                shutil.copytree(folder, out / folder.name, dirs_exist_ok=True)


class SingleFileSource:
    """A checkpoint of Stable Diffusion 1.x, 2.x or XL in the original key layout.

    vae: file or folder of an autoencoder that replaces that of the checkpoint, or None.
    configs: folder of diffusers configs for another architecture than the family's published one, or None.
    prediction_type: name in diffusers; required for 2.x, whose files do not determine it.
    size: width and height in pixels that the model was trained for, or None for the family's.
    """

    def __init__(
        self,
        path: Path,
        vae: Path | None = None,
        configs: Path | None = None,
        prediction_type: str | None = None,
        size: int | None = None,
        use_ema: bool = False,
        ignore_unknown: bool = False,
        report: Callable[[str], None] = print,
    ):
        self._path = path
        self._weights = read_weights(path)
        layout = layouts.detect(path, self._weights)
        self.family = "sdxl" if layout == "sdxl" else "sd"
        self.configs = configs or CONFIGS / layout
        self.modules = [name for name in MODULES if (self.configs / name / "config.json").exists()]
        self.files = [path, *([vae] if vae else [])]
        self._scheduler = layouts.scheduler_changes(path, layout, self._weights, prediction_type)
        is_velocity = self._scheduler.get("prediction_type", "epsilon") == "v_prediction"
        self._size = size or (512 if layout == "sd2" and not is_velocity else None)
        self._vae = vae
        self._use_ema = use_ema
        if vae is None and not layouts.has_vae(self._weights):
            raise CheckpointError(
                f"{path} has no autoencoder; give one with --vae FILE (for Stable Diffusion 1.x "
                "vae-ft-mse-840000 is usual)."
            )
        if use_ema and not any(key.startswith("model_ema.") for key in self._weights):
            raise CheckpointError(f"{path} has no averaged (EMA) weights; leave --ema out.")
        self._ignore_unknown = ignore_unknown
        others = [key for key in self._weights if layouts.is_unknown(key)]
        if others:
            report(f"Not used: {some(others)}, which no part of the model has.")
        self.tokens = _tokens(self.configs)

    def names(self, module: str) -> list[str]:
        return [name for name, _ in self._empty(module).named_modules()]

    def count(self, module: str) -> int:
        return sum(weight.numel() for weight in self._empty(module).parameters())

    def _empty(self, module: str) -> torch.nn.Module:
        with torch.device("meta"):
            return create(module, self.config(module))

    def config(self, module: str) -> dict:
        config = _read_json(self.configs / module / "config.json")
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
        path.write_text(json.dumps({**_read_json(path), **self._scheduler}, indent=2) + "\n")


def _autoencoder_file(path: Path) -> dict[str, torch.Tensor]:
    if path.is_dir():
        found = [
            path / part / name
            for part in ("vae", "")
            for name in ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin")
        ]
        path = next((file for file in found if file.exists()), path)
    return read_weights(path)


def open_source(path: Path, **options) -> Source:
    """Opens a folder with model_index.json, or one file."""
    if path.is_dir():
        if not (path / "model_index.json").exists():
            raise CheckpointError(
                f"{path} has no model_index.json; give the folder of a diffusers pipeline, or one "
                "checkpoint file."
            )
        return FolderSource(path)
    return SingleFileSource(path, **options)


def weights_size(source: Source) -> int:
    """Upper bound of the size of all weights in float32, in bytes."""
    return max(1, sum(size_of(path) for path in source.files))


def _family_of(name: str) -> str:
    for family, classes in FAMILIES.items():
        if name in classes:
            return family
    accepted = ", ".join(name for classes in FAMILIES.values() for name in classes)
    raise CheckpointError(f"{name} can not be exported; these pipelines can: {accepted}.")


def _tokens(folder: Path) -> int:
    return int(_read_json(folder / "tokenizer" / "tokenizer_config.json")["model_max_length"])


def _read_json(path: Path) -> dict:
    try:
        return json.loads(path.read_text(encoding="utf8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} can't be read ({error}); copy it again.") from None
