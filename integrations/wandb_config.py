"""wandb's `config` and `summary`: dictionaries whose items are attributes, too."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any


class WandbConfig(dict[str, Any]):
    """`take` is called with whatever is set, changed or added; it must not raise."""

    def __init__(self, take: Callable[[Mapping[str, Any]], None] | None = None) -> None:
        super().__init__()
        object.__setattr__(self, "_take", take)

    @staticmethod
    def plain(values: Any) -> dict[str, Any]:
        """Of a mapping, argparse's namespace, or anything with attributes; nothing of what is none of them, e.g. a file's name."""
        if isinstance(values, Mapping):
            return dict(values)
        return dict(vars(values)) if hasattr(values, "__dict__") else {}

    def update(self, *values: Any, allow_val_change: bool | None = None, **named: Any) -> None:
        new = {name: value for given in (*values, named) for name, value in self.plain(given).items()}
        super().update(new)
        if self._take and new:
            self._take(new)

    def setdefaults(self, values: Any) -> None:
        self.update({name: value for name, value in self.plain(values).items() if name not in self})

    def as_dict(self) -> dict[str, Any]:
        return dict(self)

    def __setitem__(self, name: str, value: Any) -> None:
        self.update({name: value})

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value
