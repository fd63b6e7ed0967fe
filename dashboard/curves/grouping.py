"""Runs with an equal value of their configuration are one group (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

NOT_SET = "not set"
MOST_LABEL = 200  # characters


def group_of(info: Mapping[str, Any], key: str) -> str:
    """The value of `optimizer.lr` in the run's config, else in its other information, as text: `0.001`, `adam`, `[1,2]`."""
    for table in (info.get("config"), info):
        found = _found(table, key)
        if found is not None:
            return _text(found)[:MOST_LABEL]
    return NOT_SET


def _found(table: object, key: str) -> object:
    """By the whole key, else by the tables that its dots go through."""
    if not isinstance(table, Mapping):
        return None
    if key in table:
        return table[key]
    first, dot, rest = key.partition(".")
    while dot:
        if first in table and (found := _found(table[first], rest)) is not None:
            return found
        more, dot, rest = rest.partition(".")
        first = f"{first}.{more}"
    return None


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        value = int(value)  # 1 and 1.0 are equal
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS).decode()
    except TypeError:
        return str(value)
