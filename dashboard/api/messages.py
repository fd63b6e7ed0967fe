"""What the live socket sends: the messages of `WS /api/v1/live`, which have no route in OpenAPI and stand among its schemas."""

from __future__ import annotations

from typing import Literal, TypeAlias

from typing_extensions import TypedDict

from .logs import LineRow
from .machine import StateAnswer
from .points import LiveRow
from .runs import EventRow, RunRow


class StateMessage(StateAnswer):
    """About once a second. `runs` are those that live or are subscribed to, of `runs_total`."""

    type: Literal["state"]
    runs: list[RunRow]
    runs_total: int


class DeltaMessage(TypedDict):
    """What was committed up to `cursor`, as far as it was subscribed to."""

    type: Literal["delta"]
    cursor: int
    series: list[LiveRow]
    lines: list[LineRow]
    events: list[EventRow]


class ResetMessage(TypedDict):
    """The cursor is older than what is kept for deltas: read the points anew."""

    type: Literal["reset"]
    cursor: int


class RefusedMessage(TypedDict):
    """What came was no subscription; the socket is closed."""

    type: Literal["refused"]
    error: str


LiveMessage: TypeAlias = StateMessage | DeltaMessage | ResetMessage | RefusedMessage
MESSAGES = (StateMessage, DeltaMessage, ResetMessage, RefusedMessage)
