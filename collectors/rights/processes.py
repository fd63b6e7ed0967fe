"""Which processes are a run's to name where the dashboard is root's, whom the kernel lets read any."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from .whose import left_alone, named

MOST_SAID = 1_000  # runs


class RunOwners:
    """Belongs to one thread, but for `sentence`."""

    def __init__(self) -> None:
        self._said: dict[str, str] = {}  # by run

    def may_have(self, run: str, places: Iterable[Path], pid: int, uids: frozenset[int]) -> bool:
        """Whether a process of these users is of the one whose run it is, and that user is looked at. About 5 us.

        The run is the owner's of the first of `places` that is there.
        """
        why = _why_not(owner_of(places), pid, uids)
        if why and (run in self._said or len(self._said) < MOST_SAID):
            self._said[run] = why
        elif not why:
            self._said.pop(run, None)
        return not why

    def sentence(self) -> str:
        """On the first that is left alone, without its end; "" where none is."""
        run, why = next(iter(dict(self._said).items()), ("", ""))
        return f"{run}: {why}" if run else ""


def owner_of(places: Iterable[Path]) -> int | None:
    for path in places:
        try:
            return path.lstat().st_uid
        except (OSError, ValueError):  # gone, or a name that no file can have
            continue
    return None


def _why_not(owner: int | None, pid: int, uids: frozenset[int]) -> str:
    if uids <= {owner} and not left_alone(owner):  # also where it is gone: the state of the run says so
        return ""
    uid = min(uids - {owner}, default=owner)
    if why := left_alone(uid):
        return f"process {pid} {why}"
    whose = "the run's files are gone" if owner is None else f"the run to {named(owner)}"
    return f"process {pid} is not looked at: it belongs to {named(uid)}, and {whose}" if uid is not None else "its files are gone"
