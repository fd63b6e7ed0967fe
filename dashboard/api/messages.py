"""The messages of the live socket `WS /api/v1/live`, which has no route in OpenAPI: they are among its schemas."""

from __future__ import annotations

from typing import Literal, TypeAlias

from typing_extensions import TypedDict

from .findings import FindingRow
from .logs import BarRow, LineRow
from .machine import StateAnswer
from .points import LiveRow
from .runs import EventRow, RunRow


class StateMessage(StateAnswer):
    """About once a second. `runs` are those alive or subscribed to, of `runs_total`."""

    type: Literal["state"]
    runs: list[RunRow]
    runs_total: int


class DeltaMessage(TypedDict):
    """The subscribed data committed up to `cursor`."""

    type: Literal["delta"]
    cursor: int
    series: list[LiveRow]
    lines: list[LineRow]
    events: list[EventRow]
    bars: list[BarRow]  # those that changed
    findings: list[FindingRow]  # ... also those of the machine


class ResetMessage(TypedDict):
    """The cursor is older than the stored deltas: read the points again."""

    type: Literal["reset"]
    cursor: int


class RefusedMessage(TypedDict):
    """The message was not a subscription; the socket is closed."""

    type: Literal["refused"]
    error: str


LiveMessage: TypeAlias = StateMessage | DeltaMessage | ResetMessage | RefusedMessage
MESSAGES = (StateMessage, DeltaMessage, ResetMessage, RefusedMessage)
