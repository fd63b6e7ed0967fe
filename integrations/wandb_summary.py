"""wandb's `summary`: the newest value of each name that was logged, and what the script sets beside them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .guard import guarded
from .wandb_config import WandbConfig

PLAIN = (float, int, str)
MOST_NAMES = 10_000


class WandbSummary(WandbConfig):
    def log(self, values: Mapping[str, Any]) -> None:
        """A tensor is read when it is asked for, not here: that would wait for the GPU."""
        if len(self) < MOST_NAMES:
            self.show(_all_kept(values) or {})

    def __getitem__(self, name: str) -> Any:
        return _number(super().__getitem__(name))

    def get(self, name: str, default: Any = None) -> Any:
        try:
            return self[name]
        except KeyError:
            return default

    def __reduce__(self) -> tuple[Any, ...]:
        return WandbSummary, (None, {name: self[name] for name in self})


@guarded
def _all_kept(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: kept for name, value in values.items() if (kept := _kept(value)) is not None}


def _kept(value: Any) -> Any:
    """What is no number is None; a tensor's graph is not kept."""
    if isinstance(value, PLAIN):
        return value
    if hasattr(value, "detach"):
        return value.detach() if value.numel() == 1 else None
    return value if getattr(value, "size", 0) == 1 else None


def _number(value: Any) -> Any:
    return value.item() if hasattr(value, "detach") else value
