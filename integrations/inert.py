"""A thing that accepts everything and does nothing: what stands for a log that could not be opened, and for what is not logged."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

from .guard import say_once


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
