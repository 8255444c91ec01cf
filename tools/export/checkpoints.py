"""Reads the weights of a checkpoint file. Code in a pickle is never executed.

Tensors are mapped from the file, so a checkpoint takes memory only where it is used.
"""

import json
import os
import pickle
import struct
import warnings
import zipfile
from pathlib import Path

import safetensors
import torch

SAFETENSORS = (".safetensors", ".sft")
PICKLES = (".ckpt", ".pt", ".pth", ".bin")
# Modules of objects that training scripts store beside the weights. Their classes are never
# imported: placeholders take their place.
HARMLESS = ("pytorch_lightning.", "lightning.pytorch.", "lightning_fabric.")
LFS = b"version https://git-lfs"


class CheckpointError(Exception):
    """A file can't be used. The message says what is wrong with it and what to do."""


class Inert:
    """Placeholder for an object of a training script's class. Accepts any arguments and state, and keeps
    nothing.
    """

    def __init__(self, *_, **__):
        pass

    def __setstate__(self, state):
        pass


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """Returns every tensor of the file by its key, with its stored type, on the CPU.

    Raises CheckpointError when the file is missing, truncated, of another kind, or a pickle that contains
    code.
    """
    if path.is_dir():
        raise CheckpointError(f"{path} is a folder; a checkpoint file was expected.")
    if not path.is_file():
        raise CheckpointError(f"{path} does not exist; check the path.")
    with path.open("rb") as file:
        start = file.read(64)
    if not start:
        raise CheckpointError(f"{path} is empty. Download it again.")
    if start.startswith(LFS):
        raise CheckpointError(
            f"{path} is a pointer of Git LFS, not the file itself; fetch it with `git lfs pull`."
        )
    if start.lstrip()[:1] == b"<":
        raise CheckpointError(
            f"{path} is a web page, not a checkpoint; the download needs a login or another address."
        )
    suffix = path.suffix.lower()
    if suffix in SAFETENSORS:
        return _read_safetensors(path)
    if suffix in PICKLES:
        return _read_pickle(path)
    accepted = ", ".join(SAFETENSORS + PICKLES)
    raise CheckpointError(f"{path} has the unknown extension {suffix!r}; checkpoints end in {accepted}.")


def _read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    _refuse_cut_off(path)
    try:
        with safetensors.safe_open(path, framework="pt", device="cpu") as file:
            return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
    except (safetensors.SafetensorError, ValueError, TypeError) as error:
        raise CheckpointError(
            f"{path} is not a valid safetensors file ({error}); download it again."
        ) from None


def _refuse_cut_off(path: Path) -> None:
    """Compares the size of the file with the size in its header."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = struct.unpack("<Q", file.read(8).ljust(8, b"\0"))[0]
        if size < 8 or length > min(size - 8, 100_000_000):
            raise CheckpointError(
                f"{path} has {size:,} bytes and no complete header; "
                "it is truncated or not a safetensors file. "
                "Download it again."
            )
        try:
            header = json.loads(file.read(length))
            wanted = max(
                (entry["data_offsets"][1] for key, entry in header.items() if key != "__metadata__"),
                default=0,
            )
        except (ValueError, TypeError, KeyError, IndexError):
            raise CheckpointError(f"{path} has a damaged header; download it again.") from None
    if size < 8 + length + wanted:
        raise CheckpointError(
            f"{path} has {size:,} of {8 + length + wanted:,} bytes: the download was cut off. Download it "
            "again."
        )


def _read_pickle(path: Path) -> dict[str, torch.Tensor]:
    if not zipfile.is_zipfile(path):
        # The index of a zip is at its end, so a truncated download lacks it.
        with path.open("rb") as file:
            if file.read(2) == b"PK":
                raise CheckpointError(
                    f"{path} is cut off: the index at its end is missing. Download it again."
                )
    with torch.serialization.safe_globals(_inert_classes(path)), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
        except pickle.UnpicklingError as error:
            raise CheckpointError(_refusal(path, error)) from None
        except (
            RuntimeError,
            EOFError,
            OSError,
            ValueError,
            KeyError,
            IndexError,
            AttributeError,
            UnicodeDecodeError,
        ) as error:
            raise CheckpointError(
                f"{path} can't be read ({next(iter(str(error).splitlines()), type(error).__name__)}); it "
                "is damaged or not a PyTorch checkpoint. Download it again."
            ) from None
    content = content.get("state_dict", content) if isinstance(content, dict) else content
    tensors = (
        {key: value for key, value in content.items() if isinstance(value, torch.Tensor)}
        if isinstance(content, dict)
        else {}
    )
    if not tensors:
        raise CheckpointError(
            f'{path} holds no weights by name; a state dict, or a dict with one under "state_dict", is '
            "accepted."
        )
    return tensors


def _inert_classes(path: Path) -> list:
    try:
        unknown = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except Exception:  # an unreadable file; reading it raises the proper error
        return []
    return [(type("Inert", (Inert,), {}), name) for name in unknown if name.startswith(HARMLESS)]


def _refusal(path: Path, error: Exception) -> str:
    try:
        names = [
            name
            for name in torch.serialization.get_unsafe_globals_in_checkpoint(path)
            if not name.startswith(HARMLESS)
        ]
    except Exception:
        names = []
    if names:
        return (
            f"{path} is a pickle that calls {', '.join(sorted(names)[:5])} when it is loaded. It was not "
            "run. Take the .safetensors form of this checkpoint, "
            "or, if you trust where it came from, load it with torch and save its tensors as .safetensors."
        )
    reason = next(iter(str(error).splitlines()), type(error).__name__)
    return (
        f"{path} can't be read as weights ({reason}); it is damaged, or holds more than weights. "
        "Download it again, or take its .safetensors form."
    )


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    if path.is_file():
        return path.stat().st_size
    return sum(os.path.getsize(Path(folder) / name) for folder, _, names in os.walk(path) for name in names)
