"""Runs, curves, logs, stacks and verdicts of a dashboard as pandas objects, over its HTTP API (docs/client.md).

from deepseek.client import Dashboard, open_logs
"""

try:
    import pandas as _pandas  # noqa: F401  # asked for here, where the error can say what to install
except ModuleNotFoundError as error:
    if error.name != "pandas":
        raise
    raise ModuleNotFoundError(
        "deepseek.client needs pandas: pip install 'deepseek-log[client]'", name="pandas"
    ) from None

from .client import Dashboard, DashboardError
from .open_logs import OpenLogs, open_logs

__all__ = ["Dashboard", "DashboardError", "OpenLogs", "open_logs"]
