"""Unix seconds from what users of pandas have in hand, and back."""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import datetime
from numbers import Real
from typing import TypeAlias, cast

import numpy as np
import pandas as pd

from .asking import DashboardError

Moment: TypeAlias = float | datetime | np.datetime64 | None


def unix_s(moment: Moment, name: str) -> float | None:
    """`1764000000`, an aware or naive datetime, a pandas Timestamp, a numpy datetime64 -> Unix seconds; None stays.

    Without a zone a datetime or Timestamp is local time, as Python has it; a datetime64 is UTC, as numpy has it. Raises DashboardError.
    """
    if moment is None:
        return None
    if isinstance(moment, np.datetime64):
        moment = cast(datetime, pd.Timestamp(moment).tz_localize("UTC") if not np.isnat(moment) else pd.NaT)
    wrong = f"{name} is {moment!r}; give Unix seconds, a datetime or a pandas Timestamp"
    if isinstance(moment, pd.Timestamp):
        moment = moment.to_pydatetime(warn=False)
    if isinstance(moment, datetime) and moment is not pd.NaT:
        try:
            return moment.timestamp()
        except (ValueError, OverflowError, OSError):
            raise DashboardError(wrong) from None
    if isinstance(moment, Real) and not isinstance(moment, bool):
        seconds = _seconds(moment)
        if math.isfinite(seconds):
            return seconds
    raise DashboardError(wrong)


def _seconds(number: Real) -> float:
    try:
        return float(number)
    except OverflowError:
        return math.inf


def utc_index(seconds: Iterable[float | None]) -> pd.DatetimeIndex:
    """Named `time`, in UTC, to the microsecond; NaT for what is missing, or beyond what pandas can hold."""
    values = np.array([math.nan if value is None else value for value in seconds], dtype=np.float64)
    held = np.abs(values) < 2.5e11  # the year 9892
    micros = np.full(len(values), np.iinfo(np.int64).min, dtype=np.int64)
    micros[held] = np.round(values[held] * 1e6).astype(np.int64)
    return pd.DatetimeIndex(micros.view("datetime64[us]"), name="time").tz_localize("UTC")
