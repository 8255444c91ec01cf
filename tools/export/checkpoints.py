"""Reads the weights of a checkpoint file. Code in a pickle is never executed.

Tensors are mapped from the file, so a checkpoint takes memory only where it is used.
"""

import json
import os
import pickle
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import safetensors
import torch

SAFETENSORS = (".safetensors", ".sft")
PICKLES = (".ckpt", ".pt", ".pth", ".bin")
# First bytes of files of other programs, and what they are.
FOREIGN = {
    b"GGUF": "a GGUF file, whose weights are quantised; take the .safetensors form in fp16, bf16 or fp32",
    b"\x89HDF": "an HDF5 file of Keras; take the PyTorch or .safetensors form",
    b"7z\xbc\xaf": "a 7z archive; unpack it first",
    b"Rar!": "a RAR archive; unpack it first",
    b"\x1f\x8b": "compressed with gzip; unpack it first",
}
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
    for magic, kind in FOREIGN.items():
        if start.startswith(magic):
            raise CheckpointError(f"{path} is {kind}.")
    return _reader_of(path, start)(path)


def _reader_of(path: Path, start: bytes) -> Callable[[Path], dict[str, torch.Tensor]]:
    """The function that reads the file: by its content where that is clear, else by its name."""
    if start[8:9] == b"{" and start[:2] != b"PK":
        return _read_safetensors
    suffix = path.suffix.lower()
    if start[:1] == b"\x80" or _is_torch_zip(path):
        return _read_pickle
    if suffix in SAFETENSORS:
        return _read_safetensors
    if suffix in PICKLES:
        return _read_pickle
    accepted = ", ".join(SAFETENSORS + PICKLES)
    raise CheckpointError(f"{path} has the unknown extension {suffix!r}; checkpoints end in {accepted}.")


def _is_torch_zip(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    try:
        with zipfile.ZipFile(path) as file:
            return any(name.endswith("data.pkl") for name in file.namelist())
    except (zipfile.BadZipFile, OSError, ValueError):
        return False


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
            content = _load_pickle(path)
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
                f"{path} can't be read ({_reason(error)}); it is damaged or not a PyTorch checkpoint. "
                "Download it again."
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


def _load_pickle(path: Path):
    if path.suffix.lower() not in SAFETENSORS:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    # torch goes by the name of a path; an open file is read by its content, into memory.
    with path.open("rb") as file:
        return torch.load(file, map_location="cpu", weights_only=True)


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
    return (
        f"{path} can't be read as weights ({_reason(error)}); it is damaged, or holds more than weights. "
        "Download it again, or take its .safetensors form."
    )


def _reason(error: Exception) -> str:
    """The first line of an error, unless it is torch's advice to run the code in a file."""
    line = next(iter(str(error).splitlines()), "")
    return type(error).__name__ if "weights_only" in line or not line else line


def read_metadata(path: Path) -> dict[str, str]:
    """The texts that a safetensors file has beside its tensors; empty for any other file."""
    with path.open("rb") as file:
        if file.read(9)[8:] != b"{":
            return {}
    with safetensors.safe_open(path, framework="pt", device="cpu") as file:
        return file.metadata() or {}


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    if path.is_file():
        return path.stat().st_size
    return sum(os.path.getsize(Path(folder) / name) for folder, _, names in os.walk(path) for name in names)
