"""Start a daemon in the background, where none runs."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from .. import state_folder
from ..asking import Asking
from ..errors import NoDaemon, QueueError
from ..state_folder import LOG, daemon_of, kept_flags
from .outside import of_no_job

MAIN = Path(__file__).parents[1] / "__main__.py"
START_S = 30.0
SAYS = "deepseek-jobs: "  # before a sentence of the daemon's about itself
LEAST_ROOM_BYTES = 1 << 16
MOST_LOG_BYTES = 4 << 20  # then its log begins anew


def start(folder: Path) -> int:
    """With the flags of the last one. The pid of the daemon, once it answers: of several that are started at once, one stays. Raises QueueError with what it said, where none does."""
    state_folder.make(folder)
    flags = kept_flags(folder)
    path = folder / LOG
    _require_room(folder)
    mode = "wb" if path.exists() and path.stat().st_size > MOST_LOG_BYTES else "ab"
    with path.open(mode) as log:
        before = os.fstat(log.fileno()).st_size
        environment = {**of_no_job(os.environ), state_folder.VARIABLE: str(folder)}
        daemon = subprocess.Popen(
            [sys.executable, str(MAIN), "daemon", *flags], cwd="/", env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            start_new_session=True,
        )  # fmt: skip
    path.chmod(0o600)
    asking, until_s = Asking(folder), time.monotonic() + START_S
    while time.monotonic() < until_s:
        with suppress(NoDaemon):
            pid = int(asking.ask("about")["pid"])
            daemon.returncode = 0  # it lives on
            return pid
        if daemon.poll() is not None and daemon_of(folder) is None:
            break
        time.sleep(0.02)
    with path.open("rb") as log:
        log.seek(before)
        lines = log.read().decode(errors="replace").splitlines()
    ours = [line.removeprefix(SAYS) for line in lines if line.startswith(SAYS)]
    said = (
        ours[-1]
        if ours
        else f"it ended with code {daemon.poll()}"
        if daemon.poll() is not None
        else "it does not answer"
    )
    last = f" with the flags of the last one ({shlex.join(flags)})" if flags else ""
    raise QueueError(f"the daemon did not start{last}: {said}; see {path}, or start it with: deepseek-jobs daemon")


def _require_room(folder: Path) -> None:
    """Raises QueueError where nothing can be written: the daemon could not even say so in its log."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"\0" * LEAST_ROOM_BYTES)
    except OSError as error:
        raise QueueError(f"cannot write to {folder} ({error.strerror}): make room on its disk, and try again") from None
