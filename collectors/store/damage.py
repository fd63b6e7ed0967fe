"""What stands in a blob, or None where it is damaged: that costs only itself, whoever reads it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

from .codec import CodecError

T = TypeVar("T")
log = logging.getLogger(__name__)


def decoded(what: str, row: int, decode: Callable[[bytes], T], blob: bytes) -> T | None:
    """None, and a line in the log, where the blob is damaged; `store check` names it as well."""
    try:
        return decode(blob)
    except CodecError as error:
        log.error("%s %d is left out: %s", what, row, error)
        return None
