"""Who sends a request, and what a viewer gets of a text. What they get of an answer follows from its type (`viewing.py`)."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any, NamedTuple

from access.roles import DETAILS, GRANTED, GRANTS, MAY, Role, RouteNeed
from deepseek.log.redaction import redacted


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


# Texts: viewers get them without paths and without what looks like a secret.

MAX_KEPT = 8_000_000  # characters of texts, as they are and as they are shown: each line is searched for secrets once
OF_ENTRY = 100  # bytes of a kept text beside its characters
OURS = r"(?!/api/(?:v1/[a-z]|docs\b))"  # addresses of our API
PATHS = re.compile(
    rf"""(?<=["']){OURS}/(?:[^"'/\n\\<>]{{1,255}}/)+(?=[^"'/\s])"""  # in quotes, with spaces
    r"|(?<=file://)/(?:[\w.+@%-]+/)+(?=[\w.+@%-])"
    rf"|(?<![\w:/<)])(?<!^\.)(?<!\W\.){OURS}(?:~[\w-]*)?/(?:[\w.+@-]+/)+(?=[\w.+@-])"
)  # the folders of an absolute path, also behind a table's name (`data./home/ada/x`); not `./a/b`
HIDDEN_PATH = "…/"


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
