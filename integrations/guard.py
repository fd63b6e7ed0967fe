"""The one place where a failure of ours ends: one sentence on stderr, once, and the training goes on as without us."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar, cast

MOST_CHARS = 300
MOST_SAID = 1_000  # sentences, names and reasons that are remembered
Call = TypeVar("Call", bound=Callable[..., Any])
_said: set[str] = set()


def guarded(call: Call) -> Call:
    """Whatever the call raises becomes a sentence, and its answer None; Ctrl-C and `sys.exit` pass."""

    @functools.wraps(call)
    def safely(*positional: Any, **named: Any) -> Any:
        try:
            return call(*positional, **named)
        except Exception as error:
            report(call.__qualname__, error)
            return None

    return cast("Call", safely)


def say_once(sentence: str) -> None:
    """A closed stderr is no reason to fail, either."""
    if sentence not in _said and len(_said) < MOST_SAID:
        _said.add(sentence)
        with suppress(OSError, ValueError, AttributeError):  # no stderr at all, under pythonw
            print(f"deepseek.integrations: {sentence}", file=sys.stderr, flush=True)


def report(name: str, error: Exception) -> None:
    """Once for each call and type of error, whatever the error says, and once for each error, whichever calls meet it."""
    kind = f"{name} {type(error).__name__}"
    try:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:MOST_CHARS]
    except Exception:  # an error that cannot even be shown
        reason = type(error).__name__
    if not {kind, reason} & _said:
        say_once(f"{name} failed and logs less than it should; the training is not affected ({reason})")
    if len(_said) < MOST_SAID:
        _said.update((kind, reason))
