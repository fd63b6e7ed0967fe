"""Where a run looks for requests: an entry of the data folder of its log folder, which its `run.json` names.

A name in a file is a claim: only a folder `.deepseek/traces/<name>` of a log folder that this dashboard follows is believed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..log_tree import LogTree
from ..received import is_received

DATA_FOLDER, TRACES = ".deepseek", "traces"
REQUEST = "trace.request"
RESULT = re.compile(r"trace-([0-9a-f]{8,32})\.json")
NAMED = re.compile(rf"(?:\.\./)+{re.escape(DATA_FOLDER)}/{TRACES}/(?!\.)[\w.%~-]{{1,220}}")
NO_RUN_LOG = (
    "it does not use RunLog: `from deepseek.trainer.run_log import RunLog` and a call of `log.scalars(step, ...)` in each step, "
    "or one of the adapters, let its steps be traced"
)


class NoEntry(Exception):
    """The run cannot be asked; the text says why, as the end of a sentence, with the remedy."""


def entry_of(logs: Path | LogTree, run: str, info: Mapping[str, Any]) -> Path:
    """`logs`, `baseline` -> `logs/.deepseek/traces/baseline`; it need not be there. `info` is of run.json. Raises NoEntry."""
    if is_received(run):
        raise NoEntry("it is on another host, where no request of this one arrives: ask on a dashboard there")
    named = info.get("trace")
    if named is None:
        raise NoEntry(NO_RUN_LOG)
    if not isinstance(named, str) or not NAMED.fullmatch(named):
        raise NoEntry("the folder that its run.json names is no folder of traces")
    tree = LogTree.of(logs)
    entry = Path(os.path.normpath(tree.path_of(run) / named))
    if not any(entry.is_relative_to(top) for top in tree.tops):
        raise NoEntry(
            f"its log folder is {entry.parents[2]}, which is not followed: start the dashboard with --log-dir {entry.parents[2]}"
        )
    return entry
