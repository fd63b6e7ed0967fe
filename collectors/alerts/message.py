"""A message to one receiver: what it says, and how far it has come."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, TypeAlias

MessagePhase: TypeAlias = Literal["begin", "end", "summary", "test"]
MessageState: TypeAlias = Literal["waiting", "delivered", "failed", "summed"]
MOST_LINE, MOST_MEMBERS = 300, 1000


@dataclass(frozen=True)
class AlertMessage:
    """All texts are clean: one line each of bounded length, without control characters and secrets.

    `findings` are the ids of those that it is about, `lasting` of those of them that still hold; `into` is the summary that a
    message was summed up in. A message with `attempts` may have arrived already, and keeps its id and its words.
    """

    id: str
    receiver: str
    phase: MessagePhase
    rule: str
    title: str
    severity: str
    sentences: tuple[str, ...]  # one a run, at most wording.MOST_SENTENCES
    runs: tuple[str, ...]
    findings: tuple[str, ...]
    created_s: float  # Unix seconds
    time_s: float  # of the finding
    count: int = 1  # of findings
    lasting: tuple[str, ...] = ()
    ranks: tuple[int, ...] = ()
    step: int | None = None
    line: str = ""  # of code: `train.py:12 in step`
    gpu_hours: float | None = None  # lost, where that is known
    sparkline: str = ""
    sparkline_of: str = ""  # the series
    link: str = ""
    unresolved: bool = False  # of an end: the runs ended, and what it is about held until then
    state: MessageState = "waiting"
    attempts: int = 0
    next_s: float = 0.0  # when it is tried again
    ended_s: float | None = None  # when it was delivered, or given up
    error: str = ""
    into: str = ""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def written(self) -> bytes:
        return json.dumps(self.as_json()).encode()

    @property
    def subject(self) -> str:
        """One line."""
        return self.sentences[0] if len(self.sentences) == 1 else f"{self.title}: {self.count} findings"


def message_of(data: bytes) -> AlertMessage:
    """Raises ValueError where it is none of ours."""
    found = json.loads(data)
    if not isinstance(found, dict):
        raise ValueError("no message")
    known = {field.name for field in fields(AlertMessage)}
    values: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in found.items() if key in known
    }
    try:
        return AlertMessage(**values)
    except TypeError as error:
        raise ValueError(str(error)) from None


def id_of(phase: str, receiver: str, findings: Iterable[str]) -> str:
    """The same whenever it is computed for the same findings."""
    text = "\0".join([phase, receiver, *sorted(findings)])
    return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=12).hexdigest()
