"""Keeps failures of ours from the training: one sentence on stderr, once, and what could not be made is replaced by something inert."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, TypeVar, cast

MAX_CHARS = 300
MAX_SAID = 1_000  # sentences, names and reasons that are remembered
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
    if sentence not in _said and len(_said) < MAX_SAID:
        _said.add(sentence)
        with suppress(OSError, ValueError, AttributeError):  # no stderr at all, under pythonw
            print(f"deepseek.log.adapters: {sentence}", file=sys.stderr, flush=True)


def report(name: str, error: Exception) -> None:
    """Once for each call and type of error, whatever the error says, and once for each error, whichever calls meet it."""
    kind = f"{name} {type(error).__name__}"
    try:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:MAX_CHARS]
    except Exception:  # an error that cannot even be shown
        reason = type(error).__name__
    if not {kind, reason} & _said:
        say_once(f"{name} failed and logs less than it should; the training is not affected ({reason})")
    if len(_said) < MAX_SAID:
        _said.update((kind, reason))


# A thing that accepts everything and does nothing: what stands for a log that could not be opened, and for what is not logged.


class Inert:
    """Any attribute, call, item or `with` of it is inert, too, and so is a sum; it is empty, false, zero and less than nothing.

    It can be the base of a class. Names with a capital letter are inert classes.
    """

    def __init__(self, *positional: Any, **named: Any) -> None:
        pass

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)  # copying, pickling and numpy ask what a thing can do
        return inert_class(name) if name[:1].isupper() else Inert()

    def __mro_entries__(self, bases: tuple[Any, ...]) -> tuple[type, ...]:
        return () if any(isinstance(base, type) and issubclass(base, Inert) for base in bases) else (Inert,)

    def __str__(self) -> str:
        return ""

    def __format__(self, spec: str) -> str:
        return ""

    def __bool__(self) -> bool:
        return False

    def __len__(self) -> int:
        return 0

    def __int__(self) -> int:
        return 0

    def __float__(self) -> float:
        return 0.0

    def __contains__(self, value: object) -> bool:
        return False

    def __iter__(self) -> Iterator[Any]:
        return iter(())

    def __call__(self, *positional: Any, **named: Any) -> Any:
        return Inert()

    def __getitem__(self, key: object) -> Any:
        return Inert()

    def __setitem__(self, key: object, value: object) -> None:
        pass

    def __delitem__(self, key: object) -> None:
        pass

    def __lt__(self, other: object) -> bool:
        return False

    __le__ = __gt__ = __ge__ = __lt__

    def __add__(self, other: object) -> Any:
        return Inert()

    __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = __floordiv__ = __mod__ = __add__

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *error: object) -> None:
        pass


class InertCall(Inert):
    """Says once, when it is called, that wandb's function of this name is not logged."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __call__(self, *positional: Any, **named: Any) -> Any:
        say_once(f"wandb's {self._name} is not logged here")
        return Inert()


class InertCallback(Inert):
    """A callback for another library, e.g. `wandb.keras.WandbCallback`, or a class of the script's below it."""

    def __init__(self, *positional: Any, **named: Any) -> None:
        say_once(f"{type(self).__name__} logs nothing here: wandb's callbacks are not written")


@functools.lru_cache(maxsize=256)
def inert_class(name: str) -> type:
    """`isinstance(value, wandb.Image)` asks for the same class again; what is called an error can be caught."""
    error = name.endswith(("Error", "Exception"))
    base = Exception if error else InertCallback if name.startswith("Wandb") else Inert
    return type(name, (base,), {"__module__": f"{__package__}.wandb"})
