"""The hidden folder in which a bundle is built beside its final place, and the check of disk and memory."""

import errno
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

GB = 1e9
PROGRESS = "unfinished.json"


class WorkspaceError(Exception):
    """The disk is full, or the place can't be used. The message says what to do."""


class Workspace:
    """The folder `.NAME.unfinished` beside OUT. If a run ends early, its finished parts stay there, and the
        next run of the same `task` uses them.
    task: everything that the parts depend on (source files with sizes and times, options), as JSON.
    """

    def __init__(self, out: Path, task: dict):
        if out.exists() or out.is_symlink():
            raise WorkspaceError(f"{out} is already there; choose another name, or remove it.")
        self.out = out
        self.folder = out.parent / f".{out.name}.unfinished"
        self._task = json.loads(json.dumps(task))
        self._finished: list[str] = []
        self._results: dict[str, object] = {}

    def open(self) -> None:
        """Creates the folder, or continues with that of an earlier run of the same task."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise WorkspaceError(
                f"{self.folder} can't be made ({error.strerror}); choose a folder that you may write to."
            ) from None
        try:
            earlier = json.loads((self.folder / PROGRESS).read_text())
        except (OSError, ValueError):
            earlier = {}
        if earlier.get("task") == self._task:
            self._results = earlier["finished"]
        for entry in self.folder.iterdir():
            if entry.name not in self._results and entry.name != PROGRESS:
                _remove(entry)
        self._save()

    def is_finished(self, part: str) -> bool:
        return part in self._results

    def result(self, part: str):
        """The text that was given to `finish` for this part."""
        return self._results[part]

    def finish(self, part: str, result: object = None) -> None:
        self._results[part] = result
        self._save()

    @contextmanager
    def part(self, name: str) -> Iterator[Path]:
        """Yields a new folder for a part. Removes it if an error occurs."""
        folder = self.folder / name
        if folder.exists():
            _remove(folder)
        try:
            folder.mkdir(parents=True)
            yield folder
        except OSError as error:
            _remove(folder)
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise WorkspaceError(
                    f"The disk of {self.out.parent} is full; {self.out} was not made. Free some space and "
                    "run the same command again: "
                    f"it goes on with what is finished in {self.folder}, which you may also remove."
                ) from None
            raise
        except BaseException:
            _remove(folder)
            raise

    def publish(self) -> None:
        """Renames the finished folder to OUT, in one step."""
        if self.out.exists():
            raise WorkspaceError(f"{self.out} has appeared meanwhile; the new bundle is in {self.folder}.")
        (self.folder / PROGRESS).unlink()
        os.replace(self.folder, self.out)

    def discard(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def _save(self) -> None:
        unfinished = self.folder / (PROGRESS + ".new")
        try:
            unfinished.write_text(json.dumps({"task": self._task, "finished": self._results}))
            os.replace(unfinished, self.folder / PROGRESS)
        except OSError as error:
            unfinished.unlink(missing_ok=True)
            raise WorkspaceError(
                f"{self.folder} can't be written ({error.strerror}); free some space on that disk."
            ) from None


def state_needs(out: Path, disk: float, memory: float, report=print) -> None:
    """Prints what will be needed. Raises WorkspaceError when the disk has too little space.

    disk, memory: bytes.
    """
    parent = next(folder for folder in [out.absolute().parent, *out.absolute().parents] if folder.exists())
    free = shutil.disk_usage(parent).free
    available = _available_memory()
    report(
        f"Needs about {disk / GB:.1f} GB of disk ({free / GB:.1f} GB are free) and {memory / GB:.1f} GB of "
        "memory" + (f" ({available / GB:.1f} GB are available)." if available else ".")
    )
    if free < disk:
        raise WorkspaceError(
            f"{parent} has {free / GB:.1f} GB free, and {disk / GB:.1f} GB are needed; free some space, or "
            "choose another folder."
        )
    if available and available < memory:
        report("That is less memory than it needs: it may be slow, or be ended by the system.")


def _available_memory() -> int | None:
    try:
        return (
            os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
            if not Path("/proc/meminfo").exists()
            else _mem_available()
        )
    except (ValueError, OSError):
        return None


def _mem_available() -> int | None:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
