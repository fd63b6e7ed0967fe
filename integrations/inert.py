"""A thing that accepts everything and does nothing: what stands for a log that could not be opened, and for what is not logged."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


class Inert:
    """Any attribute, call, item or `with` of it is inert, too; assigning to it is forgotten."""

    def __init__(self, *positional: Any, **named: Any) -> None:
        pass

    def __getattr__(self, name: str) -> Inert:
        if name.startswith("__"):
            raise AttributeError(name)  # copying, pickling and numpy ask what a thing can do
        return Inert()

    def __str__(self) -> str:
        return ""

    def __setattr__(self, name: str, value: object) -> None:
        pass

    def __call__(self, *positional: Any, **named: Any) -> Inert:
        return self

    def __getitem__(self, key: object) -> Inert:
        return self

    def __setitem__(self, key: object, value: object) -> None:
        pass

    def __iter__(self) -> Iterator[Inert]:
        return iter(())

    def __enter__(self) -> Inert:
        return self

    def __exit__(self, *error: object) -> None:
        pass
