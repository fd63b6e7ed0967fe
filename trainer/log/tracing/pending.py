"""Have the main thread call something between two instructions of Python, as it calls the handler of a signal. Without a signal."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from contextlib import suppress

_waiting: list[Callable[[], None]] = []


def _call_all(_: object) -> int:
    while _waiting:
        with suppress(Exception):
            _waiting.pop()()
    return 0


_CALL_ALL = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p)(_call_all)  # Python calls it later: it must stay


def call_in_main_thread(call: Callable[[], None]) -> None:
    """From any thread."""
    _waiting.append(call)
    ctypes.pythonapi.Py_AddPendingCall(_CALL_ALL, None)
