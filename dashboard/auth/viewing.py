"""What a viewer sees of an answer: command lines, other processes, paths and what looks like a secret are left out, unless granted.

Applied where answers become JSON (`api/encoding.py`), so that a new route is covered the day it is added. Names by which the page asks
again (runs, series, boards) stay as they are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from collectors.redaction import LEFT_OUT, is_secret, may_hold_a_secret, redacted

from .roles import DETAILS, PROCESSES, Role
from .visitor import Visitor, visitor

KEPT = 8192  # texts
SHORT = 400  # characters of a text that is worth keeping
NAMES = frozenset(
    [
        *(
            "run",
            "runs",
            "series",
            "names",
            "id",
            "ids",
            "key",
            "keys",
            "gpu",
            "gpus",
            "uuid",
            "labels",
            "columns",
            "cursor",
            "axis",
            "x",
            "y",
        ),
        *(
            "board",
            "boards",
            "expression",
            "template",
            "templates",
            "rule",
            "rules",
            "against",
            "attempt_runs",
            "address",
            "unit",
            "kind",
        ),
        *(
            "tag",
            "tags",
            "metric",
            "state",
            "type",
            "level",
            "phase",
            "phases",
            "time_zone",
            "version",
            "job_id",
            "colour",
            "bdata",
        ),
        *("namespace", "className", "href", "component", "prop_id", "property", "dtype"),
    ]
)  # keys of words that are no prose, and stay
WHOLE = frozenset(["board"])  # what a board's text says: the page asks with its expressions
HIDDEN_SECTIONS = frozenset(["command", "environment"])  # of a comparison of runs
OF_PROCESSES = frozenset(["command", "user"])
LEFT = frozenset(
    ["argv", "command", "cmdline", "command_line", "env", "environ", "environment", "user", "username", "remove", "executable"]
)
PATHS = re.compile(r"(?<![\w.:/<)])(?:~[\w-]*)?/(?:[\w.+@-]+/)+(?=[\w.+@-])")  # the folders of an absolute path
HIDDEN_PATH = "…/"
MOST_DEPTH = 100


def for_viewer(value: Any) -> Any:
    """The value itself where all of it may be seen: by the owner, at no cost."""
    asking = visitor()
    if asking.role is Role.OWNER:
        return value
    return _shown(value, asking, MOST_DEPTH)


def hides(section: str, key: str) -> bool:
    """Whether the values of a row of a comparison are left out for who asks: `("command", "cwd")`, `("config", "api_key")`."""
    return not visitor().has(DETAILS) and (section in HIDDEN_SECTIONS or key in LEFT or is_secret(key))


def without_details(text: str) -> str:
    """`"cannot read /home/ada/job/data.py" -> "cannot read …/data.py"`, and without what looks like a secret."""
    return _short(text) if len(text) <= SHORT else _plain(text)


@lru_cache(KEPT)
def _short(text: str) -> str:
    return _plain(text)


def _plain(text: str) -> str:
    text = redacted(text) if may_hold_a_secret(text) else text
    return PATHS.sub(HIDDEN_PATH, text) if "/" in text else text


def _shown(value: Any, asking: Visitor, depth: int) -> Any:
    if isinstance(value, str):
        return value if asking.has(DETAILS) else without_details(value)
    if depth == 0:
        return LEFT_OUT
    if isinstance(value, Mapping):
        if "section" in value and hides(str(value["section"]), str(value.get("key", ""))):
            return {key: _hidden(item) if key == "values" else item for key, item in value.items()}
        return {key: _field(key, item, asking, depth - 1) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        if value and isinstance(value[0], (int, float)):  # a column
            return value
        kept = [item for item in value if not (_is_process(item) and not asking.has(PROCESSES))]
        return [_shown(item, asking, depth - 1) for item in kept]
    return value


def _field(key: Any, value: Any, asking: Visitor, depth: int) -> Any:
    if isinstance(value, (bool, int, float)) or value is None or key in WHOLE or (key in NAMES and _is_plain(value)):
        return value
    if key in LEFT and not (asking.has(DETAILS) or (key in OF_PROCESSES and asking.has(PROCESSES))):
        return LEFT_OUT if isinstance(value, str) and value else [LEFT_OUT] if isinstance(value, list) else value and LEFT_OUT
    if not asking.has(DETAILS) and isinstance(key, str) and isinstance(value, str) and value and is_secret(key):
        return LEFT_OUT
    return _shown(value, asking, depth)


def _hidden(values: Any) -> Any:
    return [LEFT_OUT if isinstance(item, str) else item for item in values] if isinstance(values, (list, tuple)) else LEFT_OUT


def _is_plain(value: Any) -> bool:
    """A word, or a list of words: what is deeper has keys of its own."""
    return isinstance(value, str) or (isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value))


def _is_process(item: Any) -> bool:
    """A row of a GPU's processes."""
    return isinstance(item, Mapping) and "command" in item and "user" in item and "pid" in item
