"""Shared by the commands for rewards: a folder that appears complete or not at all, progress bar, comparison,
messages.
"""

import errno
import json
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import graphs
import transformers
from checkpoints import CheckpointError
from components import Component
from tqdm import tqdm
from workspace import Workspace, WorkspaceError, state_needs

STEPS = ("reading", "tracing and writing", "comparing with PyTorch")
Step = Callable[[str], None]


@contextmanager
def progress() -> Iterator[Step]:
    """Yields a function that advances the progress bar to the next of STEPS."""
    with tqdm(
        total=len(STEPS), unit="step", bar_format="{desc:<28}{percentage:3.0f}% |{bar}| {elapsed}"
    ) as bar:

        def step(what: str) -> None:
            bar.set_description_str(what, refresh=False)
            bar.n = STEPS.index(what)
            bar.refresh()

        yield step
        bar.set_description_str("finished", refresh=False)
        bar.n = len(STEPS)


def needs(out: Path, parameters: int, stored: int, dtype: str, report: Callable[[str], None]) -> None:
    """Prints the required disk and memory. Raises WorkspaceError when the disk has too little space.

    parameters: number of parameters of the model. stored: size of the checkpoint in bytes.
    """
    # Memory: pages of the checkpoint, weights that are not float32 in the file, pages of the graph,
    # and the libraries.
    copied = 0 if stored >= 4 * parameters else 4 * parameters
    disk = parameters * (2 if dtype == "fp16" else 4) + 2e7
    state_needs(
        out, disk=disk, memory=min(stored, 4.2 * parameters) + copied + 4 * parameters + 1.0e9, report=report
    )


def write(
    part: Component, out: Path, dtype: str, files: Callable[[Path], None], card: dict, step: Step
) -> float:
    """Writes the folder: the graph, the files that `files` adds, and the card. Returns the largest relative
    difference from PyTorch.

    Raises WorkspaceError when the disk is full, RuntimeError when the difference is large. Nothing is left
    then.
    """
    workspace = Workspace(out, {})
    workspace.open()
    try:
        with workspace.part("bundle") as folder, room(out):
            # Before the slow part, so that an error in these files shows at once.
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
    """Turns the error of a full disk into a message. A reward is one graph, so no partial result is kept."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise WorkspaceError(
                f"The disk of {out.parent} is full; {out} was not made, and what was written is removed. "
                "Free some space and run the same command again."
            ) from None
        raise


def main(run: Callable[[], float], out: Path) -> None:
    """Runs a command. An error is printed in one line, and the exit status is 1."""
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
    print(
        f"{out} is ready; largest difference from PyTorch {difference:.1e}. Put {out.absolute().parent} "
        f"into FINDERY_MODELS, or run: findery models add {out}"
    )
