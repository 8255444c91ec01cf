"""What the commands for rewards have in common: a folder that appears whole or not at all, a progress bar, the comparison, messages."""

import errno
import json
import sys
import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import Callable, Iterator

import transformers
from tqdm import tqdm

import graphs
from checkpoints import CheckpointError
from components import Component
from workspace import Workspace, WorkspaceError, state_needs

STEPS = ("reading", "tracing and writing", "comparing with PyTorch")
Step = Callable[[str], None]


@contextmanager
def progress() -> Iterator[Step]:
    """A bar that is told each of STEPS as it begins."""
    with tqdm(total=len(STEPS), unit="step", bar_format="{desc:<28}{percentage:3.0f}% |{bar}| {elapsed}") as bar:

        def step(what: str) -> None:
            bar.set_description_str(what, refresh=False)
            bar.n = STEPS.index(what)
            bar.refresh()

        yield step
        bar.set_description_str("finished", refresh=False)
        bar.n = len(STEPS)


def needs(out: Path, parameters: int, stored: int, dtype: str, report: Callable[[str], None]) -> None:
    """States disk and memory; refuses when the disk has not enough.

    parameters: of the model; stored: bytes of the checkpoint.
    """
    # Memory: the checkpoint's pages, the weights where they are not float32 in the file, the graph's pages, and the libraries.
    copied = 0 if stored >= 4 * parameters else 4 * parameters
    disk = parameters * (2 if dtype == "fp16" else 4) + 2e7
    state_needs(out, disk=disk, memory=min(stored, 4.2 * parameters) + copied + 4 * parameters + 1.0e9, report=report)


def write(part: Component, out: Path, dtype: str, files: Callable[[Path], None], card: dict, step: Step) -> float:
    """Makes the folder: the graph, what `files` puts beside it, and the card. Returns the largest difference from PyTorch, relative.

    Raises WorkspaceError when there is no room, RuntimeError when the difference is large; nothing is left then.
    """
    workspace = Workspace(out, {})
    workspace.open()
    try:
        with workspace.part("bundle") as folder, room(out):
            # Before the long part: what is wrong with them shows at once.
            files(folder)
            step("tracing and writing")
            expected = graphs.reference(part)
            path = graphs.write(part, folder, dtype)
            (folder / "findery.json").write_text(json.dumps(card, indent=2) + "\n")
            step("comparing with PyTorch")
            part.module = None
            difference = graphs.compare(expected, path, dtype)
            for entry in list(folder.iterdir()):
                entry.rename(workspace.folder / entry.name)
            folder.rmdir()
        workspace.publish()
    except BaseException:
        workspace.discard()
        raise
    return difference


@contextmanager
def room(out: Path) -> Iterator[None]:
    """A full disk as a message; a reward is one graph, so there is nothing to go on with."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise WorkspaceError(f"The disk of {out.parent} is full; {out} was not made, and what was written is removed. Free some space and run the same command again.") from None
        raise


def main(run: Callable[[], float], out: Path) -> None:
    """Runs a command: its result, or one line of what is wrong and exit code 1."""
    warnings.simplefilter("ignore")
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    try:
        difference = run()
    except (CheckpointError, WorkspaceError, RuntimeError, MemoryError) as error:
        sys.exit(str(error) or "Not enough memory.")
    except OSError as error:
        sys.exit(f"{error.filename or out}: {error.strerror or error}.")
    except KeyboardInterrupt:
        sys.exit(f"Interrupted; {out} was not made.")
    print(f"{out} is ready; largest difference from PyTorch {difference:.1e}. Put {out.absolute().parent} into FINDERY_MODELS, or run: findery models add {out}")
