"""A diffusers pipeline folder as the source of its modules."""

import shutil
from collections.abc import Callable
from pathlib import Path

import diffusers
import quantisation
import torch
import transformers
import variants
from checkpoints import CheckpointError, read_weights
from pipeline_source import MODULES, read_json, read_tokens
from state_dicts import refuse_not_finite, some

FAMILIES = {
    "sd": ("StableDiffusionPipeline", "LatentConsistencyModelPipeline"),
    "sdxl": ("StableDiffusionXLPipeline",),
    "sd3": ("StableDiffusion3Pipeline",),
    "flux": ("FluxPipeline",),
}


class FolderSource:
    """A diffusers pipeline folder.

    variant: name in the files of its weights ("fp16"); None: the files without one, else the only variant.
    """

    def __init__(self, folder: Path, variant: str | None = None, report: Callable[[str], None] = print):
        index = read_json(folder / "model_index.json")
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
        self._refuse_edm()
        self._variants = {name: variants.choose(folder / name, variant) for name in self.modules}
        chosen = {each for each in self._variants.values() if each}
        if chosen and variant is None:
            report(f"{folder}: the weights of the variant {', '.join(sorted(chosen))} are taken.")
        self.files = sorted(
            path
            for path in folder.rglob("*")
            if path.is_file()
            and not path.name.startswith(".")
            and path.relative_to(folder).parts[0] in self.modules
        )
        for path in self.files:
            if path.suffix == ".safetensors":
                # Only maps the file; raises for a truncated one.
                quantisation.dequantised(path, read_weights(path))

        self.tokens = read_tokens(folder)

    def _refuse_edm(self) -> None:
        path = self.folder / "scheduler" / "scheduler_config.json"
        name = str(read_json(path).get("_class_name"))
        if name.startswith("EDM"):
            raise CheckpointError(
                f"{self.folder} is an EDM model ({name}): its noise levels and preconditioning are those of "
                "EDM, which findery does not have. It can't be imported."
            )

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
        return read_json(self.folder / module / "config.json")

    def load(self, module: str) -> torch.nn.Module:
        kind = self._class(module)
        try:
            # Both libraries read .bin files as weights only, without executing code.
            found, loading = kind.from_pretrained(
                self.folder / module,
                local_files_only=True,
                torch_dtype=torch.float32,
                variant=self._variants[module],
                output_loading_info=True,
            )
        except (OSError, RuntimeError, ValueError, KeyError, TypeError, AttributeError) as error:
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            raise CheckpointError(
                f"{self.folder / module} can't be loaded: {reason} Copy the folder again."
            ) from None
        if loading["missing_keys"]:
            raise CheckpointError(
                f"{self.folder / module} lacks weights: {some(loading['missing_keys'])}; copy the folder "
                "again."
            )
        for name, weight in found.state_dict().items():
            refuse_not_finite(weight, f"{self.folder / module}: {name}")
        return found.eval()

    def copy_files(self, out: Path) -> None:
        shutil.copy(self.folder / "model_index.json", out / "model_index.json")
        for folder in self.folder.iterdir():
            if folder.is_dir() and (folder.name.startswith("tokenizer") or folder.name == "scheduler"):
                shutil.copytree(folder, out / folder.name, dirs_exist_ok=True)


def _family_of(name: str) -> str:
    for family, classes in FAMILIES.items():
        if name in classes:
            return family
    accepted = ", ".join(name for classes in FAMILIES.values() for name in classes)
    raise CheckpointError(f"{name} can not be exported; these pipelines can: {accepted}.")
