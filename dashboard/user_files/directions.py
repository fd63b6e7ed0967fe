"""Whether less or more of a series is better, where a user has said so: `<data>/directions.yaml`, a line a name.

val/score: down
reward/penalty: up
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import cast

from analysis.directions import Direction as Direction
from collectors.yaml_tree import MalformedFile

from . import yaml_file

FILE = "directions.yaml"
MAX_DIRECTIONS, MAX_NAME = 200, 200
WORDS = ("down", "up")


def directions_of(data_dir: Path) -> dict[str, Direction]:
    """Read anew: about 0.1 ms. {} where the file is odd: directions are then those of the names."""
    try:
        return _strict(data_dir / FILE)
    except MalformedFile:
        return {}


def save_direction(data_dir: Path, name: str, direction: str) -> dict[str, Direction]:
    """ "" takes the choice back. Raises ValueError: one sentence; MalformedFile rather than write over what a user meant; Unwritable."""
    path = data_dir / FILE
    after: dict[str, str] = {**_strict(path), name: direction}
    if not direction:
        del after[name]
    found = checked(after)
    yaml_file.write(path, found, "What is better, by the name of a series: down (less) or up (more)")
    return found


def checked(table: Mapping[str, object]) -> dict[str, Direction]:
    """Raises ValueError: one sentence."""
    if len(table) > MAX_DIRECTIONS:
        raise ValueError(f"at most {MAX_DIRECTIONS} names have a direction of their own; take one back first")
    for name, direction in table.items():
        if not name or len(name) > MAX_NAME or not name.isprintable():
            raise ValueError(f"a name has 1 to {MAX_NAME} printable characters")
        if direction not in WORDS:
            raise ValueError(f"{name}: down, up, or nothing to take it back")
    return {name: cast("Direction", direction) for name, direction in table.items()}


def _strict(path: Path) -> dict[str, Direction]:
    """Raises MalformedFile."""
    return yaml_file.read(path, checked)
