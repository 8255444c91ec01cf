"""Runs the commands for rewards as a user does, and checks refusals."""

import contextlib
import importlib
import io
import os
import subprocess
import sys
from pathlib import Path
from unittest import mock

EXPORT = Path(__file__).resolve().parents[1]


def run(command: str, *arguments) -> subprocess.CompletedProcess:
    """Runs the command in this process, because a new process takes seconds to import PyTorch."""
    argv = [str(EXPORT / f"{command}.py"), *(str(argument) for argument in arguments)]
    out, err, code = io.StringIO(), io.StringIO(), 0
    with (
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        mock.patch.object(sys, "argv", argv),
    ):
        try:
            importlib.import_module(command).main()
        except SystemExit as end:
            # As the interpreter does: a message is printed, and the exit status is 1.
            code = end.code if isinstance(end.code, int) else 1
            err.write(f"{end.code}\n")
    return subprocess.CompletedProcess(argv, code, out.getvalue(), err.getvalue())


def run_apart(command: str, *arguments, largest_file: int | None = None) -> subprocess.CompletedProcess:
    """Runs the command in a new process. largest_file: size in bytes beyond which writes fail, as on a full
    disk.
    """
    code = [sys.executable, str(EXPORT / f"{command}.py"), *(str(argument) for argument in arguments)]
    if largest_file is not None:
        limit = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({largest_file},) * 2)"
        code = [sys.executable, "-c", f"{limit}; import os, sys; os.execv(sys.executable, {code!r})"]
    return subprocess.run(code, capture_output=True, text=True, env={**os.environ, "HF_HUB_OFFLINE": "1"})


def refused(result: subprocess.CompletedProcess, out: Path, *parts: str) -> str:
    """Expects one line with these parts, exit status 1, and nothing at OUT or hidden beside it. Returns the
    line.
    """
    lines = [
        line for line in result.stderr.replace("\r", "\n").splitlines() if line.strip() and "%" not in line
    ]
    assert result.returncode == 1, result.stderr
    assert len(lines) == 1, result.stderr
    for part in parts:
        assert part in lines[0]
    assert not out.exists()
    assert (
        not out.parent.exists() or [path.name for path in out.parent.iterdir() if out.name in path.name] == []
    )
    return lines[0]


class Call:
    """Creates a file if its pickle is loaded without protection."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)
