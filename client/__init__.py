"""Runs, curves, logs, stacks and verdicts of a dashboard as pandas objects, over its HTTP API (docs/client.md).

from deepseek.client import Dashboard, open_logs
"""

from .asking import DashboardError
from .dashboard import Dashboard
from .opening import OpenLogs, open_logs

__all__ = ["Dashboard", "DashboardError", "OpenLogs", "open_logs"]
