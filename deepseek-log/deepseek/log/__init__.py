"""What a training script needs: RunLog, its phases and traces, the hand-over to a remote dashboard, and adapters for other libraries.

    from deepseek.log import RunLog

Everything here runs on Python 3.9 and newer with the standard library alone; an adapter also imports its own library.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .run_log import RunLog

__all__ = ("RunLog",)


def __getattr__(name: str) -> Any:
    """Loads RunLog when it is asked for: the dashboard's processes use only the finder of secrets, and save 25 ms at their start."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import run_log

    globals()[name] = run_log.RunLog
    return run_log.RunLog
