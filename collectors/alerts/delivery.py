"""Deliver the messages that wait: a thread a receiver, so that a dead one delays nothing else."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import accumulate

from ..small_file import Unwritable
from .channels import send
from .channels.sent import NotDelivered
from .composing import MOST_RUNS
from .message import MOST_MEMBERS, AlertMessage, id_of
from .model import AlertSettings, Receiver
from .outbox import Outbox
from .quiet import is_quiet
from .wording import MOST_SENTENCES, clean

BACK_OFF_S = (5.0, 600.0)  # after the first failure, and at most
GIVE_UP_S, LEAST_ATTEMPTS = 7 * 86400.0, 500  # a machine that slept for a week has not tried
LOOK_S = 1.0
STOP_S = 1.0
MOST_SUMMED = 8 * MOST_MEMBERS  # findings of a summary

log = logging.getLogger("collectors")

Send = Callable[[Receiver, AlertMessage], None]


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
            if message.phase == "test" or (
                now_s - message.created_s > GIVE_UP_S and message.attempts >= LEAST_ATTEMPTS
            ):
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


class Deliveries:
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
    return [message for message, many in zip(messages, sums, strict=True) if many <= MOST_SUMMED]


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
        sentences=tuple(clean(f"{message.title}: {message.subject}") for message in messages[:MOST_SENTENCES]),
        runs=tuple(dict.fromkeys(run for message in messages for run in message.runs))[:MOST_RUNS],
        findings=findings,
        created_s=now_s,
        time_s=first.time_s,
        count=max(many, len(messages)),
        lasting=tuple(dict.fromkeys(finding for message in messages for finding in message.lasting)),
        link=first.link if len({message.link for message in messages}) == 1 else "",
    )
