"""How much more work there is at present, and when units ended. With slowdown.py, the only module here that no user would have written."""

import os
import time

from slowdown import PLAN, factor

_units: tuple[int, int] = (0, -1)  # pid, descriptor


def more() -> float:
    """0 while all is well, else by how much longer than normal a unit is to be: 1 for twice as long."""
    return factor(time.time()) - 1


def unit_done() -> None:
    """Appends the time to `$SLOWDOWN.units.<pid>`."""
    global _units
    if _units[0] != os.getpid():
        _units = os.getpid(), os.open(f"{PLAN}.units.{os.getpid()}", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC)
    os.write(_units[1], f"{time.time():.6f}\n".encode())
