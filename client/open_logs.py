"""Opens a log folder without a running dashboard: uses one that is running, or starts a temporary one."""

from __future__ import annotations

import contextlib
import os
import re
import select
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import warnings
import weakref
from pathlib import Path
from typing import IO, Any

from .client import Dashboard, DashboardError

APP = (
    Path(__file__).resolve().parents[1] / "app.py"
)  # in a checkout, and where the dashboard is installed beside the client
COMMAND = "deepseek-dashboard"
ADDRESS = re.compile(r"https?://\S+")
START_S = 60.0
ENDS_S = 3.0
ASK_S = 0.1
MAX_SAID = 1 << 16  # bytes
TAIL = "tail"  # the collector that reads files


def open_logs(log_dir: str | Path = "logs", *, data_dir: str | Path | None = None, wait_s: float = 60.0) -> OpenLogs:
    """The runs below `log_dir`, once the files that are there have been read; `with open_logs("./logs") as logs: logs.runs()`.

    A dashboard that serves this folder alone is used. Else one is started for as long as the result is open: it listens on loopback, keeps its
    store in `<log_dir>/.deepseek` or in `data_dir`, and ends with `close()`, with this process, or when that is killed. Reading that takes
    longer than `wait_s` goes on, and a warning says so. Raises DashboardError.
    """
    folder = Path(log_dir)
    if not folder.is_dir():
        raise DashboardError(f"there is no folder {folder}; name the one that your runs log into")
    return OpenLogs(folder.resolve(), Path(data_dir).resolve() if data_dir else None, wait_s)


class OpenLogs(Dashboard):
    """A Dashboard that is open until `close()`."""

    def __init__(self, log_dir: Path, data_dir: Path | None, wait_s: float) -> None:
        self._child = _Child(
            ["--port", "0", "--log-dir", str(log_dir), *(["--data-dir", str(data_dir)] if data_dir else [])]
        )
        try:
            super().__init__(self._child.address())
            self._wait_until_read(log_dir, wait_s)
            if self.runs().empty:
                raise DashboardError(f"there are no runs in {log_dir}; docs/log-format.md says which files are one")
        except BaseException:
            self._child.release()
            raise
        self._finalizer = weakref.finalize(self, self._child.release)  # also where the process ends

    @staticmethod
    def _environment_token() -> None:
        """It is of this user, and on this machine: a token for others is not shown to it."""

    def close(self) -> None:
        """Ends the dashboard if it is our own and nothing else uses it. May be called twice."""
        if self._finalizer.detach():
            self._child.release()
            self._child.wait()

    def __enter__(self) -> OpenLogs:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(self, path: str, parameters: dict[str, object]) -> Any:
        if self._child.is_closed:
            raise DashboardError("these logs were closed; open them again with open_logs")
        return super()._ask(path, parameters)

    def _wait_until_read(self, log_dir: Path, wait_s: float) -> None:
        deadline_s = time.monotonic() + wait_s
        while True:
            tail = next((row for row in self.health().raw["collectors"] if row["name"] == TAIL), None)
            if tail is not None and not tail.get("waiting"):
                break
            if time.monotonic() > deadline_s:
                warnings.warn(
                    f"{log_dir} is still being read: what comes later is missing; ask again for it", stacklevel=4
                )
                return
            time.sleep(ASK_S)
        if tail["state"] != "ok":
            warnings.warn(f"{log_dir} may not be read whole: {tail['last_error']}", stacklevel=4)


def _program() -> list[str]:
    """What starts a dashboard: the one installed beside this client, else the one on the PATH. Raises DashboardError."""
    if APP.exists():
        return [sys.executable, str(APP)]
    if found := shutil.which(COMMAND):
        return [found]
    raise DashboardError(
        f"{COMMAND} is not installed in this environment or on the PATH: install it, or start one elsewhere and use Dashboard(url)"
    )


class _Child:
    """Finds or is the dashboard; ends when its standard input does."""

    def __init__(self, words: list[str]) -> None:
        """Raises DashboardError."""
        self.is_closed = False
        self._owner = os.getpid()
        command = [*_program(), *words, "--lent"]
        self._said: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  # closed by close()
        try:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._said, start_new_session=True
            )
        except OSError as error:
            self._said.close()
            raise DashboardError(
                f"no dashboard can be started ({error.strerror}); start one with: deepseek-dashboard"
            ) from None
        self._reaper = threading.Thread(target=self._process.wait, name="open_logs", daemon=True)
        self._reaper.start()

    def address(self) -> str:
        """Once it answers. Raises DashboardError with what the command says."""
        assert self._process.stdout is not None
        deadline_s, line = time.monotonic() + START_S, b""
        output = select.poll()  # takes any descriptor, where `select` takes those below 1024
        output.register(self._process.stdout, select.POLLIN)
        while not line.endswith(b"\n"):
            if not output.poll(max(0.0, deadline_s - time.monotonic()) * 1000):
                raise DashboardError(
                    f"the dashboard did not start within {START_S:g} s; start one with: deepseek-dashboard"
                )
            part = os.read(self._process.stdout.fileno(), 4096)
            if not part:
                raise DashboardError(self._sentence())
            line += part
        found = ADDRESS.search(line.decode(errors="replace"))
        if found is None:
            raise DashboardError(
                f"the dashboard names no address but {line.decode(errors='replace').strip()!r}; start one by hand"
            )
        return found[0]

    def _sentence(self) -> str:
        """The last line that it said, with the argument's name in place of the flag's."""
        self._said.seek(max(0, self._said.seek(0, os.SEEK_END) - MAX_SAID))
        last = (
            self._said.read().decode(errors="replace").strip().rpartition("\n")[2].removeprefix("deepseek-dashboard: ")
        )
        return (
            last.replace("with --data-dir", "with data_dir=")
            or "the dashboard ended without a word; start one with: deepseek-dashboard"
        )

    def release(self) -> None:
        """It ends by itself, unless others use it."""
        self.is_closed = True
        if self._process.stdin is not None and os.getpid() == self._owner:
            with contextlib.suppress(OSError):
                os.write(self._process.stdin.fileno(), b"end\n")  # a forked child of ours may hold it open
        for stream in (self._process.stdin, self._process.stdout, self._said):
            with contextlib.suppress(OSError):
                stream.close()  # type: ignore[union-attr]

    def wait(self) -> None:
        """For its end, a while."""
        self._reaper.join(ENDS_S)
