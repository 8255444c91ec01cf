"""Reads the weights of a TorchScript archive, the format in which OpenAI publishes CLIP, without executing
its code.
The file is a zip of code/, a pickle of modules as nested objects (data.pkl), and the bytes of tensors
(data/N). The unpickler here creates tensors and inert objects only.

"""

import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path

import torch
from checkpoints import CheckpointError


class _Module:
    """Placeholder for an object of a class that the code of the archive defines. Keeps its attributes."""

    def __setstate__(self, state):
        self.__dict__.update(state if isinstance(state, dict) else {})


class _Unpickler(pickle.Unpickler):
    def __init__(self, file, read_record):
        super().__init__(file)
        self._read_record = read_record

    def find_class(self, module: str, name: str):
        if module == "__torch__" or module.startswith("__torch__."):
            return _Module
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _tensor
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if module == "torch.jit._pickle":
            return lambda value, *_: value
        if (
            module == "torch"
            and name.endswith("Storage")
            and hasattr(torch, name.removesuffix("Storage").lower())
        ):
            return getattr(torch, name.removesuffix("Storage").lower())
        raise pickle.UnpicklingError(f"it calls {module}.{name}, which was not run")

    def persistent_load(self, identity):
        _, dtype, key, _, count = identity
        return torch.frombuffer(bytearray(self._read_record(f"data/{key}")), dtype=dtype, count=count)


def _tensor(storage, offset, size, stride, *_):
    return torch.as_strided(storage, size, stride, offset)


def is_archive(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.split("/", 1)[-1] == "constants.pkl" for name in archive.namelist())


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """Returns every tensor of a module by its key, with its stored type. Raises CheckpointError when the
    archive is damaged or contains other code.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            root = next(name for name in archive.namelist() if name.endswith("/constants.pkl")).removesuffix(
                "constants.pkl"
            )
            with archive.open(f"{root}data.pkl") as file:
                top = _Unpickler(file, lambda name: archive.read(root + name)).load()
    except (
        pickle.UnpicklingError,
        zipfile.BadZipFile,
        KeyError,
        ValueError,
        TypeError,
        EOFError,
        RuntimeError,
        AttributeError,
        IndexError,
    ) as error:
        raise CheckpointError(f"{path} can't be read as TorchScript ({error}); download it again.") from None
    found: dict[str, torch.Tensor] = {}
    _collect(top, "", found)
    return found


def _collect(module, prefix: str, found: dict[str, torch.Tensor]) -> None:
    for name, value in vars(module).items():
        if isinstance(value, torch.Tensor):
            found[prefix + name] = value
        elif isinstance(value, _Module):
            _collect(value, f"{prefix}{name}.", found)
