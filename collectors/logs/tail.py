"""Tails a log folder, without deleted runs: which file is read next, renamed and duplicate files, and files set aside after an error."""

from __future__ import annotations

import logging
import math
import os
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from heapq import heappop, heappush
from pathlib import Path
from typing import Any, TypeAlias, cast

from ..folders import LogTree
from ..machine.proc import alive
from ..machine.run_state import RunActivity, end_of
from ..records import DATA, GENERATION, SAMPLE, Offset, Record, Sample
from ..store.batches import RefusedRecord, sentence
from ..store.store import StoreError
from . import user_events
from .database_file import ASK_AGAIN_S, FollowedDatabases, StillReading
from .file import BATCH_BYTES, FollowedFile, with_skip, written_s
from .formats import WholeFormat
from .formats.values import escape_control_in_path
from .open_files import DataFile, NotMetrics, NotRead, born_s, has_read_part, open_file, read_file
from .outputs import ExternalOutputs, OutputWriter, of_next_run
from .recognition import EVENTS, TEXT, FileFormat, Origin, format_of, main_of, rank_of, reading_order
from .run import RunFolder
from .runs import RunFolders
from .tombstones import MAX_FILES, NOTHING_KNOWN, LastKnown, Tombstone, Tombstones, identity_of_file
from .watch import FolderWatch

# Follow the files of a log folder and turn their lines into records, resuming from stored offsets.
#
# Nothing is lost and nothing comes twice: every batch ends with the `Offset` of the file it came from, and the store commits both
# together. An error in one file affects that file only: it is set aside with its reason, and tried again. After an error anywhere
# else, and wherever the store did not take what was read, the tail goes back to the stored offsets.

MAX_OPEN = 256  # files that stay open: those read last
SWEEP_S = 10.0  # how often idle files are closed
LATELY_S = 60.0  # what was written since is read before the first look at the folder is over
RENAMED_S = 0.05  # until a file is looked at again whose run gets another name
MAX_ERROR_CHARS = 300
PERIOD_S = 1.0  # at the latest; `wake` is set as soon as a file changes


class Tail:
    """The collector of the log folder."""

    name = "tail"

    def __init__(
        self,
        root: Path,
        host: str,
        offsets: Mapping[str, Offset],
        wake: threading.Event,
        *,
        poll_only: bool = False,
        left_alone: Callable[[str], str] = lambda path: "",
        outputs: Callable[[], Mapping[Path, OutputWriter]] = dict,
        only: Sequence[str] = (),
        front: str = "",
        accept: Callable[[str], bool] | None = None,
        last_times: Mapping[str, float | None] | None = None,
    ) -> None:
        """`offsets` are those of the store, by key (`LogTree`); `left_alone` returns why a file is not read, or "".

        `outputs` are files of any place with the process that writes each, read as text where no rule has them read already.
        With `only`, folders of `root`, nothing else of it is followed (`front` as in `LogTree`); `accept` judges the path of a file. `last_times` are those
        of the lines that an earlier collector has read, Unix seconds by run.
        """
        self.at_work_on = ""  # the file that is being read
        self._left_alone = left_alone
        self._root, self._wake = root.resolve(), wake
        self._tree = LogTree(self._root, tuple(only), front)
        self._tops = self._tree.tops
        self._offsets = own_offsets(offsets)  # of all files, up to the records that were taken in this turn
        self._found: list[Record] = []  # those
        self._error: Exception | None = None  # that ended the last turn
        self._inodes = ReadInodes(self._offsets)
        self._duplicates = DuplicateFiles(self._tree, self._offsets)
        self._runs = RunFolders(self._tree, host, self._offsets, last_times)
        self._files: OrderedDict[Path, FollowedFile] = OrderedDict()  # what was read last comes last
        self._databases = FollowedDatabases(self._runs)
        self._again: dict[Path, float] = {}  # to be read again though nothing changes, by when, CLOCK_MONOTONIC
        self._schedule, self._skipped = ReadScheduler(), SkippedFiles()
        self._wanted: deque[str] = deque()  # paths of files that look like data, which a user asked for
        self._outputs = ExternalOutputs(self._tree, outputs, self._offsets, self._is_over)
        self._swept_s = time.monotonic()
        first = self._runs.written_lately()
        self._watch = FolderWatch(
            self._root, accept or is_followed, wake, poll_only=poll_only, tops=self._tops, first=first
        )
        self._backlog: set[Path] = set()  # not read to the end yet; what stands there has no arrival time
        for key, offset in self._offsets.items():
            if offset.trouble:  # tried again, also if it is no longer there
                self._skipped.put(self._tree.path_of(key), offset.trouble)
        self._take_changed()
        for path in self._outputs.known():
            self._backlog.add(path)
            self._schedule.old(path)

    def collect(self) -> list[Record]:
        """The records of the files that changed, about a batch; followed files come first.

        An error of the turn is raised by the next call where records were read before it: they are complete, and are to be stored.
        Where this raises, nothing is lost once `go_back` was called.
        """
        if self._error is not None:
            raise self._error
        self._found = []
        try:
            self._turn()
        except Exception as error:
            if not self._found:
                raise
            self._error = error
        found, self._found = self._found, []
        return found

    def _turn(self) -> None:
        self._take_changed()
        self._queue([*self._outputs.take(), *self._due_again()])
        self._take_wanted()
        self._schedule.begin()
        for path in self._skipped.take_due():
            self._read(path)
        while not self._schedule.are_over(self._found) and (live := self._schedule.next_live()):
            self._read(live)
        since_s = time.time() - LATELY_S if self.is_looking_for_runs else 0.0  # the rest once all is found
        first = True  # a backlog continues slowly while live files take all the time
        while (first or not self._schedule.are_over(self._found)) and (other := self._schedule.next_other(since_s)):
            self._read(other)
            first = False
        self._let_go()
        self._found += self._runs.take_learned()

    def go_back(self, stored: Mapping[str, Offset], faults: Mapping[str, str]) -> None:
        """Read on from the stored offsets, and look at all files again.

        `faults` are the files, by the path of their offset, whose records the store does not take: they are set aside with that reason.
        """
        wanted = [key for key, offset in self._offsets.items() if "wanted" in offset.state]
        while self._files:
            self._files.popitem()[1].close()
        self._error = None
        self._offsets = own_offsets(stored)
        self._inodes = ReadInodes(self._offsets)
        self._wanted.extend(wanted)
        self._runs.tell_again()
        self._skipped.tell_again()
        for key, reason in [*((key, offset.trouble) for key, offset in self._offsets.items()), *faults.items()]:
            if reason and (path := self._path_of(key)) not in self._skipped:
                self._skipped.put(path, reason)
        self._outputs.look_again()
        self._watch.look_again()

    def read_anyway(self, key: str) -> None:
        """Read a file that was left because it looks like data; from any thread. Raises ValueError for any other."""
        if (offset := self._offsets.get(key)) is None or DATA not in offset.state:
            raise ValueError(f"{key!r} is not a file that was left unread because it looks like data")
        self._wanted.append(key)

    def learn(self, run: str, what: dict[str, Any]) -> None:
        """What was seen of a run's processes, to be stored where its files say nothing of it; from any thread."""
        self._runs.learn(run, what)
        self._wake.set()

    @property
    def period_s(self) -> float:
        if self._error is not None or self._schedule or self._watch.has_more:
            return 0.0
        waits_s = [due_s - time.monotonic() for due_s in self._again.values()]
        return max(0.0, min([PERIOD_S, *waits_s]))

    @property
    def is_looking_for_runs(self) -> bool:
        """Whether the first look at the folder is under way."""
        return not self._watch.is_complete and self._watch.is_there()

    def live_runs(self, names: Collection[str] | None = None) -> list[RunActivity]:
        """What the files say about the life of each run, or of these, for the search for its processes."""
        return [run.activity() for run in self._runs.some(names)]

    def is_unread(self, run: str) -> bool:
        """Whether a file that may hold the ends of the run's processes waits for its turn; from any thread."""
        return self.is_looking_for_runs or any(EVENTS.fullmatch(path.name) for path in self._waiting(run))

    def is_behind(self, run: str, reached: Mapping[str, int]) -> bool:
        """Whether the run's files hold more than what was stored of them; from any thread.

        `reached` are the stored offsets of its files in bytes, by key.
        """
        return any(self._waiting(run)) or any(self._holds_more(key, offset) for key, offset in reached.items())

    def _is_over(self, writer: OutputWriter) -> bool:
        """Whether the process is gone, or has said that this run of it is over."""
        if not alive(writer.process.pid, writer.process.start_ticks):
            return True
        run = self._runs.get(writer.run)
        return run is not None and end_of(run.activity(), writer.process) is not None

    def _waiting(self, run: str) -> Iterator[Path]:
        """The files in the run's folder whose turn has not come: by its own few, since all that wait may be thousands."""
        for folder in {each.folder for each in self._runs.some([run]) if not each.single_file}:
            with suppress(OSError):  # gone
                yield from filter(self._schedule.waits, list(folder.iterdir()))

    def _holds_more(self, key: str, offset: int) -> bool:
        known = format_of(key)
        if known is not None and known.reading in ("whole", "database"):
            return False
        try:
            return self._tree.path_of(key).stat().st_size > offset
        except (OSError, ValueError):  # gone: nothing more comes of it
            return False

    def refused(self, refused: list[RefusedRecord]) -> None:
        """Count records that the store could not take in the tallies of their files."""
        files = {self._key(path): file for path, file in self._files.items()}
        for record in refused:
            reason = sentence(record.reason)
            if record.path in files:
                files[record.path].refuse(reason)
            if record.path in self._offsets:
                self._offsets[record.path] = with_skip(self._offsets[record.path], reason)

    def trouble(self) -> str:
        """One sentence: that the log folder is gone, which file is set aside and why, or that changes are found late."""
        if not self._watch.is_there():
            return f"the log folder {self._root} is gone; it is read again as soon as it is back"
        first = self._skipped.first()
        if first is None:
            return self._watch.trouble()
        path, reason = first
        others = f"; {len(self._skipped) - 1} more are set aside" if len(self._skipped) > 1 else ""
        return f"{self._key(path)} {reason}{others}"

    def close(self) -> None:
        self._watch.close()
        self._databases.close()
        for file in self._files.values():
            file.close()

    def _take_changed(self) -> None:
        """Queue what is new or has changed in the log folder; of the first look, what was written last comes first."""
        found = self._watch.take()
        for file in found:
            if file.is_first_look:
                path = main_of(file.path)
                self._backlog.add(path)
                self._schedule.old(path, file.written_s)
        self._queue(file.path for file in found if not file.is_first_look)

    def _due_again(self) -> list[Path]:
        now_s = time.monotonic()
        return [path for path, due_s in self._again.items() if due_s <= now_s]

    def _take_wanted(self) -> None:
        while self._wanted:
            key = self._wanted.popleft()
            if key in self._offsets:
                self._offsets[key] = self._offsets[key]._replace(state={**self._offsets[key].state, "wanted": True})
                self._queue([self._tree.path_of(key)])

    def _queue(self, paths: Iterable[Path]) -> None:
        new: list[Path] = []
        for path in dict.fromkeys(paths):
            try:
                self._queue_one(main_of(path), new)
            except Exception as error:  # a name is a stranger's text, too
                self._set_aside(path, f"cannot be read ({error_text(error)}); it is tried again")
        self._schedule.new(new)

    def _queue_one(self, path: Path, new: list[Path]) -> None:
        if path in self._skipped:
            self._skipped.changed(path)
        elif path in self._databases or self._key(path) in self._offsets:
            self._schedule.live(path)
        else:
            new.append(path)
            if path in self._outputs:
                self._backlog.add(path)  # what was there before it was found has no arrival time
        self._again.pop(path, None)

    def _key(self, path: Path) -> str:
        return escape_control_in_path(self._tree.name_of(path))

    def _read(self, path: Path) -> None:
        """Take what is new in a file. An error in it affects that file, and no records of others."""
        before, self.at_work_on = self.at_work_on, str(path)
        try:
            self.at_work_on = self._key(path)
            if reason := self._left_alone(self.at_work_on):
                raise NotRead(reason)
            self._take(self._new_in(path))
            self._heal(path)
        except FileNotFoundError:
            self._gone(path)
            self._heal(path)
        except StillReading:
            self._again[path] = time.monotonic() + ASK_AGAIN_S
        except NotRead as error:
            self._set_aside(path, str(error), quiet=isinstance(error, NotMetrics), data=isinstance(error, DataFile))
        except Exception as error:  # no input may end the reading of the others
            self._set_aside(path, f"cannot be read ({error_text(error)}); it is tried again")
        finally:
            self.at_work_on = before

    def _take(self, records: list[Record]) -> None:
        """The records of one file, each behind the offset before it: the only place where an offset moves on."""
        moved: dict[str, Offset] = {}
        for place, record in enumerate(records):
            if type(record) is Offset:
                before = moved.get(record.path) or self._offsets.get(record.path)
                records[place] = moved[record.path] = record._replace(after=before.reached if before else (0, 0))
        self._inodes.note(moved.values())
        self._found += records
        self._offsets |= moved

    def _new_in(self, path: Path) -> list[Record]:
        known = TEXT if path in self._outputs else format_of(path)
        if known is None:
            return []
        if known.reading == "database":
            self._backlog.discard(path)
            return self._read_database(path)
        if self._is_double(path) or ((offset := self._offsets.get(self._key(path))) and SAMPLE in offset.state):
            return []
        before = None if self._key(path) in self._offsets else self._inodes.before(path, self._tree, known)
        if before is not None and self._is_of_a_renamed_run(before, path):
            self._again[path] = time.monotonic() + RENAMED_S
            return []
        run = self._run_of(path)
        if known.after_jsonl and any(map(self._schedule.waits, run.source_priority.jsonl_files())):
            self._schedule.behind(path)
            return []
        if known.reading == "whole":
            self._backlog.discard(path)
            return self._read_whole(path, run, known)
        return self._read_on(path, run, known)

    def _is_double(self, path: Path) -> bool:
        """Whether a file is not to be read now, since it is read under its name in another followed folder."""
        other = None if path in self._outputs else self._duplicates.other(path)
        if other is None:
            return False
        if self._duplicates.is_better(path, other):
            self._prefer(path, other)
        elif path in self._files or self._key(path) in self._offsets:
            self._prefer(other, path)
        return True

    def _prefer(self, path: Path, other: Path) -> None:
        """Of two names of a file, under both or the other one of which it was read."""
        self._duplicates.prefer(path)
        self._again[path] = time.monotonic()

    def _read_whole(self, path: Path, run: RunFolder, known: FileFormat) -> list[Record]:
        key = self._key(known.stands_for(path))
        data, found = read_file(path, self._runs.top_of(path), known.most_bytes)
        before = self._offsets.get(key)
        origin = Origin(run, path.name, run.host, written_s(path), run.part_of(path), path)
        assert known.make is not None
        format = cast(WholeFormat, known.make(origin, before.state if before else {}))
        records, tally = format.parse_whole(data), format.tally
        counts = tally.lines_read, tally.lines_skipped, tally.fields_skipped, tally.first_skip
        run.noticed(records)
        generation = before.state.get(GENERATION, 0) + 1 if before else 0
        state = {**format.state(), "born": born_s(path), GENERATION: generation}
        return [*records, Offset(key, run.name, found.st_dev, found.st_ino, len(data), *counts, state)]

    def _read_database(self, path: Path) -> list[Record]:
        records, again_s = self._databases.look(
            path, self._key(path), self._runs.top_of(path), self._offsets, TURN_RECORDS
        )
        if again_s == 0.0:
            self._schedule.behind(path)
        elif again_s is not None:
            self._again[path] = time.monotonic() + again_s
        return records

    def _read_on(self, path: Path, run: RunFolder, known: FileFormat) -> list[Record]:
        file = self._file(path, run, known)
        there = file.read()
        if not file.is_open:
            raise FileNotFoundError
        self._schedule.count(file.used_bytes)
        if there:  # a metrics line must find the start event that it follows: the events are read after its bytes and before its meaning
            self._read_first(run, known.first(rank_of(path.name)))
        records = file.parse()
        if file.again_s is not None:
            self._again[path] = time.monotonic() + file.again_s
        if file.behind:
            self._schedule.behind(path)
        else:
            self._backlog.discard(path)
        run.noticed(records)
        if known.name == "samples":
            self._leave_samples(run, records)
        return records

    def _leave_samples(self, run: RunFolder, records: Iterable[Record]) -> None:
        """Tables and texts that the run has logged are no metrics, whatever they are called. One that was read as such stays so."""
        for path in {run.folder / one.path: None for one in records if isinstance(one, Sample) and one.path}:
            if format_of(path) is None or not path.is_relative_to(run.folder):
                continue
            known = self._offsets.get(self._key(path)) or self._unread(path)
            if known is None or known.offset or SAMPLE in known.state:
                continue
            self._skipped.heal(path)
            self._close(path)
            self._take([known._replace(state={**known.state, SAMPLE: True}, trouble="")])

    def _read_first(self, run: RunFolder, names: Iterable[str]) -> None:
        """Take what is new in these files of the run's folder."""
        for path in [] if run.single_file else [run.folder / name for name in names]:
            if path not in self._skipped and path.exists():
                self._read(path)

    def _heal(self, path: Path) -> None:
        """It is not set aside any more."""
        if self._skipped.heal(path) and (known := self._offsets.get(self._key(path))) is not None and known.trouble:
            self._take([known._replace(trouble="")])

    def _gone(self, path: Path) -> None:
        """Gone since it was noticed. It may come back as it was, as a folder that was moved away does: then it is read as it would have been."""
        self._watch.forget(path)
        self._close(path)

    def _set_aside(self, path: Path, reason: str, *, quiet: bool = False, data: bool = False) -> None:
        """Set it aside; it is read again from the end of its last records."""
        self._close(path)
        is_news = self._skipped.put(path, reason, quiet=quiet)
        known = self._offsets.get(self._key(path)) or self._unread(path)
        if is_news and known is not None:  # without one only `trouble` says it
            state = {**known.state, DATA: True} if data else known.state
            self._take([known._replace(state=state, trouble=reason)])

    def _unread(self, path: Path) -> Offset | None:
        """That of a file that was never read; None where it is not known how its run is called."""
        place = self._outputs.place_of(path)
        run = place.run if place else self._runs.name_of(path)
        return None if run is None else Offset(self._key(path), run, 0, 0, 0, 0, 0, 0, "", {})

    def _run_of(self, path: Path) -> RunFolder:
        return self._runs.of(path, self._outputs.place_of(path))

    def _file(self, path: Path, run: RunFolder, known: FileFormat) -> FollowedFile:
        file = self._files.get(path)
        if file is not None and file.run is not run:  # it has got another name
            self._close(path)
            file = None
        if file is None:
            key, top = self._key(path), self._runs.top_of(path)
            offset = self._offsets[key] if key in self._offsets else self._renamed(path, run, known)
            if offset is not None and offset.run != run.name and path in self._outputs:
                offset = of_next_run(offset, run.name)
            file = FollowedFile(path, key, run, top, offset, known, live=path not in self._backlog)
            self._files[path] = file
        self._files.move_to_end(path)
        return file

    def _renamed(self, path: Path, run: RunFolder, known: FileFormat) -> Offset | None:
        """How far the file was read under the name that it had, if any; what is left is read under this one."""
        if (offset := self._inodes.of(path, self._tree, run.name, known)) is None:
            return None
        before = self._offsets.get(offset.path)
        if before is not None and (before.device, before.inode) == (offset.device, offset.inode):
            self._close(self._tree.path_of(offset.path))
        return offset

    def _is_of_a_renamed_run(self, before: Offset, path: Path) -> bool:
        """Whether its run is about to get the name of its new place; `before` is how far it was read at its old one."""
        return False

    def _let_go(self) -> None:
        """Close idle files and those read longest ago; their offsets are kept."""
        closing = list(self._files)[: max(0, len(self._files) - MAX_OPEN)]
        if time.monotonic() - self._swept_s > SWEEP_S:
            self._swept_s, now_s = time.monotonic(), time.time()
            closing += [path for path, file in self._files.items() if not file.behind and file.is_idle(now_s)]
        for path in closing:
            self._close(path)

    def _close(self, path: Path) -> None:
        if (file := self._files.pop(path, None)) is not None:
            file.close()

    def _path_of(self, key: str) -> Path:
        """The file that an offset is of; of a run in a database the database."""
        file, _, run = key.partition("#")
        known = format_of(file) if run else None
        return self._tree.path_of(file if known is not None and known.reading == "database" else key)


def own_offsets(stored: Mapping[str, Offset]) -> dict[str, Offset]:
    """Those of files that the tail reads."""
    return {key: offset for key, offset in stored.items() if not key.startswith(user_events.PREFIX)}


def error_text(error: Exception) -> str:
    """An error, as a part of a sentence."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return f"{type(error).__name__}: {error}"[:MAX_ERROR_CHARS]


def is_followed(path: str) -> bool:
    """Whether that file is read at all."""
    return format_of(path) is not None


class ReadInodes:
    """How far each file was read, whatever its name is now."""

    def __init__(self, offsets: Mapping[str, Offset]) -> None:
        self._offsets: dict[tuple[int, int], Offset] = {}
        shortest_first: list[Offset] = sorted(offsets.values(), key=lambda offset: offset.offset)
        self.note(shortest_first)

    def note(self, records: Iterable[Record]) -> None:
        """These are about to be stored."""
        self._offsets |= {
            (record.device, record.inode): record
            for record in records
            if isinstance(record, Offset) and record.offset and record.inode
        }

    def before(self, path: Path, tree: LogTree, known: FileFormat) -> Offset | None:
        """That of a file at a new path which has lost its old one."""
        try:
            found = path.stat()
        except OSError:  # opening it says so
            return None
        offset = self._offsets.get((found.st_dev, found.st_ino))
        if offset is None or format_of(old := tree.path_of(offset.path)) is not known or os.path.lexists(old):
            return None
        return offset if _is_what_was_read(path, tree, offset) else None

    def of(self, path: Path, tree: LogTree, run: str, known: FileFormat) -> Offset | None:
        """That of a file that stands at a new path, if it was read at another one of the same run. Raises NotMetrics where it stands there, too."""
        try:
            found = path.stat()
        except OSError:  # opening it says so
            return None
        offset = self._offsets.get((found.st_dev, found.st_ino))
        if (
            offset is None
            or offset.run != run
            or format_of(old := tree.path_of(offset.path)) is not known
            or old == path
        ):
            return None
        if not _is_what_was_read(path, tree, offset):
            return None
        if old.exists() and old.samefile(path):
            raise NotMetrics(f"is the same file as {offset.path}, which is read")
        return offset


def _is_what_was_read(path: Path, tree: LogTree, offset: Offset) -> bool:
    """Whether the file is the one of the offset, which has its inode: the system gives that of a removed file to the next one.

    It was made at the same time, where the offset and the file system know that, and begins with the bytes that were read. A file
    that is read as a whole has no marks of those, so its time alone decides.
    """
    born, end = offset.state.get("born"), offset.state.get("end")
    descriptor = open_file(path, tree.root)
    try:
        if born and born_s(descriptor) != born:
            return False
        return has_read_part(descriptor, offset.offset, offset.state.get("head", ""), end) if end else bool(born)
    finally:
        os.close(descriptor)


# Files that are seen through two of the followed folders, by hard links or mounts: they are read once.
#
# What the folder of a watched program has as a second name (`keeper/linked_folders.py`) belongs there. Of all others the name that was read
# first counts.

OF_A_PROGRAM = "started.json"  # lies in the folder of a watched program


class DuplicateFiles:
    """Knows under which name each file is read. Where one folder is followed, it does nothing."""

    def __init__(self, tree: LogTree, offsets: Mapping[str, Offset]) -> None:
        """`offsets` are those of the store, by key."""
        self._tops = tree.tops
        self._names: dict[tuple[int, int], Path] = {}
        if len(self._tops) > 1:
            self._names = {(each.device, each.inode): tree.path_of(key) for key, each in offsets.items() if each.inode}

    def other(self, path: Path) -> Path | None:
        """The name in another folder under which this file is read; None where it is to be read under this one, which is remembered."""
        if len(self._tops) < 2:
            return None
        try:
            found = path.stat()
        except OSError:  # reading it says so
            return None
        key = found.st_dev, found.st_ino
        other = self._names.get(key)
        if (
            other is None
            or other == path
            or self._top_of(other) in (None, self._top_of(path))
            or not _is_at(other, key)
        ):
            self._names[key] = path
            return None
        return other

    def prefer(self, path: Path) -> None:
        """Read the file under this name from now on."""
        found = path.stat()
        self._names[found.st_dev, found.st_ino] = path

    def is_better(self, path: Path, other: Path) -> bool:
        return self._is_of_a_program(path) and not self._is_of_a_program(other)

    def _is_of_a_program(self, path: Path) -> bool:
        top = self._top_of(path)
        return any(
            (folder / OF_A_PROGRAM).exists()
            for folder in path.parents
            if top and folder != top and folder.is_relative_to(top)
        )

    def _top_of(self, path: Path) -> Path | None:
        return next((top for top in self._tops if path.is_relative_to(top)), None)


def _is_at(path: Path, key: tuple[int, int]) -> bool:
    try:
        found = path.stat()
    except OSError:
        return False
    return (found.st_dev, found.st_ino) == key


# Files that are set aside: why, and when they are tried again.

BACK_OFF_S = (1.0, 60.0)  # the first wait, and the longest
LOOK_EACH = 100  # files that are tried again at one time


@dataclass
class SkippedFile:
    """One file."""

    reason: str  # one sentence about it, without its name
    wait_s: float
    due_s: float  # monotonic
    quiet: bool = False  # no fault: it waits until the file changes


class SkippedFiles:
    """The files that could not be read, by path."""

    def __init__(self) -> None:
        self._files: dict[Path, SkippedFile] = {}

    def __contains__(self, path: Path) -> bool:
        return path in self._files

    def __len__(self) -> int:
        """Without those that are no fault."""
        return sum(not aside.quiet for aside in self._files.values())

    def put(self, path: Path, reason: str, *, quiet: bool = False) -> bool:
        """Whether the reason is new."""
        before = self._files.get(path)
        wait_s = BACK_OFF_S[0] if before is None else min(2 * before.wait_s, BACK_OFF_S[1])
        self._files[path] = SkippedFile(reason, wait_s, math.inf if quiet else time.monotonic() + wait_s, quiet)
        return before is None or before.reason != reason

    def changed(self, path: Path) -> None:
        """It may be readable again: try it soon, but not at every change of a busy file."""
        aside = self._files[path]
        aside.due_s = min(aside.due_s, time.monotonic() + BACK_OFF_S[0])

    def take_due(self) -> list[Path]:
        """Those to be tried now."""
        now_s = time.monotonic()
        due = [path for path, aside in self._files.items() if aside.due_s <= now_s][:LOOK_EACH]
        for path in due:
            self._files[path].due_s = now_s + self._files[path].wait_s
        return due

    def tell_again(self) -> None:
        """The reasons that were told are not stored: each is news again."""
        for aside in self._files.values():
            aside.reason = ""

    def heal(self, path: Path) -> bool:
        """Whether it had been set aside."""
        return self._files.pop(path, None) is not None

    def first(self) -> tuple[Path, str] | None:
        return next(((path, aside.reason) for path, aside in self._files.items() if not aside.quiet), None)


# Whose turn it is: files that are being followed before those that are new, and these before what was there already and what has much to read.

TURN_BYTES = 2 * BATCH_BYTES  # read before what was read is stored,
TURN_RECORDS = 5_000  # and no more than about this many records,
TURN_S = 0.15  # and for no longer than this


FOLLOWED, GROWING, NEW, CATCHING_UP, OLD, BEHIND = range(6)
"""What a file waits as. A live one was read to its end before, or is read on for the first time: of 20,000 files that come at once, these
are most. Others are new, or are written now and had more than one batch to read. Old ones were there before the folder was followed, or
have had one batch of it read."""

Place: TypeAlias = tuple[int, float, tuple[str, int, str]]
"""The class of a file that waits, and its place among those of the class. The lowest is read first."""

FIRST_OF_ALL = "", 0, ""


class ReadScheduler:
    """Each file waits once. What is read in one turn of the tail is bounded."""

    def __init__(self) -> None:
        self._places: dict[Path, Place] = {}  # of the files that wait
        self._heaps: tuple[list[tuple[Place, Path]], ...] = (
            [],
            [],
            [],
        )  # two classes each; only a file's best place counts
        self._count = 0
        self._followed: set[Path] = set()  # were live before
        self._is_written_now = False  # whether what was handed out last is
        self._is_olds_turn = False
        self._bytes, self._until_s = 0, 0.0

    def __bool__(self) -> bool:
        return bool(self._places)

    def begin(self) -> None:
        """A turn of the tail."""
        self._bytes, self._until_s, self._is_written_now = 0, time.monotonic() + TURN_S, False

    def count(self, bytes_read: int) -> None:
        self._bytes += bytes_read

    def are_over(self, records: Sequence[Record]) -> bool:
        """Whether what was read in this turn, `records`, is to be stored before more is."""
        return len(records) >= TURN_RECORDS or self._bytes >= TURN_BYTES or time.monotonic() > self._until_s

    def live(self, path: Path) -> None:
        if self._has_more(path):
            self._put(path, CATCHING_UP)
        else:
            self._put(path, FOLLOWED if path in self._followed else GROWING)

    def new(self, paths: Iterable[Path]) -> None:
        self._count += 1
        for path in paths:
            if not self._has_more(path):
                self._put(path, NEW, self._count, reading_order(path))

    def old(self, path: Path, written_s: float = 0.0) -> None:
        """What was written last comes first."""
        self._put(path, OLD, -written_s, reading_order(path))

    def behind(self, path: Path) -> None:
        """There is more of what was handed out last, or of a file that is read with it."""
        self._put(path, CATCHING_UP if self._is_written_now else BEHIND)

    def waits(self, path: Path) -> bool:
        """From any thread."""
        return path in self._places

    def next_live(self) -> Path | None:
        self._is_written_now = True
        path = self._pop(FOLLOWED)
        if path is not None:
            self._followed.add(path)
        return path

    def next_other(self, since_s: float = 0.0) -> Path | None:
        """What is new, and then by turns what catches up and what was there before: neither waits for all of the other.

        Of what was there before, only what was written since `since_s`, Unix seconds.
        """
        self._is_written_now = True
        first, old = self._first(NEW), self._first(OLD)
        if first is not None and first[0] == NEW:
            return self._pop(NEW)
        if old is not None and old[0] == OLD and -old[1] < since_s:
            old = None
        self._is_olds_turn = not self._is_olds_turn
        if old is None or (first is not None and not self._is_olds_turn):
            return self._pop(NEW)
        self._is_written_now = False
        return self._pop(OLD)

    def _has_more(self, path: Path) -> bool:
        """Whether it waits, and was read in part."""
        return path in self._places and self._places[path][0] in (CATCHING_UP, BEHIND)

    def _put(
        self, path: Path, kind: int, order: float | None = None, then: tuple[str, int, str] = FIRST_OF_ALL
    ) -> None:
        """Without an order, files of a kind come in the one in which they were noticed."""
        if order is None:
            self._count += 1
            order = self._count
        place = kind, order, then
        if path not in self._places or place < self._places[path]:
            heappush(self._heaps[kind // 2], (place, path))  # first: an error must not leave a place that is in no heap
            self._places[path] = place

    def _first(self, kind: int) -> Place | None:
        heap = self._heaps[kind // 2]
        while heap and self._places.get(heap[0][1]) != heap[0][0]:
            heappop(heap)
        return heap[0][0] if heap else None

    def _pop(self, kind: int) -> Path | None:
        if self._first(kind) is None:
            return None
        path = self._heaps[kind // 2][0][1]
        del self._places[path]  # first, as in `_put`
        heappop(self._heaps[kind // 2])
        return path


# The tail that the collector runs. What users do with runs is done in its turns: deleting and restoring them, renaming their folders.

OF_A_DATABASE = "#"  # in the key of a run that shares its file with others
log = logging.getLogger("collectors")


class LogFolderTail(Tail):
    """A tail that also deletes runs, restores them and gives them other names.

    `delete` and `restore` may be called from any thread; the work is done in the tail's turn, when all that it has read is stored.
    """

    def __init__(
        self,
        root: Path,
        *others: Any,
        tombstones: Tombstones,
        remove: Callable[[str], None],
        rename: Callable[[str, str, Mapping[str, str]], bool] = lambda run, new, paths: False,
        **options: Any,
    ) -> None:
        """`remove` takes a run out of the store, `rename` is `Store.rename`; both raise StoreError."""
        self._tombstones, self._remove, self._rename = tombstones, remove, rename
        self._renaming: dict[str, str] = {}  # runs, by their new names, that get these or could not
        self._requests: deque[tuple[Callable[[str], None], str]] = deque()
        self._preferred: set[Path] = set()
        super().__init__(root, *others, accept=self._is_read, **options)
        for tombstone in tombstones.all():  # it may have ended between the tombstone and the store
            if not tombstone.purge_s and self._is_wholly_covered(tombstone.run):
                self._take_out(tombstone.run, [str(self._tree.path_of(key)) for key in self._keys_of(tombstone.run)])

    def delete(self, run: str, known: LastKnown = NOTHING_KNOWN, undo_s: float = 0.0) -> str:
        """Why that is not possible, or ""; `known` stays readable. Its data leaves the store after `undo_s`."""
        shared = next((key for key in self._keys_of(run) if _is_in_database(key)), None)
        if shared is not None:
            return f"it is one of the runs in {shared.partition(OF_A_DATABASE)[0]}, and cannot be deleted without the others; archive it instead"
        self._requests.append((partial(self._delete, known=known, undo_s=undo_s), run))
        self._wake.set()
        return ""

    def restore(self, run: str) -> bool:
        """Whether it was deleted; its files are read anew, or where its data has not left the store, read on."""
        found = self._tombstones.has(run)
        self._requests.append((self._restore, run))
        self._wake.set()
        return found

    def collect(self) -> list[Record]:
        is_ready = (
            self._error is None and not self.is_looking_for_runs
        )  # which files are a run's is known once all are found
        if is_ready:
            self._requests.extend((self._purge, run) for run in self._tombstones.due(time.time()))
        while self._requests and is_ready:
            work, run = self._requests.popleft()
            try:
                work(run)
            except (OSError, StoreError) as error:  # a full disk: the run stays as it is, and the page still shows it
                log.warning("the run %r cannot be changed (%s)", run, error)
        return super().collect()

    def _is_read(self, path: str) -> bool:
        return is_followed(path) and not self._tombstones.covers(path)

    def _read(self, path: Path) -> None:
        if not self._tombstones.covers(str(path)):
            super()._read(path)

    def _prefer(self, path: Path, other: Path) -> None:
        """The run of the other name goes first, once what was read of it is stored."""
        if path not in self._preferred:
            self._preferred.add(path)
            self._requests.append((partial(self._give_way, path, other), self._runs.of(other).name))
        self._again[path] = time.monotonic()

    def _give_way(self, path: Path, other: Path, run: str) -> None:
        """Read a file under the first name alone; what else the run of the other one has is read anew."""
        self._preferred.discard(path)
        left = [each for each in self._paths_of(run) if each != str(other)]
        self._take_out(run, [*left, str(other)])
        self._duplicates.prefer(path)
        self._backlog.update(map(Path, left))
        self._schedule.new(Path(each) for each in left if is_followed(each))

    def _delete(self, run: str, known: LastKnown, undo_s: float) -> None:
        paths = self._paths_of(run)
        files = tuple(found for path in paths[:MAX_FILES] if (found := identity_of_file(path)) is not None)
        now_s = time.time()
        purge_s = now_s + undo_s if undo_s else 0.0
        self._tombstones.put(Tombstone(run, now_s, self._own_folder(run, paths), files, known, purge_s))
        if purge_s:
            self._close_files_of(run)
            return
        try:
            self._take_out(run, paths)
        except BaseException:
            self._tombstones.remove(run)
            raise

    def _purge(self, run: str) -> None:
        """The time in which it could be restored is over. What is done twice, since we were killed in between, does no harm."""
        found = self._tombstones.of(run)
        if found is None or not found.purge_s:
            return
        paths = self._paths_of(run)
        self._take_out(run, paths)
        self._tombstones.put(found._replace(purge_s=0.0))
        self._look_again(
            [*paths, *(file.path for file in found.files)]
        )  # what was written meanwhile is another attempt

    def _look_again(self, paths: Iterable[str]) -> None:
        known = [Path(path) for path in dict.fromkeys(paths) if is_followed(path)]
        for path in known:
            self._watch.forget(path)
        self._schedule.new(path for path in known if not self._tombstones.covers(str(path)))

    def _close_files_of(self, run: str) -> None:
        for path in [path for path in self._files if self._name_of(path) == run]:
            self._close(path)

    def _take_out(self, run: str, paths: list[str]) -> None:
        self._remove(run)
        self._close_files_of(run)
        for path in map(Path, paths):
            self._skipped.heal(path)
        self._offsets = {key: offset for key, offset in self._offsets.items() if offset.run != run}
        self._runs.forget(run)

    def _is_of_a_renamed_run(self, before: Offset, path: Path) -> bool:
        """A run is renamed where none of its files is left at its old place."""
        new, old = self._runs.name_of(path), before.run
        if new is None or new == old or self._runs.name_of(self._tree.path_of(before.path)) != old:
            return False
        if new in self._renaming:
            return any(name == old for _, name in self._requests)
        keys = self._keys_of(old)
        if not self._root.is_dir() or any(
            _is_in_database(key) or os.path.lexists(self._tree.path_of(key)) for key in keys
        ):
            return False
        place, other = _without_common_end(before.path, self._key(path))
        paths = {
            key: f"{other}{key.removeprefix(place)}"
            for key in keys
            if key == before.path or key.startswith(f"{place}/")
        }
        self._renaming[new] = old
        self._requests.append((partial(self._give_name, new=new, paths=paths), old))
        self._wake.set()
        return True

    def _give_name(self, run: str, new: str, paths: Mapping[str, str]) -> None:
        if not self._rename(run, new, paths):
            return
        moved = [self._offsets[key]._replace(path=paths.get(key, key), run=new) for key in self._keys_of(run)]
        for key in self._keys_of(run):
            self._close(self._tree.path_of(key))
            self._skipped.heal(self._tree.path_of(key))
            del self._offsets[key]
        self._offsets |= {offset.path: offset for offset in moved}
        self._inodes.note(moved)
        self._runs.forget(run)
        del self._renaming[new]

    def _restore(self, run: str) -> None:
        found = self._tombstones.remove(run)
        if found is not None and found.purge_s:  # all that was read of it is stored
            self._look_again(file.path for file in found.files)
            return
        paths = [Path(file.path) for file in found.files] if found else []
        self._backlog.update(paths)  # when its lines arrived is not known any more
        self._schedule.new(path for path in paths if is_followed(str(path)))

    def _keys_of(self, run: str) -> list[str]:
        """Of the offsets of its files."""
        return [key for key, offset in list(self._offsets.items()) if offset.run == run]

    def _paths_of(self, run: str) -> list[str]:
        """All files that are the run's, also those that stand for each other, and the files of other places that were read."""
        folder = f"{self._folder_of(run)}/"
        inside = [path for path in self._watch.seen() if path.startswith(folder) and self._name_of(Path(path)) == run]
        elsewhere = [str(self._tree.path_of(key)) for key in self._keys_of(run)]
        return list(dict.fromkeys([*inside, *(path for path in elsewhere if os.path.isfile(path))]))  # noqa: PTH113

    def _folder_of(self, run: str) -> str:
        known = self._runs.get(run)
        return str(known.folder) if known else str(self._tree.path_of(next(iter(self._keys_of(run)), run)).parent)

    def _own_folder(self, run: str, paths: list[str]) -> str:
        """The run's folder, if no other run's files lie in it; else ""."""
        known, folder = self._runs.get(run), self._folder_of(run)
        if (known is not None and known.single_file) or Path(folder) in (self._root, *self._tops):
            return ""
        mine, start = set(paths), f"{folder}/"
        others = any(path.startswith(start) and path not in mine for path in self._watch.seen())
        return "" if others or self._tombstones.owner_below(folder, run) or not mine else folder

    def _name_of(self, path: Path) -> str | None:
        """The run that a file belongs to; None where it was never read."""
        if path.is_relative_to(self._root):
            return self._runs.name_of(path)
        offset = self._offsets.get(self._key(path))
        return offset.run if offset is not None else None

    def _is_wholly_covered(self, run: str) -> bool:
        keys = self._keys_of(run)
        return bool(keys) and all(self._tombstones.covers(str(self._tree.path_of(key))) for key in keys)


def _without_common_end(path: str, other: str) -> tuple[str, str]:
    """`("runs/a/x/m.jsonl", "runs/b/x/m.jsonl") -> ("runs/a", "runs/b")`, of files with one name; else the paths themselves."""
    names, others = path.split("/"), other.split("/")
    while len(names) > 1 and len(others) > 1 and names[-1] == others[-1]:
        names.pop()
        others.pop()
    return "/".join(names), "/".join(others)


def _is_in_database(key: str) -> bool:
    known = format_of(key.partition(OF_A_DATABASE)[0]) if OF_A_DATABASE in key else None
    return known is not None and known.reading == "database"
