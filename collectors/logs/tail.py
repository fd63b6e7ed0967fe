"""Follow the files of a log folder and turn their lines into records, resuming from stored offsets.

Nothing is lost and nothing comes twice: every batch ends with the `Offset` of the file it came from, and the store commits both
together. An error in one file affects that file only: it is set aside with its reason, and tried again. After an error anywhere
else, and wherever the store did not take what was read, the tail goes back to the stored offsets.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any, cast

from ..log_tree import LogTree
from ..process.activity import RunActivity
from ..records import DATA, Offset, Record
from ..store.storing import RefusedRecord, sentence
from . import added
from .aside import AsideFiles
from .doubles import Doubles
from .followed import FollowedFile, with_skip, written_s
from .followed_database import FollowedDatabases
from .formats import WholeFormat
from .formats.values import inert_path
from .known import EVENTS, TEXT, Known, Origin, format_of, main_of, rank_of, reading_order
from .opening import DataFile, NotMetrics, NotRead, born_s, read_file
from .outputs import Elsewhere
from .renamed import ReadInodes
from .run_folder import RunFolder
from .run_folders import RunFolders
from .turns import TURN_RECORDS, FileTurns
from .unfinished.live_bar import GAP_S
from .watching.watch import LATELY_S, FolderWatch

MAX_OPEN = 256  # files that stay open: those read last
SWEEP_S = 10.0  # how often idle files are closed
MOST_SORTED = 1_000  # files of the first look that a turn puts in order: ten thousand took half a second
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
        outputs: Callable[[], Mapping[Path, str]] = dict,
        only: Sequence[str] = (),
        front: str = "",
        accept: Callable[[str], bool] | None = None,
        last_times: Mapping[str, float | None] | None = None,
    ) -> None:
        """`offsets` are those of the store, by key (`LogTree`); `left_alone` returns why a file is not read, or "".

        `outputs` are files of any place with the run that each belongs to, read as text where no rule has them read already.
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
        self._inodes = ReadInodes(self._offsets)
        self._doubles = Doubles(self._tree, self._offsets)
        self._runs = RunFolders(self._tree, host, self._offsets, last_times)
        self._files: OrderedDict[Path, FollowedFile] = OrderedDict()  # what was read last comes last
        self._databases = FollowedDatabases(self._runs)
        self._again: dict[
            Path, float
        ] = {}  # databases and last lines without a newline, by their next look, CLOCK_MONOTONIC
        self._turns, self._aside = FileTurns(), AsideFiles()
        self._wanted: deque[str] = deque()  # paths of files that look like data, which a user asked for
        self._held: set[Path] = set()  # files with a state of a bar that is to be stored soon
        self._elsewhere = Elsewhere(self._tree, outputs, self._offsets)
        self._swept_s, self._began_s = time.monotonic(), time.time()
        first = self._runs.written_lately()
        self._watch = FolderWatch(
            self._root, accept or is_followed, wake, poll_only=poll_only, tops=self._tops, first=first
        )
        self._backlog: set[Path] = set()  # existed before we started: its lines have no arrival time
        self._unsorted: dict[
            Path, float
        ] = {}  # found by the first look, not yet put in order; with when they were written
        self._there: (
            dict[Path, bool] | None
        ) = {}  # what the first look at the folder has found so far; false for what is read later
        for key, offset in self._offsets.items():
            if offset.trouble:  # tried again, also if it is no longer there
                self._aside.put(self._tree.path_of(key), offset.trouble)
        self._take_what_was_there(self._watch.take())
        self._backlog.update(self._elsewhere.known())
        self._turns.old(self._elsewhere.known())

    def collect(self) -> list[Record]:
        """The records of the files that changed, about a batch; followed files come first.

        Where this raises, nothing of the turn is lost once `go_back` was called.
        """
        self._found = self._runs.take_learned()
        held, self._held = self._held, set()
        again = [path for path, due_s in self._again.items() if due_s <= time.monotonic()]
        changed = self._watch.take()
        if self._there is not None:
            changed = self._take_what_was_there(changed)
        self._queue([*changed, *self._elsewhere.take(), *held, *again])
        self._take_wanted()
        self._turns.begin()
        for path in self._aside.take_due():
            self._read(path)
        while not self._turns.are_over(self._found) and (live := self._turns.next_live()):
            self._read(live)
        first = True  # a backlog continues slowly while live files take all the time
        while (first or not self._turns.are_over(self._found)) and (other := self._turns.next_other()):
            self._read(other)
            first = False
        self._let_go()
        found, self._found = self._found, []
        return found

    def go_back(self, stored: Mapping[str, Offset], faults: Mapping[str, str]) -> None:
        """Read on from the stored offsets, and look at all files again.

        `faults` are the files, by the path of their offset, whose records the store does not take: they are set aside with that reason.
        """
        wanted = [key for key, offset in self._offsets.items() if "wanted" in offset.state]
        while self._files:
            self._files.popitem()[1].close()
        self._found = []
        self._offsets = own_offsets(stored)
        self._inodes = ReadInodes(self._offsets)
        self._wanted.extend(wanted)
        self._runs.tell_again()
        self._aside.tell_again()
        for key, reason in [*((key, offset.trouble) for key, offset in self._offsets.items()), *faults.items()]:
            if reason and (path := self._path_of(key)) not in self._aside:
                self._aside.put(path, reason)
        self._elsewhere.look_again()
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
        if self._turns or self.is_looking_for_runs:
            return 0.0
        waits_s = [due_s - time.monotonic() for due_s in self._again.values()]
        return max(0.0, min([GAP_S if self._held else PERIOD_S, *waits_s]))

    @property
    def is_looking_for_runs(self) -> bool:
        """Whether the first look at the folder is under way."""
        return self._there is not None and self._watch.is_there()

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

    def _waiting(self, run: str) -> Iterator[Path]:
        """The files in the run's folder whose turn has not come: by its own few, since all that wait may be thousands."""
        for folder in {each.folder for each in self._runs.some([run]) if not each.single_file}:
            with suppress(OSError):  # gone
                yield from filter(self._turns.waits, list(folder.iterdir()))

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
        """One sentence: that the log folder is gone, or which file is set aside, and why."""
        if not self._watch.is_there():
            return f"the log folder {self._root} is gone; it is read again as soon as it is back"
        first = self._aside.first()
        if first is None:
            return ""
        path, reason = first
        others = f"; {len(self._aside) - 1} more are set aside" if len(self._aside) > 1 else ""
        return f"{self._key(path)} {reason}{others}"

    def close(self) -> None:
        self._watch.close()
        for file in self._files.values():
            file.close()

    def _take_what_was_there(self, found: Sequence[Path]) -> list[Path]:
        """A part of the first look at the folder: what was written lately is read at once, the rest when all is found.

        Returns those that it had found before, which have changed since.
        """
        assert self._there is not None
        mains = [(path, main_of(path)) for path in found]
        changed = [path for path, main in mains if main in self._there]
        new = {main: self._newest_s(main) for _, main in mains if main not in self._there}
        now = {
            path for path, newest_s in new.items() if newest_s > self._began_s
        }  # goes before what was found until then
        self._unsorted |= new
        portion = [*dict.fromkeys([*now, *islice(self._unsorted, MOST_SORTED)])]
        newest = {path: self._unsorted.pop(path) for path in portion}
        lately_s = time.time() - LATELY_S
        self._there |= {path: newest_s > lately_s for path, newest_s in newest.items()}
        self._backlog.update(portion)
        self._turns.new(sorted(now, key=self._newest_first))
        self._turns.old(
            sorted((path for path in portion if self._there[path] and path not in now), key=self._newest_first)
        )
        if not self._unsorted and (self._watch.is_complete or not self._watch.is_there()):
            self._turns.old(
                sorted((path for path, is_read in self._there.items() if not is_read), key=self._newest_first)
            )
            self._there = None
        return changed

    def _take_wanted(self) -> None:
        while self._wanted:
            key = self._wanted.popleft()
            if key in self._offsets:
                self._offsets[key] = self._offsets[key]._replace(state={**self._offsets[key].state, "wanted": True})
                self._queue([self._tree.path_of(key)])

    def _queue(self, paths: Iterable[Path]) -> None:
        new: dict[Path, tuple[str, int, str]] = {}
        for path in dict.fromkeys(paths):
            try:
                self._queue_one(main_of(path), new)
            except Exception as error:  # a name is a stranger's text, too
                self._set_aside(path, f"cannot be read ({said(error)}); it is tried again")
        self._turns.new(sorted(new, key=new.__getitem__))

    def _queue_one(self, path: Path, new: dict[Path, tuple[str, int, str]]) -> None:
        if path in self._aside:
            self._aside.changed(path)
        elif path in self._databases or self._key(path) in self._offsets:
            self._turns.live(path)
        else:
            new[path] = reading_order(path)
            if path in self._elsewhere:
                self._backlog.add(path)  # what was there before it was found has no arrival time
        self._again.pop(path, None)

    def _newest_first(self, path: Path) -> tuple[float, tuple[str, int, str]]:
        return -self._newest_s(path), reading_order(path)

    def _newest_s(self, path: Path) -> float:
        """When a file of its folder was last written; of one that no scan has seen yet, the file itself."""
        if seen_s := self._watch.newest_s(path.parent):
            return seen_s
        try:
            return written_s(path)
        except OSError:  # reading it says so
            return 0.0

    def _key(self, path: Path) -> str:
        return inert_path(self._tree.name_of(path))

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
        except NotRead as error:
            self._set_aside(path, str(error), quiet=isinstance(error, NotMetrics), data=isinstance(error, DataFile))
        except Exception as error:  # no input may end the reading of the others
            self._set_aside(path, f"cannot be read ({said(error)}); it is tried again")
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
        known = TEXT if path in self._elsewhere else format_of(path)
        if known is None:
            return []
        if known.reading == "database":
            self._backlog.discard(path)
            return self._read_database(path)
        if self._is_double(path):
            return []
        before = None if self._key(path) in self._offsets else self._inodes.before(path, self._tree, known)
        if before is not None and self._is_of_a_renamed_run(before, path):
            self._again[path] = time.monotonic() + RENAMED_S
            return []
        run = self._run_of(path)
        if known.after_jsonl and any(
            path in self._unsorted or self._turns.waits(path) for path in run.rivals.jsonl_files()
        ):
            self._turns.behind(path)
            return []
        if known.reading == "whole":
            self._backlog.discard(path)
            return self._read_whole(path, run, known)
        return self._read_on(path, run, known)

    def _is_double(self, path: Path) -> bool:
        """Whether a file is not to be read now, since it is read under its name in another followed folder."""
        other = None if path in self._elsewhere else self._doubles.other(path)
        if other is None:
            return False
        if self._doubles.is_better(path, other):
            self._prefer(path, other)
        elif path in self._files or self._key(path) in self._offsets:
            self._prefer(other, path)
        return True

    def _prefer(self, path: Path, other: Path) -> None:
        """Of two names of a file, under both or the other one of which it was read."""
        self._doubles.prefer(path)
        self._held.add(path)

    def _read_whole(self, path: Path, run: RunFolder, known: Known) -> list[Record]:
        key = self._key(known.stands_for(path))
        data, found = read_file(path, self._runs.top_of(path), known.most_bytes)
        before = self._offsets.get(key)
        origin = Origin(run, path.name, run.host, written_s(path), run.part_of(path), path)
        assert known.make is not None
        format = cast(WholeFormat, known.make(origin, before.state if before else {}))
        records, tally = format.parse_whole(data), format.tally
        counts = tally.lines_read, tally.lines_skipped, tally.fields_skipped, tally.first_skip
        run.noticed(records)
        state = {**format.state(), "born": born_s(path)}
        return [*records, Offset(key, run.name, found.st_dev, found.st_ino, len(data), *counts, state)]

    def _read_database(self, path: Path) -> list[Record]:
        records, again_s = self._databases.look(
            path, self._key(path), self._runs.top_of(path), self._offsets, TURN_RECORDS
        )
        if again_s is not None:
            self._again[path] = time.monotonic() + again_s
        return records

    def _read_on(self, path: Path, run: RunFolder, known: Known) -> list[Record]:
        file = self._file(path, run, known)
        there = file.read()
        if not file.is_open:
            raise FileNotFoundError
        self._turns.count(file.used_bytes)
        if there:  # a metrics line must find the start event that it follows: the events are read after its bytes and before its meaning
            self._read_first(run, known.first(rank_of(path.name)))
        records = file.parse()
        if file.holds_a_bar:
            self._held.add(path)
        if file.again_s is not None:
            self._again[path] = time.monotonic() + file.again_s
        if file.behind:
            self._turns.behind(path)
        else:
            self._backlog.discard(path)
        run.noticed(records)
        return records

    def _read_first(self, run: RunFolder, names: Iterable[str]) -> None:
        """Take what is new in these files of the run's folder."""
        for path in [] if run.single_file else [run.folder / name for name in names]:
            if path not in self._aside and path.exists():
                self._read(path)

    def _heal(self, path: Path) -> None:
        """It is not set aside any more."""
        if self._aside.heal(path) and (known := self._offsets.get(self._key(path))) is not None and known.trouble:
            self._take([known._replace(trouble="")])

    def _gone(self, path: Path) -> None:
        """Gone since it was noticed. It may come back as it was, as a folder that was moved away does: then it is read as it would have been."""
        self._watch.forget(path)
        self._close(path)

    def _set_aside(self, path: Path, reason: str, *, quiet: bool = False, data: bool = False) -> None:
        """Set it aside; it is read again from the end of its last records."""
        self._close(path)
        is_news = self._aside.put(path, reason, quiet=quiet)
        known = self._offsets.get(self._key(path)) or self._unread(path)
        if is_news and known is not None:  # without one only `trouble` says it
            state = {**known.state, DATA: True} if data else known.state
            self._take([known._replace(state=state, trouble=reason)])

    def _unread(self, path: Path) -> Offset | None:
        """That of a file that was never read; None where it is not known how its run is called."""
        place = self._elsewhere.place_of(path)
        run = place.run if place else self._runs.name_of(path)
        return None if run is None else Offset(self._key(path), run, 0, 0, 0, 0, 0, 0, "", {})

    def _run_of(self, path: Path) -> RunFolder:
        return self._runs.of(path, self._elsewhere.place_of(path))

    def _file(self, path: Path, run: RunFolder, known: Known) -> FollowedFile:
        file = self._files.get(path)
        if file is not None and file.run is not run:  # it has got another name
            self._close(path)
            file = None
        if file is None:
            key, top = self._key(path), self._runs.top_of(path)
            offset = self._offsets[key] if key in self._offsets else self._renamed(path, run, known)
            file = FollowedFile(path, key, run, top, offset, known, live=path not in self._backlog)
            self._files[path] = file
        self._files.move_to_end(path)
        return file

    def _renamed(self, path: Path, run: RunFolder, known: Known) -> Offset | None:
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
    return {key: offset for key, offset in stored.items() if not key.startswith(added.PREFIX)}


def said(error: Exception) -> str:
    """An error, as a part of a sentence."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return f"{type(error).__name__}: {error}"[:MAX_ERROR_CHARS]


def is_followed(path: str) -> bool:
    """Whether that file is read at all."""
    return format_of(path) is not None
