"""What pages with controls above a component of ours share: what a browser sent, checked, and a view that the component takes."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

_ANSWERS = itertools.count()


def numbered(view: Mapping[str, Any]) -> dict[str, Any]:
    """The view with a number of its own, so that the browser sees every answer, also one that says what the last one said: a key may have
    changed the component in between.
    """
    return {**view, "answer": next(_ANSWERS)}


def texts(value: object, most: int) -> list[str]:
    """The texts of a list that a browser sent, once each."""
    return (
        list(dict.fromkeys(item for item in value if isinstance(item, str) and item))[:most]
        if isinstance(value, list)
        else []
    )
