"""What users set for the whole dashboard: a row a setting, kept in `<data>/settings.yaml`."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeAlias
from zoneinfo import ZoneInfo

from collectors import options
from collectors.yaml_tree import MalformedFile

from . import yaml_file
from .yaml_file import Table

SettingValue: TypeAlias = float | str

FILE = "settings.yaml"
MAX_TEXT = 200
BETWEEN = "; "  # mistakes
MAX_MISTAKES = 20
MAX_PRICE = 1e6


class Setting(NamedTuple):
    """`check` raises ValueError with what the value must be; the value has the type of the default."""

    key: str
    default: SettingValue
    unit: str
    help: str
    check: Callable[[SettingValue], None]


@dataclass(frozen=True)
class Settings:
    """A value a row, by key; `trouble` says why all are defaults although there is a file."""

    values: dict[str, SettingValue]
    trouble: str = ""


def settings_of(data_dir: Path) -> Settings:
    """Read anew: about 0.1 ms."""
    try:
        return Settings(_all(_strict(data_dir / FILE)))
    except MalformedFile as error:
        return Settings(_all({}), str(error))


def save_settings(data_dir: Path, values: Mapping[str, object]) -> Settings:
    """Change these and leave the others; the answer is what holds now.

    Between two processes the last whole file wins; inside one the caller holds a lock.
    Raises ValueError for an unknown key or a wrong value, MalformedFile rather than write over what a user meant, Unwritable.
    """
    path = data_dir / FILE
    after = _strict(path) | checked(values)
    yaml_file.write(path, after, "Settings of the dashboard: GET /api/v1/settings describes each")
    return Settings(_all(after))


def checked(values: Mapping[str, object]) -> dict[str, SettingValue]:
    """Raises ValueError: what is wrong with each, `currency: three capital letters such as EUR; retention: ...`."""
    found, mistakes = {}, []
    for key, value in values.items():
        try:
            found[key] = _checked(key, value)
        except ValueError as error:
            mistakes.append(str(error))
    if mistakes:
        raise ValueError(BETWEEN.join(mistakes[:MAX_MISTAKES]))
    return found


def retention_s(settings: Settings) -> float | None:
    """None: for ever."""
    text = str(settings.values["retention"])
    return options.seconds(text) if text else None


def _checked(key: str, value: object) -> SettingValue:
    setting = ROWS.get(key)
    if setting is None:
        raise ValueError(f"unknown key {key[:MAX_TEXT]!r}; known: {', '.join(ROWS)}")
    if type(value) is int and abs(value) <= MAX_PRICE:
        value = float(value)
    if not isinstance(value, float if key in NUMBERS else str):
        raise ValueError(f"{key}: {'a number' if key in NUMBERS else 'text'}")
    if isinstance(value, str) and len(value) > MAX_TEXT:
        raise ValueError(f"{key}: at most {MAX_TEXT} characters")
    try:
        setting.check(value)
    except ValueError as error:
        raise ValueError(f"{key}: {error}") from error
    return value


def _strict(path: Path) -> dict[str, SettingValue]:
    """Those that the file has. Raises MalformedFile."""
    return yaml_file.read(path, lambda table: checked(_typed(table)))


def _typed(table: Table) -> dict[str, SettingValue]:
    """Numbers out of their words. Raises ValueError."""
    if lists := [key for key, value in table.items() if isinstance(value, list)]:
        raise ValueError(f"{lists[0]}: not a list")
    return {key: _number(key, str(word)) if key in NUMBERS else str(word) for key, word in table.items()}


def _number(key: str, word: str) -> float:
    try:
        return float(word)
    except ValueError:
        raise ValueError(f"{key}: a number") from None


def _all(values: Mapping[str, SettingValue]) -> dict[str, SettingValue]:
    return {setting.key: values.get(setting.key, setting.default) for setting in SETTINGS}


def _price(value: SettingValue) -> None:
    if not (isinstance(value, float) and math.isfinite(value) and 0 <= value <= MAX_PRICE):
        raise ValueError(f"a number from 0 to {MAX_PRICE:,.0f}")


def _currency(value: SettingValue) -> None:
    if not re.fullmatch(r"[A-Z]{3}", str(value)):
        raise ValueError("three capital letters such as EUR")


def _time_zone(value: SettingValue) -> None:
    if value == "":
        return
    try:
        ZoneInfo(str(value))
    except (KeyError, ValueError, OSError):
        raise ValueError("a time zone of the IANA database such as Europe/Berlin") from None


def _retention(value: SettingValue) -> None:
    if value == "":
        return
    try:
        options.seconds(str(value))
    except argparse.ArgumentTypeError as error:
        raise ValueError(str(error)) from None


SETTINGS = (
    Setting("price_per_gpu_hour", 0.0, "currency per GPU-hour", "Cost of one GPU per hour; 0 if unknown.", _price),
    Setting("currency", "USD", "ISO 4217 code", "The currency of that price, e.g. EUR.", _currency),
    Setting(
        "time_zone",
        "",
        "IANA name",
        "Times are shown in this zone, e.g. Europe/Berlin. Empty uses the browser's.",
        _time_zone,
    ),
    Setting(
        "retention",
        "",
        "duration",
        "Delete GPU, host and profile samples after this time, e.g. 30d. Empty keeps them. Applies after a restart unless --retention is set.",
        _retention,
    ),
)
ROWS = {setting.key: setting for setting in SETTINGS}
NUMBERS = {setting.key for setting in SETTINGS if isinstance(setting.default, float)}
