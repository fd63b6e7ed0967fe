"""Takes over stores that earlier versions kept for several folders together."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np

from collectors import VERSION, folders, user_files, writer_lock
from collectors.folders import LogTree
from collectors.log_folders import LogFolders, is_store, legacy_store_of
from collectors.logs.formats import Tally
from collectors.logs.formats.values import escape_control
from collectors.logs.tombstones import FOLDER as DELETED
from collectors.logs.tombstones import Tombstones
from collectors.logs.user_events import PREFIX as EVENTS_PREFIX
from collectors.logs.user_events import events_of, with_run
from collectors.records import Event, Offset
from collectors.store.engines import open_store
from collectors.store.run_copy import append_all, machine_points, records_of
from collectors.store.store import RawPoints, Store, StoreError

from ..user_files.yaml_file import SUFFIX

LEFT = "taken-over"  # in the data folder: what of the other one is not used
NOT_OURS_TO_MOVE = (writer_lock.FILE, "control.sock", "web.json", "programs", "set-aside.json", ".tokens.lock")
MOMENT_S = 5.0  # a sample of the machine stands for so much time around it


def take_over(place: LogFolders) -> Iterator[str]:
    """Yield a sentence on each store, before it is taken over. One that is in use, or cannot be read, stays as it is."""
    for top in place.folders:
        old, new = legacy_store_of(top), folders.data_dir_of(place.tree.home)
        if not is_store(old) or folders.not_ours(old) or folders.not_ours(new):
            continue
        try:
            with ExitStack() as locks:
                for data_dir in (old, new) if is_store(new) else (old,):
                    locks.callback(os.close, _locked(data_dir))  # kept until the end
                if not is_store(new):
                    _move(old, new)
                    continue
                yield f"the store {old} becomes part of {new}; this may take a while"
                _merge(old, new, _names(old, top, place))
        except Exception as error:  # whatever is odd in an old store, the dashboard starts without it
            why = (
                str(error)
                if isinstance(error, writer_lock.Locked | StoreError | OSError)
                else f"{type(error).__name__}: {error}"
            )
            yield f"the store {old} cannot be taken over now ({why}); it is tried again at the next start"


def _locked(data_dir: Path) -> int:
    """The lock's descriptor; its record stays as it was."""
    return writer_lock.take(data_dir, VERSION, writer_lock.last_options(data_dir))


def _names(old: Path, top: Path, place: LogFolders) -> Callable[[str], str]:
    """What a run, or a key, of the old store is called in the new one."""
    only = tuple(writer_lock.last_options(old).get("only", ()))
    parts = Path(only[0]).parts if only else ()
    if not only or top.parts[-len(parts) :] != parts:  # no record, or the folder was moved since
        only, parts = (top.name,), (top.name,)
    root = top.parents[len(parts) - 1]
    before = LogTree(root, only, only[0])
    home = place.tree.home
    inside = str(home.relative_to(root)) if home.is_relative_to(root) else only[0]
    after = LogTree(root, (inside, *(name for name in only if name != inside)), place.front)
    return lambda name: name if name.startswith("//") else after.name_of(before.path_of(name))


def _move(old: Path, new: Path) -> None:
    """All but what belongs to a process; what lies there already stays."""
    folders.make_private(new)
    for path in sorted(
        old.iterdir(), key=lambda path: path.name in (writer_lock.FILE, "runs.sqlite")
    ):  # what makes it a store comes last
        if path.name not in NOT_OURS_TO_MOVE[1:] and not (new / path.name).exists():
            path.rename(new / path.name)
    _leave(old, new)


def _leave(old: Path, new: Path) -> None:
    for name in NOT_OURS_TO_MOVE:
        with suppress(OSError):
            path = old / name
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    try:
        old.rmdir()
    except OSError:  # something is left
        numbers = (LEFT, *(f"{LEFT}-{number}" for number in range(2, 100)))
        old.rename(next(new / name for name in numbers if not (new / name).exists()))


def _merge(old: Path, new: Path, name_of: Callable[[str], str]) -> None:
    """Whatever ends it, another start goes on: nothing is in the new store twice, and nothing leaves the old one before all is there."""
    with ExitStack() as stores:
        source, target = open_store(old, write=True), open_store(new, write=True)
        for store in (source, target):
            stores.callback(store.close)
        _merge_runs(source, target, name_of)
        _merge_machine(source, target)
        _merge_added_events(old, new, target, name_of)
    for path in [path for path in old.iterdir() if ".sqlite" in path.name]:
        path.unlink()
    _merge_files(old, new, name_of)
    _leave(old, new)


def _merge_runs(source: Store, target: Store, name_of: Callable[[str], str]) -> None:
    known = {run.name for run in target.runs()}
    whole = {offset.run for offset in target.offsets().values()}
    for stored in source.runs():
        run, name = stored.name, name_of(stored.name)

        def renamed(record: Any, name: str = name) -> Any:
            return record._replace(run=name)

        is_livelier = source.profiled_from(run) is not None and target.profiled_from(name) is None
        if name not in known or name not in whole or is_livelier:
            if name in known:
                target.delete(name)
            append_all(target, map(renamed, records_of(source, run, set())))
            offsets = [offset for offset in source.offsets().values() if offset.run == run]
            named = [
                renamed(offset)._replace(path=name_of(offset.path))
                for offset in offsets
                if not offset.path.startswith(EVENTS_PREFIX)
            ]
            append_all(target, named)  # the run is whole now
        else:
            there = {_identity(event) for event in target.events(name)}
            append_all(target, (renamed(event) for event in source.events(run) if _identity(event) not in there))
        append_all(target, (renamed(found) for found in source.findings(run) if target.finding(found.id) is None))


def _merge_machine(source: Store, target: Store) -> None:
    """What the machine reported while no collector of the new store was at work."""

    def missing(series: int, points: RawPoints) -> RawPoints:
        """Those that are not in the new store, nor beside a sample of its own: what an interrupted merge has copied is no such."""
        if not len(points.place):
            return points
        lo, hi = float(points.place.min()) - MOMENT_S, float(points.place.max()) + MOMENT_S
        theirs, there = (store.points([series], lo, hi)[series].place for store in (source, target))
        own = np.concatenate([[-np.inf], np.setdiff1d(there, theirs), [np.inf]])
        after = np.searchsorted(own, points.place)
        is_alone = (points.place - own[after - 1] > MOMENT_S) & (own[after] - points.place > MOMENT_S)
        return RawPoints._make(column[is_alone & ~np.isin(points.place, there)] for column in points)

    append_all(target, machine_points(source, missing))
    append_all(target, (found for found in source.findings("") if target.finding(found.id) is None))


def _identity(event: Event) -> tuple[str, float, int, str]:
    return event.kind, event.time_s, event.rank, event.text


def _merge_added_events(old: Path, new: Path, target: Store, name_of: Callable[[str], str]) -> None:
    """The files of what users added. Their lines are in the store already, and are not read once more."""
    for path in sorted(path for path in (old / user_files.FOLDER).glob(f"*{user_files.SUFFIX}") if path.is_file()):
        to = new / user_files.FOLDER / _renamed_file(path.name, user_files.SUFFIX, name_of)
        lines = [with_run(line, name_of) for line in path.read_bytes().split(b"\n") if line.strip()]
        _add_lines(lines, to)
        if events := events_of(lines, Tally()):
            size, count = to.stat().st_size, to.read_bytes().count(b"\n")
            target.append(
                [Offset(f"{EVENTS_PREFIX}{escape_control(to.name)}", events[0].run, 0, 0, size, count, 0, 0, "", {})]
            )
        path.unlink()


def _merge_files(old: Path, new: Path, name_of: Callable[[str], str]) -> None:
    tombstones = Tombstones(new)
    for found in Tombstones(old).all():
        tombstones.put(found._replace(run=name_of(found.run)))
    shutil.rmtree(old / DELETED, ignore_errors=True)
    for path in sorted((old / user_files.ABOUT_FOLDER).glob(f"*{SUFFIX}")):
        _take_file(path, new / user_files.ABOUT_FOLDER / _renamed_file(path.name, SUFFIX, name_of))
    for path in sorted(path for path in old.rglob("*") if path.is_file() and path.name not in NOT_OURS_TO_MOVE):
        _take_file(path, new / path.relative_to(old))
    for folder in sorted((path for path in old.rglob("*") if path.is_dir()), reverse=True):
        with suppress(OSError):
            folder.rmdir()


def _renamed_file(file: str, suffix: str, name_of: Callable[[str], str]) -> str:
    """Of a run; one whose name was too long for it keeps its own."""
    run = unquote(file.removesuffix(suffix), errors="surrogateescape")
    return user_files.file_name(name_of(run), suffix) if user_files.file_name(run, suffix) == file else file


def _take_file(path: Path, to: Path) -> None:
    """Lines are added; of other files that are in both the one that was written last is kept, the other one goes aside."""
    to.parent.mkdir(mode=folders.FOLDER_MODE, parents=True, exist_ok=True)
    if not to.exists():
        path.rename(to)
    elif path.suffix == ".jsonl":
        _add_lines(path.read_bytes().split(b"\n"), to)
        path.unlink()
    elif path.name == "tokens.json":
        _merge_tokens(path, to)
    elif path.stat().st_mtime > to.stat().st_mtime:
        aside = path.with_name(f"{path.name}.before")
        to.rename(aside)
        path.rename(to)


def _add_lines(lines: list[bytes], to: Path) -> None:
    """Those that are not in the file. A half line, as a full disk leaves it, gets its end first."""
    to.parent.mkdir(mode=folders.FOLDER_MODE, parents=True, exist_ok=True)
    there = to.read_bytes() if to.exists() else b""
    known = {b"", *there.split(b"\n")}
    more = [line for line in lines if line not in known]
    with os.fdopen(os.open(to, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, folders.FILE_MODE), "ab") as file:
        file.write(b"".join([b"\n" if there and not there.endswith(b"\n") else b"", *(line + b"\n" for line in more)]))


def _merge_tokens(path: Path, to: Path) -> None:
    """Those whose names are free."""
    with suppress(ValueError, KeyError, TypeError):
        kept, more = json.loads(to.read_text()), json.loads(path.read_text())
        taken = {row[key] for row in kept["credentials"] for key in ("name", "hash")}
        kept["credentials"] += [row for row in more["credentials"] if taken.isdisjoint((row["name"], row["hash"]))]
        fresh = to.with_suffix(".new")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, folders.FILE_MODE)
        with os.fdopen(descriptor, "w") as file:
            file.write(json.dumps(kept))
        fresh.replace(to)
        path.unlink()
