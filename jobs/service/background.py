"""Start a daemon in the background, where none runs."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

from .. import state_folder
from ..asking import Asking
from ..errors import QueueError
from ..state_folder import LOG, kept_flags

MAIN = Path(__file__).parents[1] / "__main__.py"
START_S = 30.0
MOST_LOG_BYTES = 4 << 20  # then its log begins anew


def start(folder: Path) -> int:
    """With the flags of the last one. Its pid, once it answers. Raises QueueError with what it said, where it does not."""
    if os.geteuid() == 0:
        raise QueueError("a queue runs commands as the user who submits them: submit as that user, not as root")
    state_folder.make(folder)
    flags = kept_flags(folder)
    path = folder / LOG
    mode = "wb" if path.exists() and path.stat().st_size > MOST_LOG_BYTES else "ab"
    with path.open(mode) as log:
        before = os.fstat(log.fileno()).st_size
        environment = {**os.environ, state_folder.VARIABLE: str(folder)}
        daemon = subprocess.Popen(
            [sys.executable, str(MAIN), "daemon", *flags], cwd="/", env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            start_new_session=True,
        )  # fmt: skip
    path.chmod(0o600)
    asking, until_s = Asking(folder), time.monotonic() + START_S
    while time.monotonic() < until_s:
        if asking.answers():
            daemon.returncode = 0  # it lives on
            return daemon.pid
        if daemon.poll() is not None:
            break
        time.sleep(0.02)
    with path.open("rb") as log:
        log.seek(before)
        said = log.read().decode(errors="replace").strip().rpartition("\n")[2].removeprefix("deepseek-jobs: ")
    last = f" with the flags of the last one ({shlex.join(flags)})" if flags else ""
    raise QueueError(
        f"the daemon did not start{last}: {said or 'it does not answer'}; see {path}, or start it with: deepseek-jobs daemon"
    )
