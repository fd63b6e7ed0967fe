"""Which processes are a run's to name where the dashboard is root's, whom the kernel lets read any."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from .whose import left_alone, named

MOST_SAID = 1_000  # runs


class RunOwners:
    """Belongs to one thread, but for `left_alone`."""

    def __init__(self) -> None:
        self._said: dict[str, str] = {}  # by run

    def theirs(self, run: str, places: Iterable[Path], uids: Mapping[int, frozenset[int]]) -> set[int]:
        """Those of the processes, by pid with their users, that are of the one whose run it is, and that user is looked at. About 5 us.

        The run is the owner's of the first of `places` that is there.
        """
        owner = owner_of(places)
        reasons = {pid: _why_not(owner, pid, its) for pid, its in uids.items()}
        why = next(filter(None, reasons.values()), "")
        if why and (run in self._said or len(self._said) < MOST_SAID):
            self._said[run] = why
        elif not why:
            self._said.pop(run, None)
        return {pid for pid, reason in reasons.items() if not reason}

    def keep_only(self, runs: Collection[str]) -> None:
        """Forget what was said of processes of other runs: they are gone."""
        self._said = {run: why for run, why in self._said.items() if run in runs}

    def left_alone(self) -> dict[str, str]:
        """By run, on the first of its processes that is left alone, without the end of the sentence."""
        return dict(self._said)


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
    if owner is None or uid is None:
        return f"process {pid} is not looked at: the run's files are gone"
    return f"process {pid} is not looked at: it belongs to {named(uid)}, and the run to {named(owner)}"
