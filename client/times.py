"""Unix seconds from what users of pandas have in hand, and back."""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import datetime
from numbers import Real
from typing import Union

import numpy as np
import pandas as pd

from .asking import DashboardError

AnyTime = Union[float, datetime, np.datetime64, None]


def unix_s(moment: AnyTime, name: str) -> float | None:
    """`1764000000`, an aware or naive datetime, a pandas Timestamp, a numpy datetime64 -> Unix seconds; None stays.

    Without a zone a datetime or Timestamp is local time, as Python has it; a datetime64 is UTC, as numpy has it. Raises DashboardError.
    """
    if moment is None:
        return None
    seconds = _seconds(moment)
    if not math.isfinite(seconds):
        raise DashboardError(f"{name} is {moment!r}; give Unix seconds, a datetime or a pandas Timestamp")
    return seconds


def _seconds(moment: object) -> float:
    """NaN for what is no time."""
    try:
        if isinstance(moment, np.datetime64):
            return float(pd.Timestamp(moment).tz_localize("UTC").timestamp())
        if isinstance(moment, pd.Timestamp):
            return moment.to_pydatetime(warn=False).timestamp()
        if isinstance(moment, datetime):
            return moment.timestamp()
        return float(moment) if type(moment) is not bool and isinstance(moment, Real) else math.nan
    except (ValueError, OverflowError, OSError, AttributeError):  # beyond the calendar, or NaT
        return math.nan


def utc_index(seconds: Iterable[float | None]) -> pd.DatetimeIndex:
    """Named `time`, in UTC, to the microsecond; NaT for what is missing, or beyond what pandas can hold."""
    values = np.array([math.nan if value is None else value for value in seconds], dtype=np.float64)
    held = np.abs(values) < 2.5e11  # the year 9892
    micros = np.full(len(values), np.iinfo(np.int64).min, dtype=np.int64)
    micros[held] = np.round(values[held] * 1e6).astype(np.int64)
    return pd.DatetimeIndex(micros.view("datetime64[us]"), name="time").tz_localize("UTC")
