"""`deepseek-dashboard mcp`: answers for assistants over standard input and output (Model Context Protocol)."""

from __future__ import annotations

import argparse
import threading
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from access.program import Command, UsageError

if TYPE_CHECKING:
    from deepseek.client import Dashboard, OpenLogs

URL = "http://127.0.0.1:8080"


def arguments(parser: argparse.ArgumentParser) -> None:
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--url", default=URL, metavar="URL", help=f"of a dashboard that is running (default: {URL})")
    where.add_argument("--log-dir", type=Path, metavar="DIR", help="log folder: uses its dashboard, or starts one")
    parser.add_argument("--data-dir", type=Path, metavar="DIR", help="with --log-dir: where its data is stored")


def run(parsed: argparse.Namespace) -> int:
    if find_spec("mcp") is None:
        raise UsageError("the package mcp is missing; install it with: pip install 'mcp>=2.3,<3'")
    if parsed.data_dir is not None and parsed.log_dir is None:
        raise UsageError("--data-dir is that of a log folder, which is missing; name it with --log-dir")
    from deepseek.client import Dashboard, DashboardError

    folder = LazyDashboard(parsed.log_dir, parsed.data_dir) if parsed.log_dir is not None else None
    try:
        dashboard = Dashboard(parsed.url)
    except DashboardError as error:
        raise UsageError(str(error)) from None
    from ..mcp import serve

    try:
        serve(folder.dashboard if folder else lambda: dashboard)
    finally:
        if folder:
            folder.close()
    return 0


class LazyDashboard:
    """Opened at the first question: a client waits only briefly for a server to start."""

    def __init__(self, log_dir: Path, data_dir: Path | None = None) -> None:
        self._log_dir, self._data_dir, self._lock = log_dir, data_dir, threading.Lock()
        self._logs: OpenLogs | None = None

    def dashboard(self) -> Dashboard:
        """Raises DashboardError."""
        from deepseek.client import open_logs

        with self._lock:
            if self._logs is None:
                self._logs = open_logs(self._log_dir, data_dir=self._data_dir)
            return self._logs

    def close(self) -> None:
        with self._lock:
            if self._logs is not None:
                self._logs.close()


COMMAND = Command("mcp", "Serve an AI assistant over MCP, read-only.", arguments, run)
