"""Runs import_checkpoint.py as a user does, and checks refusals."""

import resource
import subprocess
import sys
from pathlib import Path

TOOL = Path(__file__).resolve().parents[1] / "import_checkpoint.py"


def refused(arguments: list[str], *words: str, limit: int | None = None) -> str:
    """Runs the command as a user does and expects a refusal. limit: bytes beyond which writes fail."""

    def restrict():
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
            import signal

            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    done = subprocess.run(
        [sys.executable, str(TOOL), *arguments], capture_output=True, text=True, preexec_fn=restrict
    )
    lines = [
        line for line in done.stderr.replace("\r", "\n").splitlines() if line.strip() and "%|" not in line
    ]
    message = lines[-1] if lines else ""
    assert done.returncode == 1, done.stderr + done.stdout
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in message, message
    return message


def nothing_at(out: Path) -> bool:
    """Whether the command left nothing at OUT."""
    return not out.exists()
