"""Delivers messages: quiet hours, retries, and an outbox that survives a restart."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from itertools import accumulate
from pathlib import Path
from threading import Lock

from access.files import Unwritable, bytes_of, write_bytes

from .config import AlertSettings, QuietHours, Receiver
from .messages import (
    MAX_MEMBERS,
    MAX_RUNS,
    MAX_SENTENCES,
    AlertMessage,
    MessagePhase,
    MessageState,
    NotDelivered,
    clean,
    id_of,
    message_of,
)

DAY_MIN = 24 * 60


def is_quiet(quiet: QuietHours | None, rule: str, now_s: float) -> bool:
    """Whether messages of a rule wait now. From 22:00 to 7:00 is over midnight; from and to the same is never."""
    if quiet is None or rule in quiet.but:
        return False
    there = datetime.fromtimestamp(now_s, quiet.zone)
    minute = 60 * there.hour + there.minute
    return (minute - quiet.from_min) % DAY_MIN < (quiet.to_min - quiet.from_min) % DAY_MIN


# Messages that wait and those that were sent: a file each, so that a kill at any moment loses none.
#
# `<data>/alerts/outbox/<id>.json` waits. It is written again before and after each attempt; once it is over, it is written to
# `<data>/alerts/sent/` first and then removed here. A message that stands in both is over.

FOLDER, WAITING, SENT = "alerts", "outbox", "sent"
SUFFIX = ".json"
MAX_SENT, MAX_BYTES = 2000, 1 << 20
DESKTOP_S = 600.0  # so long a page shows a message of the desktop


class Outbox:
    """The one writer. May be used from many threads."""

    def __init__(self, data_dir: Path) -> None:
        """Reads what an earlier process left."""
        self._waiting_dir, self._sent_dir = data_dir / FOLDER / WAITING, data_dir / FOLDER / SENT
        for folder in (data_dir / FOLDER, self._waiting_dir, self._sent_dir):
            folder.mkdir(mode=0o700, exist_ok=True)
            for half in folder.glob(".new-*"):  # killed while writing
                half.unlink(missing_ok=True)
        self._lock = Lock()
        self._sent = read_folder(self._sent_dir)
        self._waiting = read_folder(self._waiting_dir)
        for id_ in self._waiting.keys() & self._sent.keys():  # killed in between
            self._remove(self._waiting.pop(id_).id)
        self._of_finding: dict[tuple[str, str, str], str] = {}
        for message in [*self._sent.values(), *self._waiting.values()]:
            self._index(message)
        for message in list(self._waiting.values()):  # killed before all were summed up
            if message.phase == "summary":
                self._sum_up(message)

    def add(self, message: AlertMessage) -> bool:
        """False where its findings have one already."""
        with self._lock:
            if message.id in self._waiting or message.id in self._sent:
                return False
            self._write(message)
            self._index(message)
            return True

    def replace_by(self, summary: AlertMessage, ids: Iterable[str]) -> None:
        """One message instead of these, none of which was tried."""
        with self._lock:
            self._write(replace(summary, into="", error=""))
            self._replaced(summary, ids)

    def waiting(self, receiver: str | None = None) -> list[AlertMessage]:
        """In the order in which they were made."""
        with self._lock:
            found = [message for message in self._waiting.values() if receiver in (None, message.receiver)]
        return sorted(found, key=lambda message: (message.created_s, message.id))

    def sent(self) -> list[AlertMessage]:
        with self._lock:
            return list(self._sent.values())

    def of(self, finding: str, receiver: str, phase: MessagePhase) -> AlertMessage | None:
        """The message that a finding is in: of one that was summed up, the summary."""
        with self._lock:
            found = self._get(self._of_finding.get((finding, receiver, phase), ""))
            return self._get(found.into) or found if found is not None and found.into else found

    def update(self, message: AlertMessage) -> None:
        """Of one that waits."""
        with self._lock:
            if message.id in self._waiting:
                self._write(message)

    def retry_now(self, receiver: str) -> None:
        """Those that wait for it are due."""
        with self._lock:
            for message in list(self._waiting.values()):
                if message.receiver == receiver and message.next_s:
                    self._write(replace(message, next_s=0.0))

    def over(self, message: AlertMessage, state: MessageState, now_s: float, error: str = "") -> None:
        with self._lock:
            self._over(replace(message, state=state, ended_s=now_s, error=error))
            for old in sorted(self._sent.values(), key=lambda found: found.ended_s or 0.0)[
                : max(0, len(self._sent) - MAX_SENT)
            ]:
                self._forget(old)

    def _over(self, message: AlertMessage) -> None:
        write_bytes(self._sent_dir / f"{message.id}{SUFFIX}", message.written())
        self._sent[message.id] = message
        self._waiting.pop(message.id, None)
        self._remove(message.id)

    def _sum_up(self, summary: AlertMessage) -> None:
        """Those that wait and are about findings of the summary."""
        mine = set(summary.findings)
        ids = [
            found.id
            for found in self._waiting.values()
            if found.receiver == summary.receiver
            and found.phase != "summary"
            and not found.attempts
            and mine >= set(found.findings)
        ]
        self._replaced(summary, [id_ for id_ in ids if self._waiting[id_].created_s <= summary.created_s])

    def _replaced(self, summary: AlertMessage, ids: Iterable[str]) -> None:
        for id_ in ids:
            if id_ in self._waiting:
                self._over(replace(self._waiting[id_], state="summed", into=summary.id, ended_s=summary.created_s))

    def _write(self, message: AlertMessage) -> None:
        self._waiting_dir.parent.mkdir(mode=0o700, exist_ok=True)  # it may have been removed
        write_bytes(self._waiting_dir / f"{message.id}{SUFFIX}", message.written())
        self._waiting[message.id] = message

    def _get(self, id_: str) -> AlertMessage | None:
        return self._waiting.get(id_) or self._sent.get(id_)

    def _index(self, message: AlertMessage) -> None:
        if message.phase in ("begin", "end"):
            for finding in message.findings:
                self._of_finding[finding, message.receiver, message.phase] = message.id

    def _forget(self, message: AlertMessage) -> None:
        with suppress(FileNotFoundError):
            (self._sent_dir / f"{message.id}{SUFFIX}").unlink()
        self._sent.pop(message.id, None)
        for finding in message.findings:
            if self._of_finding.get((finding, message.receiver, message.phase)) == message.id:
                del self._of_finding[finding, message.receiver, message.phase]

    def _remove(self, id_: str) -> None:
        with suppress(FileNotFoundError):
            (self._waiting_dir / f"{id_}{SUFFIX}").unlink()


class OutboxReader:
    """What waits and what was sent, as another process reads it: each file of a state once. For one thread, or under a lock."""

    def __init__(self, data_dir: Path) -> None:
        self._folders = data_dir / FOLDER / WAITING, data_dir / FOLDER / SENT
        self._sent: dict[str, AlertMessage] = {}

    def look(self) -> tuple[list[AlertMessage], list[AlertMessage]]:
        """Waiting in the order in which they were made, and sent with the newest first."""
        self._sent = read_folder(self._folders[1], self._sent)
        waiting = [message for id_, message in read_folder(self._folders[0]).items() if id_ not in self._sent]
        newest = sorted(self._sent.values(), key=lambda message: message.ended_s or 0.0, reverse=True)
        return sorted(waiting, key=lambda message: message.created_s), newest


def read_folder(folder: Path, known: dict[str, AlertMessage] | None = None) -> dict[str, AlertMessage]:
    """By id; of `known` ones the file is not read again. What is no message is left out."""
    found: dict[str, AlertMessage] = {}
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        for name in sorted(entry.name for entry in entries if entry.name.endswith(SUFFIX)):
            id_ = name.removesuffix(SUFFIX)
            if known is not None and id_ in known:
                found[id_] = known[id_]
                continue
            with suppress(OSError, ValueError):
                message = message_of(bytes_of(folder / name, most=MAX_BYTES))
                if message.id == id_:
                    found[id_] = message
    return found


# Deliver the messages that wait: a thread a receiver, so that a dead one delays nothing else.

BACK_OFF_S = (5.0, 600.0)  # after the first failure, and at most
GIVE_UP_S, MIN_ATTEMPTS = 7 * 86400.0, 500  # a machine that slept for a week has not tried
LOOK_S = 1.0
STOP_S = 1.0
MAX_SUMMED = 8 * MAX_MEMBERS  # findings of a summary

log = logging.getLogger("collectors")

Send = Callable[[Receiver, AlertMessage], None]


def send(receiver: Receiver, message: AlertMessage) -> None:
    """By its channel; the libraries for these are loaded with the first message. Raises NotDelivered."""
    from . import channels

    channels.send(receiver, message)


class Courier:
    """Of one receiver. `turn` is for one thread."""

    def __init__(self, name: str, outbox: Outbox, settings: Callable[[], AlertSettings], send: Send = send) -> None:
        self.name = name
        self._outbox, self._settings, self._send = outbox, settings, send
        tried = [message for message in outbox.waiting(name) if message.attempts]
        self._failed = {message.id: message.attempts for message in tried}  # how often since it worked, by message
        self._pause_until_s = max((message.next_s for message in tried), default=0.0)
        self._taken_s = sorted(
            message.ended_s or 0.0
            for message in outbox.sent()
            if message.receiver == name and message.state == "delivered" and message.phase != "test"
        )

    def turn(self, now_s: float) -> None:
        """Try what is due."""
        settings = self._settings()
        waiting = self._outbox.waiting(self.name)
        receiver = settings.receiver(self.name)
        if receiver is None:
            for message in waiting:
                if not settings.troubles and now_s - message.created_s > GIVE_UP_S / 7:
                    self._outbox.over(message, "failed", now_s, "there is no receiver of this name any more")
            return
        for message in [message for message in waiting if message.phase == "test"]:
            self._try(receiver, message, now_s)
        due = [
            message
            for message in waiting
            if message.phase != "test"
            and not now_s < message.next_s <= now_s + BACK_OFF_S[1]  # later than that: the clock was wrong then
            and not is_quiet(settings.quiet, message.rule, now_s)
        ]
        if now_s < self._pause_until_s <= now_s + BACK_OFF_S[1]:
            due = [
                message for message in due if len(self._failed) == 1 and not message.attempts
            ]  # it may choke on that one alone
        due.sort(key=lambda message: message.id in self._failed)
        for message in self._within_rate(due, settings, now_s):
            if not self._try(receiver, message, now_s):
                return

    def retry_now(self) -> None:
        """Its settings have changed."""
        self._failed, self._pause_until_s = {}, 0.0
        self._outbox.retry_now(self.name)

    def _within_rate(self, due: list[AlertMessage], settings: AlertSettings, now_s: float) -> list[AlertMessage]:
        """As many as may go now; what is more than that, and was not tried yet, is one message in the last place."""
        self._taken_s = [then_s for then_s in self._taken_s if 0 <= now_s - then_s < settings.rate_per_s]
        free = settings.rate - len(self._taken_s)
        if free <= 0:
            return []
        if len(due) <= free:
            return due
        tried = [message for message in due if message.attempts]
        fresh = [message for message in due if not message.attempts]
        if len(tried) >= free or len(fresh) < 2:
            return (tried + fresh)[:free]
        alone, rest = fresh[: free - len(tried) - 1], _as_fit(fresh[free - len(tried) - 1 :])
        if len(rest) < 2:
            return [*tried, *fresh][:free]
        summary = summed_up(rest, now_s)
        self._outbox.replace_by(summary, [message.id for message in rest])
        return [*tried, *alone, summary]

    def _try(self, receiver: Receiver, message: AlertMessage, now_s: float) -> bool:
        """False where the receiver itself does not work."""
        wait_s = min(BACK_OFF_S[1], BACK_OFF_S[0] * 2.0 ** min(message.attempts, 20))
        message = replace(message, attempts=message.attempts + 1, next_s=now_s + wait_s)
        self._outbox.update(message)  # first: the process after a kill knows that it may have arrived
        try:
            self._send(receiver, message)
        except NotDelivered as failure:
            error = clean(str(failure))
            if message.phase == "test" or (now_s - message.created_s > GIVE_UP_S and message.attempts >= MIN_ATTEMPTS):
                self._outbox.over(message, "failed", now_s, error)
            else:
                self._outbox.update(replace(message, error=error))
            if failure.dead:
                self._failed[message.id] = self._failed.get(message.id, 0) + 1
                failures = sum(self._failed.values())
                self._pause_until_s = now_s + min(BACK_OFF_S[1], BACK_OFF_S[0] * 2.0 ** min(failures - 1, 20))
            return not failure.dead
        self._outbox.over(message, "delivered", now_s)
        self._failed, self._pause_until_s = {}, 0.0
        if message.phase != "test":
            self._taken_s.append(now_s)
        return True


class CourierPool:
    """All couriers, each in a thread that is started with its first message."""

    def __init__(
        self,
        outbox: Outbox,
        settings: Callable[[], AlertSettings],
        send: Send = send,
        clock: Callable[[], float] = time.time,
        threads: bool = True,
    ) -> None:
        """Without `threads`, `look` makes the turns itself."""
        self._outbox, self._settings, self._send, self._clock, self._threads = outbox, settings, send, clock, threads
        self._couriers: dict[str, Courier] = {}
        self._lock = threading.Lock()  # a test message comes from another thread
        self._workers: dict[str, _CourierThread] = {}

    def look(self) -> None:
        """Wake those that have a message."""
        with self._lock:
            self._look()

    def _look(self) -> None:
        for name in {message.receiver for message in self._outbox.waiting()}:
            courier = self._couriers.get(name)
            if courier is None:
                courier = self._couriers[name] = Courier(name, self._outbox, self._settings, self._send)
            if not self._threads:
                courier.turn(self._clock())
                continue
            worker = self._workers.get(name)
            if worker is None or not worker.is_alive():
                worker = self._workers[name] = _CourierThread(courier, self._clock)
                worker.start()
            worker.wake.set()

    def settings_changed(self) -> None:
        for courier in self._couriers.values():
            courier.retry_now()

    def close(self) -> None:
        """What is on its way is not waited for: it is in the outbox."""
        for worker in self._workers.values():
            worker.stop()
        for worker in self._workers.values():
            worker.join(STOP_S)


class _CourierThread(threading.Thread):
    def __init__(self, courier: Courier, clock: Callable[[], float]) -> None:
        super().__init__(name=f"alerts-{courier.name[:40]}", daemon=True)
        self.wake = threading.Event()
        self._courier, self._clock = courier, clock
        self._ending = threading.Event()

    def stop(self) -> None:
        self._ending.set()
        self.wake.set()

    def run(self) -> None:
        while not self._ending.is_set():
            self.wake.wait()
            self.wake.clear()
            if self._ending.is_set():
                return
            try:
                self._courier.turn(self._clock())
            except Unwritable as error:
                log.warning("alerts: %s", error)
            except Exception:  # a fault of ours must not end the deliveries
                log.exception("alerts: the delivery to %s failed", self._courier.name)


def _as_fit(messages: list[AlertMessage]) -> list[AlertMessage]:
    """The first of them whose findings one message, and its file, can hold."""
    sums = accumulate(len(message.findings) for message in messages)
    return [message for message, many in zip(messages, sums, strict=True) if many <= MAX_SUMMED]


def summed_up(messages: list[AlertMessage], now_s: float) -> AlertMessage:
    """One message for those that a limit held back."""
    first = messages[0]
    findings = tuple(dict.fromkeys(finding for message in messages for finding in message.findings))
    many = sum(message.count for message in messages)
    return AlertMessage(
        id=id_of("summary", first.receiver, [message.id for message in messages]),
        receiver=first.receiver,
        phase="summary",
        rule="summary",
        title=f"{len(messages)} alerts in one message",
        severity="alert" if any(message.severity == "alert" for message in messages) else "note",
        sentences=tuple(clean(f"{message.title}: {message.subject}") for message in messages[:MAX_SENTENCES]),
        runs=tuple(dict.fromkeys(run for message in messages for run in message.runs))[:MAX_RUNS],
        findings=findings,
        created_s=now_s,
        time_s=first.time_s,
        count=max(many, len(messages)),
        lasting=tuple(dict.fromkeys(finding for message in messages for finding in message.lasting)),
        link=first.link if len({message.link for message in messages}) == 1 else "",
    )
