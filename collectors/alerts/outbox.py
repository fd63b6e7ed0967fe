"""Messages that wait and those that were sent: a file each, so that a kill at any moment loses none.

`<data>/alerts/outbox/<id>.json` waits. It is written again before and after each attempt; once it is over, it is written to
`<data>/alerts/sent/` first and then removed here. A message that stands in both is over.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from threading import Lock

from ..small_file import bytes_of, write_bytes
from .message import AlertMessage, MessagePhase, MessageState, message_of

FOLDER, WAITING, SENT = "alerts", "outbox", "sent"
SUFFIX = ".json"
MOST_SENT, MOST_BYTES = 2000, 1 << 20
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
                : max(0, len(self._sent) - MOST_SENT)
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


class MessageFolders:
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
                message = message_of(bytes_of(folder / name, most=MOST_BYTES))
                if message.id == id_:
                    found[id_] = message
    return found
