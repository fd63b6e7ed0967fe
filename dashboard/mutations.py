"""Everything that users change through the dashboard; only POST routes call it."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

from alerts.config import OWN
from alerts.routing import save_acknowledged, save_mute
from analysis.findings.rules import BY_NAME
from collectors.control import ControlError, ask
from collectors.records import Event
from jobs.client import QueueClient, SubmittedJob
from jobs.request import JobRequest
from jobs.state_folder import QueueError

from .attach import AttachedRun, AttachRefused, attach
from .boards.files import BoardFile
from .queries import BadField, BadRequest, NotFound, Queries
from .received_files import ReceivedFiles
from .runs.runs import ALIVE, known_of
from .user_files.alerts import (
    WrongField,
    channel_of,
    check_mistakes,
    check_secret,
    drop_secrets,
    keep_secret,
    opted_in,
    save_alerts,
    secret_keys,
    with_channel,
    with_notice,
    with_policy,
    with_quiet,
    with_rule,
    with_switch,
)
from .user_files.cases import save_case
from .user_files.deleted_runs import DeletedRun
from .user_files.directions import Direction, save_direction
from .user_files.events import add_event
from .user_files.run_notes import RunNotes, about_run, of_program, save_about
from .user_files.settings import Settings, save_settings

T = TypeVar("T")
DELETING_S, LOOK_S = 10.0, 0.05  # how long the collector may take for it, and how often that is looked at
TEST_S, MAX_TESTED = 12.0, 200  # how long a test message is waited for, and among how many
WRITER = "local"  # who hands over without a writer's token: a process of this host, or its owner


def watch(data_dir: Path, runs: Sequence[str], until_s: float) -> None:
    """A user looks at these runs until then, so that their stacks should arrive soon. Nothing is kept."""
    if runs:
        with suppress(ControlError):  # it is starting again, and will be asked again
            ask(data_dir, "watch", runs=list(runs), until=until_s)


def no_finding(id_: str) -> NotFound:
    return NotFound(f"no finding {id_!r}; GET /api/v1/findings lists them")


class Changes:
    """May be asked from many threads: one change after the other, so that none loses the field of another."""

    def __init__(self, queries: Queries) -> None:
        self._queries = queries
        self._lock = Lock()
        self._received: dict[str, ReceivedFiles] = {}  # by writer

    def set_about(self, run: str, fields: Mapping[str, Any]) -> RunNotes:
        """Change only these fields of what is said about a run. Raises NotFound, BadRequest, Unwritable."""
        program = of_program(self._queries.stored_run(run).info)
        return self._saved(lambda: save_about(self._queries.data_dir, run, fields, program))

    def delete(self, run: str, undo_s: float) -> DeletedRun:
        """Delete a run that has ended. Its data leaves the store after `undo_s`; its files stay and are not read. Raises NotFound, BadRequest."""
        self._check()
        self._queries.check_run(run)
        view = next((view for view in self._queries.runs() if view.stored.name == run), None)
        if view is not None and view.state in ALIVE:
            raise BadRequest(f"{run!r} is running; stop it, then delete it")
        known = known_of(view)._asdict() if view is not None else {}
        refused = self._ask_collector("delete", run=run, known=known, undo_s=undo_s)["refused"]
        if refused:
            raise BadRequest(f"{run!r} cannot be deleted: {refused}")
        until_s = time.monotonic() + DELETING_S
        while time.monotonic() < until_s:
            found = self._queries.deleted_run(run)
            if found is not None and not self._queries.has_run(run):
                self._queries.table.stale()
                return found
            time.sleep(LOOK_S)
        raise BadRequest(f"{run!r} is not deleted yet; if it stays, see the collector's log")

    def restore(self, run: str) -> None:
        """Bring a deleted run back: as it was, or from its files once its data has left the store. Raises NotFound, BadRequest."""
        self._check()
        if about_run(self._queries.data_dir, run).keep:  # else it would be deleted again
            self._saved(lambda: save_about(self._queries.data_dir, run, {"keep": ""}))
        if not self._ask_collector("restore", run=run):
            raise NotFound(f"no deleted run {run!r}; GET /api/v1/deleted lists them")

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
                return attach(self._queries.log_dir, pid)
        except AttachRefused as error:
            raise BadRequest(str(error)) from error

    def receive(self, run: str, file: str, offset: int, data: bytes, head: str = "", writer: str = WRITER) -> int:
        """Append to a file of another host's run; its length then. Raises BadRequest, OffsetConflict, Unwritable."""
        self._check()
        with self._lock:
            if writer not in self._received:
                self._received[writer] = ReceivedFiles(self._queries.log_dir, writer)
        return self._received[writer].append(run, file, offset, data, head)

    def set_settings(self, values: Mapping[str, object]) -> Settings:
        """Change only these. Raises BadRequest, Unwritable."""
        return self._saved(lambda: save_settings(self._queries.data_dir, values))

    def save_board(self, name: str, text: str, version: str) -> BoardFile:
        """`version` is that of the board which the editor began with. Raises BadRequest, VersionConflict, Unwritable."""
        return self._saved(lambda: self._queries.boards.save(name, text, version))

    def delete_board(self, name: str, version: str) -> BoardFile | None:
        """What then stands under its name. Raises BadRequest, VersionConflict, Unwritable."""
        return self._saved(lambda: self._queries.boards.delete(name, version))

    def save_alerts(self, text: str) -> None:
        """Save alerts.yaml, if all of it can be read. Raises BadRequest: the first mistake, with its line; Unwritable."""
        self._saved(lambda: save_alerts(self._queries.data_dir, text))

    def send_finding(self, rule: str, run: str | None) -> None:
        """From now on what that rule finds, in this run or in all, is sent. Raises BadRequest, Unwritable."""
        if rule not in BY_NAME:
            raise BadRequest(f"there is no rule {rule!r}; GET /api/v1/findings/rules lists them")
        self._change_alerts(lambda text: opted_in(text, rule, run))

    def set_rule(self, name: str | None, rule: Mapping[str, Any] | None) -> None:
        """Replace, add (None) or delete (without `rule`) a user's rule. Raises BadRequest, Unwritable."""
        self._change_alerts(lambda text: with_rule(text, name, rule))

    def set_policy(self, findings: Sequence[str], runs: str, policy: Mapping[str, Any] | None) -> None:
        """What findings of some runs do; without `policy` what is usual. Raises BadRequest, Unwritable."""
        self._change_alerts(lambda text: with_policy(text, findings, runs, policy))

    def switch_rule(self, rule: str, on: bool) -> None:
        """Whether a rule, by the name of its findings, alerts. Raises BadRequest, Unwritable."""
        if not rule.startswith(OWN) and rule not in BY_NAME:
            raise BadRequest(f"there is no rule {rule!r}; GET /api/v1/findings/rules lists them")
        self._change_alerts(lambda text: with_switch(text, rule, on))

    def set_notice(self, rule: str, run: str, to: Sequence[str]) -> None:
        """Which channels get what a rule finds in a run. Raises NotFound, BadRequest, Unwritable."""
        self._queries.check_run(run)
        self._change_alerts(lambda text: with_notice(text, rule, run, to))

    def set_channel(self, name: str | None, channel: Mapping[str, str] | None) -> None:
        """Replace, add (None) or delete (without `channel`) a channel. An empty secret stays what it is; others are kept in files of their own.

        Raises BadRequest, Unwritable.
        """
        data_dir = self._queries.data_dir

        def change(text: str) -> str:
            before = channel_of(text, name) if name is not None else {}
            if channel is None:
                return with_channel(text, name, None)
            secret = secret_keys(channel["kind"])
            for key in secret:
                check_secret(channel["kind"], key, channel.get(key) or "env:X")
            after: dict[str, Any] = {
                key: value for key, value in channel.items() if (value or key == "name") and key not in secret
            }
            kept = before if before.get("kind") == channel["kind"] else {}
            given = {key: channel.get(key) or kept.get(key, "") for key in secret}
            trial = after | {key: "env:X" for key, value in given.items() if value}
            check_mistakes(with_channel(text, name, trial), text)  # before a secret becomes a file
            for key, value in given.items():
                if value:
                    after[key] = value if value == kept.get(key) else keep_secret(data_dir, value)
            return with_channel(text, name, after)

        before = channel_of(self._queries.alerts.text(), name) if name is not None else {}
        self._change_alerts(change)
        drop_secrets(data_dir, before, channel_of(self._queries.alerts.text(), channel["name"]) if channel else {})

    def set_quiet_hours(self, quiet: Mapping[str, Any] | None) -> None:
        """Quiet hours, or none. Raises BadRequest, Unwritable."""
        self._change_alerts(lambda text: with_quiet(text, quiet))

    def _change_alerts(self, change: Callable[[str], str]) -> None:
        def save() -> None:
            text = self._queries.alerts.text()
            save_alerts(self._queries.data_dir, change(text), text)

        self._saved(save)

    def keep_case(self, id_: str) -> str:
        """Keep what a finding that is of no use was judged from; the name of the file. Raises NotFound, Unwritable."""
        case = self._queries.findings.case(id_)
        if case is None:
            raise no_finding(id_)
        return self._saved(lambda: save_case(self._queries.data_dir, id_, case))

    def mute(self, rule: str | None, run: str | None, hours: float | None, on: bool) -> None:
        """None: all rules, all runs, for ever; not `on` takes it back. Raises BadRequest, Unwritable."""
        self._saved(lambda: save_mute(self._queries.data_dir, rule, run, hours, on, time.time()))

    def acknowledge(self, findings: Collection[str], on: bool) -> None:
        """These alerts no longer count as active; not `on` takes it back. Raises NotFound, BadRequest, Unwritable."""
        for id_ in findings:
            if self._queries.findings.finding(id_) is None:
                raise no_finding(id_)
        self._saved(lambda: save_acknowledged(self._queries.data_dir, findings, on, time.time()))

    def test_alert(self, receiver: str) -> tuple[bool, str]:
        """Send a test message; whether it was taken, and a sentence. Raises BadRequest where there is no such receiver."""
        self._check()
        if self._queries.alerts.now().settings.receiver(receiver) is None:
            raise BadRequest(f"there is no receiver {receiver!r} in alerts.yaml")
        id_ = str(self._ask_collector("test_alert", receiver=receiver)["id"])
        until_s = time.monotonic() + TEST_S
        while time.monotonic() < until_s:
            found = next((message for message in self._queries.alerts.messages(MAX_TESTED) if message.id == id_), None)
            if found is not None and found.state == "delivered":
                return True, f"{receiver} has taken a test message."
            if found is not None and (found.state == "failed" or found.error):
                return False, f"{receiver} did not take the test message: {found.error}."
            time.sleep(LOOK_S)
        return False, f"{receiver} has not answered yet; it is tried again, and the history shows the result."

    def steer_profile(self, action: str) -> None:
        """Turn the profiler on or off, or try refused processes again. Raises BadRequest where nothing can be steered."""
        self._check()
        self._ask_collector("profile", action=action)

    def trace(self, run: str, steps: int, rank: int) -> str:
        """Have steps of a run traced; the id of the trace to come. Raises NotFound, BadRequest."""
        self._check()
        self._queries.check_run(run)
        answer = self._ask_collector("trace", run=run, steps=steps, rank=rank)
        if answer["refused"]:
            raise BadRequest(f"steps of {run!r} cannot be traced: {answer['refused']}")
        return str(answer["id"])

    def read_data(self, run: str, path: str) -> None:
        """Read a file of a run that was left because it looks like data. Raises NotFound, BadRequest."""
        self._check()
        if all(offset.path != path for offset in self._queries.files(run)):
            raise BadRequest(f"{path!r} is no file of {run!r}; GET /api/v1/files lists them")
        self._ask_collector("read", key=path)

    def submit_job(self, request: Callable[[], JobRequest]) -> SubmittedJob:
        """Raises BadRequest, also where no daemon runs: no request is made then, nor its log folder."""

        def submitted(queue: QueueClient) -> SubmittedJob:
            queue.ask("about")
            return queue.submit(request())

        return self._of_the_queue(submitted)

    def hold_job(self, job: int) -> None:
        """Raises BadRequest."""
        self._of_the_queue(lambda queue: queue.hold(job))

    def release_job(self, job: int) -> None:
        """Raises BadRequest."""
        self._of_the_queue(lambda queue: queue.release(job))

    def cancel_job(self, job: int) -> bool:
        """Whether it ran: it is asked to end. Raises BadRequest."""
        return self._of_the_queue(lambda queue: queue.cancel(job))

    def _of_the_queue(self, change: Callable[[QueueClient], T]) -> T:
        self._check()
        try:
            return change(QueueClient(self._queries.jobs.view.folder))
        except QueueError as error:
            raise BadRequest(str(error)) from error

    def _ask_collector(self, verb: str, **arguments: object) -> Any:
        """Raises BadRequest with the reason where it does not do it."""
        try:
            return ask(self._queries.data_dir, verb, **arguments)
        except ControlError as error:
            raise BadRequest(str(error)) from error

    def _saved(self, save: Callable[[], T]) -> T:
        self._check()
        try:
            with self._lock:
                saved = save()
            self._queries.table.stale()
            return saved
        except WrongField as error:
            raise BadField(str(error), error.field) from error
        except ValueError as error:
            raise BadRequest(str(error)) from error

    def _check(self) -> None:
        """Raises BadRequest where this dashboard only reads."""
        if reason := self._queries.read_only():
            raise BadRequest(reason)
