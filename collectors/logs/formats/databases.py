"""Databases of other programs that hold many runs: what each kind yields, in the order it was written."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, TypeAlias

MAX_VALUE_BYTES = 1 << 20  # of JSON, in one row


class RunRef(NamedTuple):
    """Which run of the database."""

    id: str
    title: str  # what its run is called, below the name of the database


class LoggedRow(NamedTuple):
    """Values that share their time and step."""

    run: RunRef
    row: int | None  # of its table, where these numbers only rise
    time_s: float | None  # Unix seconds
    step: int | None
    values: Mapping[str, Any] | None  # None where they cannot be read


class LoggedConfig(NamedTuple):
    """Fields of a run's configuration; others that are known stay."""

    run: RunRef
    config: Mapping[str, Any]


class LoggedStatus(NamedTuple):
    """How a run stands."""

    run: RunRef
    status: str  # "running", "finished", "failed" or "killed"
    started_s: float | None
    ended_s: float | None


LoggedItem: TypeAlias = LoggedRow | LoggedConfig | LoggedStatus


class DatabaseKind(NamedTuple):
    """`read` gives what is new since `state`, which it moves on before each of its rows: the reader may stop after any of them."""

    name: str
    fits: Callable[[sqlite3.Connection], bool]
    is_same: Callable[
        [sqlite3.Connection, Mapping[str, Any]], bool
    ]  # the database that the state is of, and no other of that name
    read: Callable[[sqlite3.Connection, dict[str, Any]], Iterator[LoggedItem]]
