"""What else scripts take from wandb's module and look into: tables, levels of alerts, errors, ids, and the modules in which they stand."""

from __future__ import annotations

import secrets
import string
from collections.abc import Sequence
from enum import Enum
from typing import Any

from .guard import guarded
from .inert import Inert

MOST_ROWS = 200_000  # of a table, as in wandb
ID_CHARS = string.ascii_lowercase + string.digits


class Error(Exception):
    """What scripts catch; none of these is ever raised."""


class CommError(Error):
    pass


class UsageError(Error):
    pass


class AuthenticationError(CommError):
    pass


class AlertLevel(str, Enum):
    INFO = "INFO"
    WARN = "WARN"
    ERROR = "ERROR"


class InertTable(Inert):
    """Its rows can be added and read; it is not logged."""

    def __init__(self, columns: Sequence[str] | None = None, data: Any = None, *others: Any, **named: Any) -> None:
        self.columns = list(columns or ())
        self.data: list[Any] = _rows(data) or []

    def add_data(self, *row: Any) -> None:
        if len(self.data) < MOST_ROWS:
            self.data.append(list(row))


class Errors(Inert):
    Error, CommError, UsageError, AuthenticationError = Error, CommError, UsageError, AuthenticationError


class DataTypes(Inert):
    Table = InertTable


class Util(Inert):
    @staticmethod
    def generate_id(length: int = 8) -> str:
        """It does not touch the script's own random numbers."""
        return "".join(secrets.choice(ID_CHARS) for _ in range(length))


class RunModule(Inert):
    def __init__(self, run: type) -> None:
        self.Run = run


class Sdk(Inert):
    def __init__(self, run: type) -> None:
        self.wandb_run = RunModule(run)


@guarded
def _rows(data: Any) -> list[Any]:
    """Of a list of rows, an array or nothing."""
    return [] if data is None else [list(row) for row, _ in zip(data, range(MOST_ROWS))]
