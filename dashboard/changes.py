"""Everything that a user changes through the dashboard. Only POST routes hold it; what draws pages only reads."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

from collectors.records import Event
from collectors.service.control import ControlError, ask

from .attaching import AttachedRun, AttachRefused, attach
from .queries import BadRequest, Queries
from .receiving.files import Received
from .runs import ALIVE
from .user_files.about import About, save_about
from .user_files.directions import Direction, save_direction
from .user_files.events import add_event
from .user_files.settings import Settings, save_settings
from .user_files.yaml_file import OddFile

T = TypeVar("T")
WRITER = "local"  # who hands over without a token: a process of this host


def watch(data_dir: Path, runs: Sequence[str], until_s: float) -> None:
    """A user looks at these runs until then, so that their stacks should arrive soon. Nothing is kept."""
    if runs:
        with suppress(ControlError):  # it is starting again, and will be asked again
            ask(data_dir, "watch", runs=list(runs), until=until_s)


class Changes:
    """May be asked from many threads: one change after the other, so that none loses the field of another."""

    def __init__(self, queries: Queries) -> None:
        self._queries = queries
        self._lock = Lock()

    @cached_property
    def _received(self) -> Received:
        return Received(self._queries.log_dir / self._queries.first_folder, WRITER)

    def set_about(self, run: str, fields: Mapping[str, Any]) -> About:
        """Change only these fields of what is said about a run. Raises NotFound, BadRequest, Unwritable."""
        self._queries.check_run(run)
        if fields.get("forgotten") and self._queries.run(run).run.state in ALIVE:
            raise BadRequest(f"{run!r} is alive; a run can be forgotten once it is over")
        return self._saved(lambda: save_about(self._queries.data_dir, run, fields))

    def set_direction(self, series: str, direction: str) -> dict[str, Direction]:
        """Say whether less or more of a series is better; "" takes it back. Raises BadRequest, Unwritable."""
        return self._saved(lambda: save_direction(self._queries.data_dir, series, direction))

    def add_event(self, run: str, fields: Mapping[str, Any]) -> Event:
        """Add an event to a run; the collector stores it soon. Raises NotFound, BadRequest, Unwritable."""
        self._queries.check_run(run)
        return self._saved(lambda: add_event(self._queries.data_dir, run, fields))

    def attach(self, pid: int) -> AttachedRun:
        """Make a run of a process. Raises BadRequest."""
        self._check()
        owner = self._queries.owner_of(pid)
        if owner is not None:
            raise BadRequest(f"process {pid} belongs to the run {owner.run!r} already")
        try:
            with self._lock:
                return attach(self._queries.log_dir, pid, below=self._queries.first_folder)
        except AttachRefused as error:
            raise BadRequest(str(error)) from error

    def receive(self, run: str, file: str, offset: int, data: bytes, head: str = "") -> int:
        """Append to a file of another host's run; its length then. Raises BadRequest, OtherLength, Unwritable."""
        self._check()
        return self._received.append(run, file, offset, data, head)

    def set_settings(self, values: Mapping[str, object]) -> Settings:
        """Change only these. Raises BadRequest, Unwritable."""
        return self._saved(lambda: save_settings(self._queries.data_dir, values))

    def steer_profile(self, action: str) -> None:
        """Turn the profiler on or off, or try refused processes again. Raises BadRequest where nothing can be steered."""
        self._check()
        try:
            ask(self._queries.data_dir, "profile", action=action)
        except ControlError as error:
            raise BadRequest(str(error)) from error

    def read_data(self, run: str, path: str) -> None:
        """Read a file of a run that was left because it looks like data. Raises NotFound, BadRequest."""
        self._check()
        if all(offset.path != path for offset in self._queries.files(run)):
            raise BadRequest(f"{path!r} is no file of {run!r}; GET /api/v1/files lists them")
        try:
            ask(self._queries.data_dir, "read", key=path)
        except ControlError as error:
            raise BadRequest(str(error)) from error

    def _saved(self, save: Callable[[], T]) -> T:
        self._check()
        try:
            with self._lock:
                saved = save()
            self._queries.table.stale()
            return saved
        except (ValueError, OddFile) as error:
            raise BadRequest(str(error)) from error

    def _check(self) -> None:
        """Raises BadRequest where this dashboard only reads."""
        if reason := self._queries.read_only():
            raise BadRequest(reason)
