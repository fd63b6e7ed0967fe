"""What the programs share: how long to run, at most ten steps a second, and the run log where there is one."""
import os
import time

_end = None
_next = 0.0


def running():
    """True until SECONDS have passed since the first call; returns 0.1 s after the previous call at the earliest."""
    global _end, _next
    time.sleep(max(0.0, _next - time.monotonic()))
    now = time.monotonic()
    _next = now + 0.1
    if _end is None:
        _end = now + float(os.environ.get("SECONDS", "10"))
    return now < _end


class NoLog:
    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def scalars(self, *_args, **_named):
        pass


def open_log():
    """A RunLog when LOG_DIR and RUN are set."""
    if "LOG_DIR" in os.environ and "RUN" in os.environ:
        from deepseek.log import RunLog

        return RunLog(os.environ["LOG_DIR"], run=os.environ["RUN"])
    return NoLog()
