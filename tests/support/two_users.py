"""Two users in one log folder: a run of root's, one of another user's, and what only root may read."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from collectors import rights
from collectors.machine.run_state import RunActivity
from tests.conftest import wait_for

NOBODY, OTHER = 65534, 12345
ROOT = Path(__file__).parents[2]
SECRET = '{"step": 1, "secret": 0.25}\n'
OURS, THEIRS = '{"step": 1, "ours": 1.5}\n', '{"step": 1, "theirs": 2.5}\n'
AS = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
needs_root = pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("setpriv"), reason="only root can become another user"
)


@pytest.fixture(autouse=True)
def narrow() -> Iterator[None]:
    rights.look_at_others(False)
    yield
    rights.look_at_others(False)


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """A log folder of root in which all may look: a run of root's, one of another user's, and a file of root's alone."""
    for folder in [tmp_path, *tmp_path.parents]:
        if folder.is_relative_to(tempfile.gettempdir()) and folder != Path(tempfile.gettempdir()):
            folder.chmod(0o755)
    logs = tmp_path / "logs"
    write(logs / "ours" / "metrics.jsonl", OURS)
    write(logs / "theirs" / "metrics.jsonl", THEIRS, NOBODY)
    write(logs / ".hidden" / "metrics.jsonl", SECRET, mode=0o600)
    return logs


def write(path: Path, text: str, uid: int = 0, mode: int = 0o644) -> Path:
    """A file, and its folder, of that user."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    for made in (path, path.parent):
        os.chown(made, uid, uid)
    return path


def link(path: Path, target: Path | str, uid: int = NOBODY) -> None:
    path.symlink_to(target)
    os.chown(path, uid, uid, follow_symlinks=False)


@contextmanager
def running(*command: object, cwd: Path | None = None) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([*map(str, command)], stdout=subprocess.DEVNULL, cwd=cwd) as process:
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def of_theirs() -> Iterator[subprocess.Popen[bytes]]:
    """A Python of the other user."""
    with running(*AS, sys.executable, "-c", "import time; time.sleep(600)") as process:
        wait_for(lambda: "python" in os.readlink(f"/proc/{process.pid}/exe"))  # noqa: PTH115
        yield process


def named(folder: Path, pid: int, uid: int) -> RunActivity:
    """A run of that user whose run.json names a process."""
    write(folder / "run.json", "{}", uid)
    return RunActivity(folder.name, folder, {"pid": pid, "started_s": time.time()}, [], [], time.time(), 0.05)
