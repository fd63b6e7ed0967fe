"""Where the dashboard is root's: which processes are a run's to name, since the kernel would let us read any."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ..rights.whose import left_alone, named
from .activity import TEXT_SUFFIXES, RunActivity, RunProcess
from .proc import PROC, uids_of

MOST_SAID = 1_000  # runs


class RunOwners:
    """Belongs to one thread, but for `sentence`."""

    def __init__(self, proc: Path = PROC) -> None:
        self._proc = proc
        self._said: dict[str, str] = {}  # by run

    def may_have(self, activity: RunActivity, process: RunProcess) -> bool:
        """Whether the process is of the user whose run it is, and that user is looked at. About 20 us."""
        why = self._why_not(owner_of(activity), process.pid)
        if why and (activity.run in self._said or len(self._said) < MOST_SAID):
            self._said[activity.run] = why
        elif not why:
            self._said.pop(activity.run, None)
        return not why

    def sentence(self) -> str:
        """On the first of them; "" where none is left alone."""
        run, why = next(iter(dict(self._said).items()), ("", ""))
        return f"{run}: {why}" if run else ""

    def _why_not(self, owner: int | None, pid: int) -> str:
        uids = uids_of(pid, self._proc)
        if uids <= {owner} and not left_alone(owner):  # also where it is gone: the state of the run says so
            return ""
        uid = min(uids - {owner}, default=owner)
        if why := left_alone(uid):
            return f"process {pid} {why}"
        whose = "the run's files are gone" if owner is None else f"the run to {named(owner)}"
        return (
            f"process {pid} is not looked at: it belongs to {named(uid)}, and {whose}" if uid is not None else "its files are gone"
        )


def owner_of(activity: RunActivity) -> int | None:
    """The user who owns the run's folder; of a run that is only some of the files there, the user who owns these."""
    for path in _places(activity):
        try:
            return path.lstat().st_uid
        except (OSError, ValueError):  # gone, or a name that no file can have
            continue
    return None


def _places(activity: RunActivity) -> Iterator[Path]:
    if activity.single_file:
        yield from (activity.folder / f"{activity.run}{suffix}" for suffix in (".jsonl", *TEXT_SUFFIXES))
    if activity.files:
        yield from (activity.folder / name for name in activity.files)
    yield activity.folder
