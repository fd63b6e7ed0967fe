"""Who sends a request, and what a viewer may see of an answer."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import fields as fields_of
from dataclasses import is_dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import orjson

from access.roles import DETAILS, GRANTED, GRANTS, MAY, PROCESSES, Role, RouteNeed
from deepseek.log.redaction import LEFT_OUT, is_secret, redacted, without_secrets


class NotGranted(Exception):
    """A viewer asks for what was not granted; the text is one sentence."""


class Visitor(NamedTuple):
    """`name` is that of a token, else `uid 1000`; `key` is the hash of the token or session that it shows, "" for none."""

    role: Role
    name: str = ""
    key: str = ""
    grants: frozenset[str] = frozenset()
    prefix: str = ""  # of the names of runs that a writer may append to

    def may(self, need: RouteNeed) -> bool:
        return need.role in MAY[self.role] and (not need.grant or self.has(need.grant))

    def has(self, grant: str) -> bool:
        return self.role is Role.OWNER or grant in self.grants


OWNER = Visitor(Role.OWNER)  # this process itself
ANYONE = Visitor(Role.ANYONE)

_visitor: ContextVar[Visitor] = ContextVar("visitor", default=OWNER)
enter, leave = _visitor.set, _visitor.reset


def visitor() -> Visitor:
    """The client of the request that is being answered; the owner where there is none: a command, a background thread."""
    return _visitor.get()


def check_grant(grant: str) -> None:
    """Raises NotGranted."""
    if not visitor().has(grant):
        raise NotGranted(sentence_of(grant))


def sentence_of(grant: str) -> str:
    return f"{GRANTED[grant]} are not part of this link; its owner may make one with: deepseek-dashboard token new NAME --grant {grant}"


def grants_of(scopes: Mapping[str, Any]) -> frozenset[str]:
    """`{"grants": ["source"]} -> {"source"}`; what is unknown grants nothing."""
    given = scopes.get("grants")
    return frozenset(given).intersection(GRANTS) if isinstance(given, list) else frozenset()


# What a viewer sees of an answer: command lines, other processes, paths and what looks like a secret are left out, unless granted.
#
# Applied where answers become JSON (`api/answers.py`), so that a new route is covered the day it is added. Names by which the page asks
# again (runs, series, boards) stay as they are.

KEPT = 8192  # keys
MAX_KEPT = 8_000_000  # characters of texts, as they are and as they are shown: each line is searched for secrets once
OF_ENTRY = 100  # bytes of a kept text beside its characters
MIN_NUMBER = 1000  # of a secret name: smaller numbers are settings
NOT_FINITE = frozenset(["NaN", "Infinity", "-Infinity"])
NUMBERS = frozenset({int, float, bool, type(None)})
PLAIN = NUMBERS | {str, dict, list, tuple}
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
OF_SERIES = frozenset(["unit", "labels", "points"])  # beside a name that is a series': pages ask for it again
WHOLE = frozenset(["board"])  # what a board's text says: the page asks with its expressions
HIDDEN_SECTIONS = frozenset(["command", "environment"])  # of a comparison of runs
OF_PROCESSES = frozenset(["command", "user"])
LEFT = frozenset(
    [
        "argv",
        "command",
        "cmdline",
        "command_line",
        "env",
        "environ",
        "environment",
        "user",
        "username",
        "remove",
        "executable",
    ]
)
THEIRS = frozenset(["info", "config", "more"])  # what stands there has names that users chose
VALUES = frozenset(["text", "value"])  # beside a name
NAMED_BY = ("name", "key", "variable", "header")  # what such a name stands under
OURS = r"(?!/api/(?:v1/[a-z]|docs\b))"  # addresses of our API
PATHS = re.compile(
    rf"""(?<=["']){OURS}/(?:[^"'/\n\\<>]{{1,255}}/)+(?=[^"'/\s])"""  # in quotes, with spaces
    r"|(?<=file://)/(?:[\w.+@%-]+/)+(?=[\w.+@%-])"
    rf"|(?<![\w:/<)])(?<!^\.)(?<!\W\.){OURS}(?:~[\w-]*)?/(?:[\w.+@-]+/)+(?=[\w.+@-])"
)  # the folders of an absolute path, also behind a table's name (`data./home/ada/x`); not `./a/b`
HIDDEN_PATH = "…/"
MAX_DEPTH = 100


def for_viewer(value: Any) -> Any:
    """The value itself where all of it may be seen: by the owner, at no cost."""
    asking = visitor()
    if asking.role is Role.OWNER:
        return value
    return _shown(value, asking, MAX_DEPTH)


class ObjectMakers(dict[type, Callable[[Any], Any]]):
    """By the type of a record, a function `lambda record: {"run": record.run, ...}`: 0.3 µs a log line, where `_asdict` takes 0.5."""

    def __missing__(self, kind: type) -> Callable[[Any], Any]:
        names = getattr(kind, "_fields", ())
        if is_dataclass(kind):
            names = tuple(each.name for each in fields_of(kind) if not each.name.startswith("_"))
        pairs = ", ".join(f"{name!r}: record.{name}" for name in names)
        self[kind] = eval(f"lambda record: {{{pairs}}}") if names else lambda value: value
        return self[kind]


OBJECT = ObjectMakers()


def as_object(value: Any) -> Any:
    """A record, that is a NamedTuple or a dataclass, as the JSON object that stands for it; any other value as it is."""
    return value if type(value) in PLAIN else OBJECT[type(value)](value)


def hides(section: str, key: str) -> bool:
    """Whether the values of a row of a comparison are left out for who asks: `("command", "cwd")`, `("config", "api_key")`."""
    return not visitor().has(DETAILS) and (section in HIDDEN_SECTIONS or _is_left(key) or is_secret(key))


def check_key(key: str) -> None:
    """Of what runs are grouped by: its values become names. Raises NotGranted."""
    if hides("", key):
        check_grant(DETAILS)


def user_fields(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    """Fields that a program or a user named, before they are mixed with ours: none of them is a name by which a page asks again."""
    asking = visitor()
    return fields if asking.role is Role.OWNER else _theirs(fields, asking, MAX_DEPTH)


def bytes_for_viewer(data: bytes) -> bytes:
    """Of a text or JSON that a run logged, in UTF-8."""
    asking = visitor()
    if asking.has(DETAILS):
        return data
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        return without_details(data.decode("utf-8", "replace")).encode()
    return orjson.dumps(_theirs({"": value}, asking, MAX_DEPTH)[""])


def sees_all() -> bool:
    """Whether who asks gets texts as they are."""
    return visitor().has(DETAILS)


def visible_text(text: str) -> str:
    """What who asks gets of a text; the same again, of what that is."""
    return text if sees_all() else without_details(text)


def without_details(text: str) -> str:
    """`"cannot read /home/ada/job/data.py" -> "cannot read …/data.py"`, and without what looks like a secret."""
    return SHOWN.of(text)


def _plain(text: str) -> str:
    text = redacted(text)
    return PATHS.sub(HIDDEN_PATH, text) if "/" in text else text


class RedactionCache:
    """What viewers get of each text, for those of the last MAX_KEPT characters. For many threads."""

    def __init__(self) -> None:
        self._shown: dict[str, str] = {}  # by the text, the oldest first
        self._characters = 0
        self._lock = threading.Lock()

    def of(self, text: str) -> str:
        shown = self._shown.get(text)
        if shown is None:
            shown = _plain(text)
            with self._lock:
                self._add(text, shown)
        return shown

    def clear(self) -> None:
        with self._lock:
            self._shown, self._characters = {}, 0

    def _add(self, text: str, shown: str) -> None:
        if text in self._shown:
            return
        self._shown[text] = shown
        self._characters += len(text) + len(shown) + OF_ENTRY
        while self._characters > MAX_KEPT:
            oldest = next(iter(self._shown))
            self._characters -= len(oldest) + len(self._shown.pop(oldest)) + OF_ENTRY


SHOWN = RedactionCache()


def _shown(value: Any, asking: Visitor, depth: int) -> Any:
    if isinstance(value, str):
        return value if asking.has(DETAILS) else without_details(value)
    if _is_number(value):
        return value
    if depth == 0:
        return LEFT_OUT
    if type(value) not in PLAIN:
        value = as_object(value)
    if type(value) is dict or isinstance(value, Mapping):
        if "section" in value and "values" in value:
            return _compared(value, asking, depth)
        value = _without_named_secret(value, asking)
        shown = {key: _field(key, item, asking, depth - 1) for key, item in value.items()}
        return {**shown, "name": value["name"]} if "name" in value and not OF_SERIES.isdisjoint(value) else shown
    if isinstance(value, (list, tuple)):
        return value if _is_column(value) else [_shown(item, asking, depth - 1) for item in _kept(value, asking)]
    return _shown(_plain_of(value), asking, depth - 1)


def _field(key: Any, value: Any, asking: Visitor, depth: int) -> Any:
    if isinstance(value, (bool, int, float)) or value is None or key in WHOLE:
        return value
    if type(value) not in PLAIN:
        value = as_object(value)
    if key in NAMES and _is_plain(value):
        return value
    if _is_hidden(key, value, asking):
        return _left_out(value)
    return (
        _theirs(value, asking, depth) if key in THEIRS and isinstance(value, Mapping) else _shown(value, asking, depth)
    )


def _theirs(value: Any, asking: Visitor, depth: int) -> Any:
    """Of what users named, names are texts as well, and each text is looked at."""
    if depth <= 0:
        return LEFT_OUT
    if type(value) in NUMBERS:
        return value
    if type(value) not in PLAIN:
        value = as_object(value)
    if type(value) is dict or isinstance(value, Mapping):
        value = _without_named_secret(value, asking)
        return {
            _shown(key, asking, 1): _left_out(item)
            if _is_hidden(key, item, asking) or _is_their_secret(key, item, asking)
            else _theirs(item, asking, depth - 1)
            for key, item in value.items()
        }
    if isinstance(value, (list, tuple)):
        return (
            value
            if _is_column(value)
            else [_theirs(item, asking, depth - 1) for item in _words(_kept(value, asking), asking)]
        )
    return _shown(value, asking, depth)


def _words(items: list[Any], asking: Visitor) -> list[Any]:
    """Of a list that may be a command line, `["--token", "abc"]`, or a pair, `["HF_TOKEN", "abc"]`: without what its own words say are secrets."""
    if asking.has(DETAILS) or not any(isinstance(item, str) for item in items):
        return items
    if len(items) == 2 and isinstance(items[0], str) and ("_" in items[0] or "-" in items[0]) and is_secret(items[0]):
        return [items[0], _left_out(items[1])]
    words = iter(without_secrets(str(item) for item in items if isinstance(item, (str, int, float))))
    return [_same(item, next(words)) if isinstance(item, (str, int, float)) else item for item in items]


def _same(item: Any, word: str) -> Any:
    """A number stays one, unless it was left out."""
    return item if not isinstance(item, str) and word != LEFT_OUT else word


def _is_hidden(key: Any, value: Any, asking: Visitor) -> bool:
    if not isinstance(key, str) or isinstance(value, (bool, int, float)) or value is None:
        return False
    if _is_left(key):
        return not (asking.has(DETAILS) or (key in OF_PROCESSES and asking.has(PROCESSES)))
    return isinstance(value, str) and value != "" and not asking.has(DETAILS) and is_secret(key)


def _is_their_secret(key: Any, value: Any, asking: Visitor) -> bool:
    return isinstance(key, str) and not asking.has(DETAILS) and is_secret(key) and _is_worth_hiding(value)


def _is_worth_hiding(value: Any) -> bool:
    """Of a secret name: a text, a number that is no setting, and a list or table that has such."""
    value = as_object(value)
    if isinstance(value, (str, list, tuple)):
        return any(map(_is_worth_hiding, value)) if not isinstance(value, str) else value != ""
    if isinstance(value, Mapping):
        return any(map(_is_worth_hiding, value.values()))
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) >= MIN_NUMBER


@lru_cache(KEPT)
def _is_left(key: str) -> bool:
    """`argv`, and `env.HOME`, as columns name what lies in tables."""
    return key in LEFT or ("." in key and not LEFT.isdisjoint(key.split(".")))


def _left_out(value: Any) -> Any:
    value = as_object(value)
    return [LEFT_OUT] if isinstance(value, (list, tuple)) else value and LEFT_OUT


def _compared(row: Mapping[str, Any], asking: Visitor, depth: int) -> dict[str, Any]:
    """A row of a comparison of runs, whose values stand under a name that users chose."""
    key = str(row.get("key", ""))
    is_hidden = hides(str(row["section"]), key)
    shown = {name: _field(name, item, asking, depth - 1) for name, item in row.items()}
    values = _hidden(row["values"]) if is_hidden else _theirs(row["values"], asking, depth - 1)
    return {**shown, "key": _shown(key, asking, 1), "values": values}


def _without_named_secret(row: Mapping[str, Any], asking: Visitor) -> Mapping[str, Any]:
    """`{"name": "api_key", "text": "abc"}`: a field of a log line."""
    if asking.has(DETAILS) or VALUES.isdisjoint(row):
        return row
    names = (name for key in NAMED_BY if isinstance(name := row.get(key), str))
    if not any(map(is_secret, names)):
        return row
    return {key: LEFT_OUT if key in VALUES else item for key, item in row.items()}


def _kept(items: Sequence[Any], asking: Visitor) -> list[Any]:
    if not PLAIN.issuperset(map(type, items)):
        items = list(map(as_object, items))
    return [item for item in items if not (_is_process(item) and not asking.has(PROCESSES))]


def _is_number(value: Any) -> bool:
    return (
        value is None
        or isinstance(value, (bool, int, float))
        or (isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind in "biuf")
    )


def _is_column(values: Sequence[Any]) -> bool:
    """Of numbers alone, those that are none among them: half a millisecond for 10,000."""
    kinds = set(map(type, values))
    return (
        bool(values)
        and kinds - {str} <= NUMBERS
        and (str not in kinds or {each for each in values if type(each) is str} <= NOT_FINITE)
    )


def _plain_of(value: Any) -> Any:
    """Of what JSON has no word for, what encoding would make of it."""
    return value.tolist() if isinstance(value, (np.ndarray, np.generic)) else str(value)


def _hidden(values: Any) -> Any:
    return (
        [LEFT_OUT if isinstance(item, str) else item for item in values]
        if isinstance(values, (list, tuple))
        else LEFT_OUT
    )


def _is_plain(value: Any) -> bool:
    """A word, or a list of words: what is deeper has keys of its own."""
    return isinstance(value, str) or (isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value))


def _is_process(item: Any) -> bool:
    """A row of a GPU's processes."""
    return isinstance(item, Mapping) and "command" in item and "user" in item and "pid" in item
