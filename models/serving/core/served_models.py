"""The models of a server by name."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from ...errors import WrongOption
from .loading import ServingOptions
from .refusal import not_found
from .served_model import ServedModel

MODEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}(/[A-Za-z0-9][A-Za-z0-9_.-]{0,63})?")
SHOWN = 20


class ServedModels:
    """Raises WrongOption for a name that is none."""

    def __init__(
        self, folders: dict[str, Path], options: ServingOptions, noted: Callable[[str], None] = lambda _: None
    ) -> None:
        for name in folders:
            if not MODEL_NAME.fullmatch(name):
                raise WrongOption(
                    f"{name!r} is no name for a model: letters, digits, dots, dashes, and one slash at most"
                )
        self._models = {name: ServedModel(name, folder, options, noted) for name, folder in folders.items()}
        self.closing = False  # nothing new is to come here
        self.lag_s = 0.0  # of the event loop: how late it is at its work

    def __iter__(self) -> Iterator[ServedModel]:
        return iter(self._models.values())

    @property
    def only(self) -> ServedModel | None:
        """Where there is one, the model that a request means which names none."""
        return next(iter(self)) if len(self._models) == 1 else None

    @property
    def is_ready(self) -> bool:
        return not self.closing and all(model.is_ready for model in self)

    def named(self, name: str) -> ServedModel:
        """Raises ServingRefusal."""
        found = self._models.get(name)
        if found is None:
            there = ", ".join(list(self._models)[:SHOWN])
            raise not_found(f"there is no model {name[:80]!r}; there are {there}")
        return found

    async def load(self) -> None:
        """All of them, one after the other. Raises ModelsError."""
        for model in self:
            await model.load()

    async def close(self) -> None:
        self.closing = True
        await asyncio.gather(*(model.close() for model in self))
