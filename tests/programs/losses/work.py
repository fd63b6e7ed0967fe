"""What the loops do besides their losses."""

import time


def forward() -> None:
    time.sleep(0.012)  # as if a GPU worked: it takes no longer while this machine has other work


def compute(seconds: float) -> None:
    """Python code that needs so much CPU time, however busy the machine is."""
    until_s = time.thread_time() + seconds
    while time.thread_time() < until_s:
        pass
