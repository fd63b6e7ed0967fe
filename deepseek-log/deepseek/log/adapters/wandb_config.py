"""wandb's `config` and `summary`: dictionaries whose items are attributes, too."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from .guard import guarded, say_once

MAX_FILE_BYTES = 1 << 20
NOT_VALUES = ("wandb_version", "_wandb")  # of a file that wandb itself wrote


class WandbConfig(dict[str, Any]):
    """`take` is called with whatever is set, changed or added; it must not raise. Copies, also pickled ones, have no `take`."""

    def __init__(
        self, take: Callable[[Mapping[str, Any]], None] | None = None, values: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(values or {})
        object.__setattr__(self, "_take", take)

    @staticmethod
    def plain(values: Any) -> dict[str, Any]:
        """Of a mapping, argparse's namespace, anything with attributes, or the name of a YAML file; nothing of what is none of them."""
        if isinstance(values, Mapping):
            return dict(values)
        if isinstance(values, (str, os.PathLike)):
            return of_file(Path(values))
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

    def show(self, values: Mapping[str, Any]) -> None:
        """Have these values without a word to `take`."""
        super().update(values)

    def __missing__(self, name: str) -> Any:
        """`{"train.loss": 1}["train"] -> {"loss": 1}`"""
        if inner := {
            key[len(name) + 1 :]: self[key] for key in self if isinstance(key, str) and key.startswith(f"{name}.")
        }:
            return WandbConfig(values=inner)
        raise KeyError(name)

    def __setitem__(self, name: str, value: Any) -> None:
        self.update({name: value})

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value

    def __reduce__(self) -> tuple[Any, ...]:
        return WandbConfig, (None, dict(self))


def of_file(path: Path) -> dict[str, Any]:
    """`lr: 0.1` and, as wandb writes it, `lr: {value: 0.1}`; one sentence, and nothing, where that cannot be read."""
    try:
        import yaml
    except ImportError:
        say_once(f"the configuration {path} is left out: reading it needs PyYAML (pip install pyyaml)")
        return {}
    try:
        with path.open(encoding="utf-8") as file:
            values = yaml.safe_load(file.read(MAX_FILE_BYTES))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        reason = error.strerror if isinstance(error, OSError) else type(error).__name__
        say_once(f"the configuration {path} is left out: it cannot be read ({reason}); name a YAML file")
        return {}
    if not isinstance(values, dict):
        say_once(f"the configuration {path} is left out: it holds no names; write lines like lr: 0.1")
        return {}
    return {str(name): _value(value) for name, value in values.items() if name not in NOT_VALUES}


def _value(value: Any) -> Any:
    return (
        value["value"] if isinstance(value, dict) and "value" in value and value.keys() <= {"value", "desc"} else value
    )


# wandb's `summary`: the newest value of each name that was logged, and what the script sets beside them.

PLAIN = (float, int, str)
MAX_NAMES = 10_000


class WandbSummary(WandbConfig):
    def log(self, values: Mapping[str, Any]) -> None:
        """A tensor is read when it is asked for, not here: that would wait for the GPU."""
        if len(self) < MAX_NAMES:
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
