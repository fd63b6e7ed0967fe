"""Alerts that somebody has seen: `<data>/acknowledged.yaml`, by the finding's id. They no longer count as active; what is new still does.

acknowledged:
- {finding: crash-0a1b2c3d4e5f6071, at: 2026-11-30T08:00:00+00:00}
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from ..small_file import Stamp, bytes_of, stamp_of, write_bytes

FILE = "acknowledged.yaml"
MAX_FINDINGS, MAX_ID_CHARACTERS, MAX_BYTES = 2000, 200, 1 << 20  # the oldest go first


class AcknowledgedFile:
    """Read again when it has changed. For one thread, or under a lock."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / FILE
        self._stamp: Stamp | None = None
        self._ids: frozenset[str] = frozenset()

    def look(self) -> frozenset[str]:
        """Ids of findings. A file that cannot be read acknowledges what it did before."""
        try:
            stamp = stamp_of(self._path.stat())
        except OSError:
            self._stamp, self._ids = None, frozenset()
            return self._ids
        if stamp != self._stamp:
            self._stamp = stamp
            with suppress(ValueError):
                self._ids = frozenset(_read(self._path))
        return self._ids


def save_acknowledged(data_dir: Path, findings: Collection[str], on: bool, now_s: float) -> None:
    """Acknowledge these findings, or take that back. Raises ValueError: one sentence; Unwritable."""
    path = data_dir / FILE
    at = datetime.fromtimestamp(now_s, UTC).isoformat(timespec="seconds")
    kept = {id_: when for id_, when in (_read(path) if path.exists() else {}).items() if id_ not in findings}
    if on:
        kept |= dict.fromkeys(findings, at)
    write_bytes(path, _written(dict(list(kept.items())[-MAX_FINDINGS:])).encode())


def _read(path: Path) -> dict[str, str]:
    """By id, when it was acknowledged. Raises ValueError: one sentence with the file."""
    from ..yaml_tree import YamlError, tree_of

    try:
        root = tree_of(bytes_of(path, most=MAX_BYTES).decode("utf-8-sig"), FILE, MAX_BYTES)
        listed = root.value.get("acknowledged") if isinstance(root.value, dict) else None
        rows = listed.value if listed is not None and isinstance(listed.value, list) else []
        found = dict[str, str]()
        for row in rows[-MAX_FINDINGS:]:
            if not isinstance(row.value, dict) or not isinstance(
                id_ := getattr(row.value.get("finding"), "value", None), str
            ):
                raise YamlError(row.line, "each entry names a finding")
            found[id_] = str(getattr(row.value.get("at"), "value", ""))
        return found
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: {error}; correct or delete it") from None


def _written(found: dict[str, str]) -> str:
    import yaml

    rows = {"acknowledged": [{"finding": id_, "at": at} for id_, at in found.items()]}
    return "# Alerts that were acknowledged, by the id of the finding\n" + yaml.safe_dump(
        rows, allow_unicode=True, sort_keys=False
    )
