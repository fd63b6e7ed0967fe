"""What else scripts take from wandb's module and look into: tables, levels of alerts, errors, ids, and the modules in which they stand."""

from __future__ import annotations

import secrets
import string
from collections.abc import Sequence
from enum import Enum
from typing import Any

from .guard import Inert, guarded
from .wandb_media import Audio, Histogram, Html, Image, Media, MediaFolder, table_text

MAX_ROWS = 200_000  # of a table, as in wandb
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


class LoggedTable(Media):
    """Its rows can be added and read; the first of them are logged."""

    def __init__(
        self, columns: Sequence[str] | None = None, data: Any = None, *others: Any, dataframe: Any = None, **named: Any
    ) -> None:
        super().__init__()
        self.columns = list(columns if columns is not None else _columns(dataframe) or ())
        self.data: list[Any] = _rows(data if dataframe is None else dataframe.itertuples(index=False)) or []

    def _sample(self, place: MediaFolder, name: str) -> tuple[Any, str | None]:
        return table_text(self.columns, self.data), "table"

    def add_data(self, *row: Any) -> None:
        if len(self.data) < MAX_ROWS:
            self.data.append(list(row))


class Errors(Inert):
    Error, CommError, UsageError, AuthenticationError = Error, CommError, UsageError, AuthenticationError


class DataTypes(Inert):
    Table, Image, Audio, Html, Histogram = LoggedTable, Image, Audio, Html, Histogram


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
def _columns(frame: Any) -> list[Any]:
    return [] if frame is None else list(frame.columns)


@guarded
def _rows(data: Any) -> list[Any]:
    """Of a list of rows, an array or nothing."""
    return [] if data is None else [list(row) for row, _ in zip(data, range(MAX_ROWS))]
