"""Follow the files of a log folder and turn their lines into records, resuming from stored offsets.

Nothing is lost and nothing comes twice: every batch ends with the `Offset` of the file it came from, and the store commits both
together. An error in one file affects that file only: it is set aside with its reason, and tried again.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, cast

from ..log_tree import LogTree
from ..process.activity import RunActivity
from ..records import DATA, Offset, Record
from ..store.storing import RefusedRecord, sentence
from .aside import AsideFiles
from .doubles import Doubles
from .followed import FollowedFile, with_skip, written_s
from .followed_database import FollowedDatabases
from .formats import WholeFormat
from .formats.values import inert_path
from .known import EVENTS, TEXT, Known, Origin, format_of, main_of, rank_of, reading_order
from .opening import DataFile, NotMetrics, NotRead, read_file
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
        self._offsets = dict(offsets)  # of the files that are not open
        self._inodes = ReadInodes(offsets)
        self._doubles = Doubles(self._tree, offsets)
        self._runs = RunFolders(self._tree, host, offsets, last_times)
        self._files: OrderedDict[Path, FollowedFile] = OrderedDict()  # what was read last comes last
        self._databases = FollowedDatabases(self._runs)
        self._again: dict[Path, float] = {}  # databases and last lines without a newline, by their next look, CLOCK_MONOTONIC
        self._turns, self._aside = FileTurns(), AsideFiles()
        self._wanted: deque[str] = deque()  # paths of files that look like data, which a user asked for
        self._held: set[Path] = set()  # files with a state of a bar that is to be stored soon
        self._elsewhere = Elsewhere(self._tree, outputs, offsets)
        self._swept_s, self._began_s = time.monotonic(), time.time()
        first = self._runs.written_lately()
        self._watch = FolderWatch(self._root, accept or is_followed, wake, poll_only=poll_only, tops=self._tops, first=first)
        self._backlog: set[Path] = set()  # existed before we started: its lines have no arrival time
        self._unsorted: dict[Path, float] = {}  # found by the first look, not yet put in order; with when they were written
        self._there: (
            dict[Path, bool] | None
        ) = {}  # what the first look at the folder has found so far; false for what is read later
        for key, offset in offsets.items():
            if offset.trouble:  # tried again, also if it is no longer there
                self._aside.put(self._tree.path_of(key), offset.trouble)
        self._take_what_was_there(self._watch.take())
        self._backlog.update(self._elsewhere.known())
        self._turns.old(self._elsewhere.known())

    def collect(self) -> list[Record]:
        """The records of the files that changed, about a batch; followed files come first."""
        held, self._held = self._held, set()
        again = [path for path, due_s in self._again.items() if due_s <= time.monotonic()]
        changed = self._watch.take()
        if self._there is not None:
            changed = self._take_what_was_there(changed)
        self._queue([*changed, *self._elsewhere.take(), *held, *again])
        self._take_wanted()
        records = self._runs.take_learned()
        self._turns.begin()
        for path in self._aside.take_due():
            records += self._read(path)
        while not self._turns.are_over(records) and (live := self._turns.next_live()):
            records += self._read(live)
        first = True  # a backlog continues slowly while live files take all the time
        while (first or not self._turns.are_over(records)) and (other := self._turns.next_other()):
            records += self._read(other)
            first = False
        self._let_go()
        return records

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
        folders = {each.folder for each in self._runs.some([run]) if not each.single_file}
        waiting = (path for path in self._turns.waiting() if EVENTS.fullmatch(path.name))
        return self.is_looking_for_runs or any(path.parent in folders for path in waiting)

    def refused(self, refused: list[RefusedRecord]) -> None:
        """Count records that the store could not take in the tallies of their files."""
        files = {self._key(path): file for path, file in self._files.items()}
        for record in refused:
            reason = sentence(record.reason)
            if record.path in files:
                files[record.path].refuse(reason)
            elif record.path in self._offsets:
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
        now = {path for path, newest_s in new.items() if newest_s > self._began_s}  # goes before what was found until then
        self._unsorted |= new
        portion = [*dict.fromkeys([*now, *islice(self._unsorted, MOST_SORTED)])]
        newest = {path: self._unsorted.pop(path) for path in portion}
        lately_s = time.time() - LATELY_S
        self._there |= {path: newest_s > lately_s for path, newest_s in newest.items()}
        self._backlog.update(portion)
        for path in portion if self._offsets else ():
            offset = self._offsets.get(self._key(path))
            if offset is not None and "names" in offset.state:
                self._run_of(path).rivals.keep(offset.state["names"], path.name)
        self._turns.new(sorted(now, key=self._newest_first))
        self._turns.old(sorted((path for path in portion if self._there[path] and path not in now), key=self._newest_first))
        if not self._unsorted and (self._watch.is_complete or not self._watch.is_there()):
            self._turns.old(sorted((path for path, is_read in self._there.items() if not is_read), key=self._newest_first))
            self._there = None
        return changed

    def _take_wanted(self) -> None:
        while self._wanted:
            key = self._wanted.popleft()
            if key in self._offsets:
                self._offsets[key] = self._offsets[key]._replace(state={**self._offsets[key].state, "wanted": True})
                self._queue([self._tree.path_of(key)])

    def _queue(self, paths: Iterable[Path]) -> None:
        new = []
        for path in dict.fromkeys(map(main_of, paths)):
            if path in self._aside:
                self._aside.changed(path)
            elif path in self._files or path in self._databases or self._key(path) in self._offsets:
                self._turns.live(path)
            else:
                new.append(path)
                if path in self._elsewhere:
                    self._backlog.add(path)  # what was there before it was found has no arrival time
            self._again.pop(path, None)
        self._turns.new(sorted(new, key=reading_order))

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

    def _read(self, path: Path) -> list[Record]:
        known = TEXT if path in self._elsewhere else format_of(path)
        if known is None:
            return []
        if known.reading == "database":
            self._backlog.discard(path)
            return self._guarded(path, lambda: self._read_database(path))
        if self._is_double(path):
            return []
        run = self._run_of(path)
        if known.after_jsonl and any(path in self._unsorted or self._turns.waits(path) for path in run.rivals.jsonl_files()):
            self._turns.behind(path)
            return []
        if known.reading == "whole":
            self._backlog.discard(path)
            return self._guarded(path, lambda: self._read_whole(path, run, known))
        return self._guarded(path, lambda: self._read_on(path, run, known))

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
        offset = Offset(key, run.name, found.st_dev, found.st_ino, len(data), *counts, format.state())
        self._offsets[key] = offset
        run.noticed(records)
        return [*records, offset]

    def _read_database(self, path: Path) -> list[Record]:
        records, again_s = self._databases.look(path, self._key(path), self._runs.top_of(path), self._offsets, TURN_RECORDS)
        self._offsets |= {record.path: record for record in records if isinstance(record, Offset)}
        if again_s is not None:
            self._again[path] = time.monotonic() + again_s
        return records

    def _read_on(self, path: Path, run: RunFolder, known: Known) -> list[Record]:
        file = self._file(path, run, known)
        there = file.read()
        if not file.is_open:
            raise FileNotFoundError
        self._turns.count(file.used_bytes)
        # A metrics line must find the start event that it follows: the events are read after its bytes and before its meaning.
        events = self._read_first(run, known.first(rank_of(path.name))) if there else []
        records = file.parse()
        self._inodes.note(records[-1:])
        if file.holds_a_bar:
            self._held.add(path)
        if file.again_s is not None:
            self._again[path] = time.monotonic() + file.again_s
        if file.behind:
            self._turns.behind(path)
        else:
            self._backlog.discard(path)
        run.noticed(records)
        return events + records

    def _read_first(self, run: RunFolder, names: Iterable[str]) -> list[Record]:
        """The new records of these files of the run's folder."""
        paths = [] if run.single_file else [run.folder / name for name in names]
        waiting = [path for path in paths if path not in self._aside and path.exists()]
        return [record for path in waiting for record in self._read(path)]

    def _guarded(self, path: Path, read: Callable[[], list[Record]]) -> list[Record]:
        """An error in a file affects that file, and no records of others."""
        before, self.at_work_on = self.at_work_on, self._key(path)
        try:
            if reason := self._left_alone(self.at_work_on):
                raise NotRead(reason)
            records = read()
        except FileNotFoundError:
            records = self._gone(path)
        except NotRead as error:
            return self._set_aside(path, str(error), quiet=isinstance(error, NotMetrics), data=isinstance(error, DataFile))
        except OSError as error:
            return self._set_aside(path, f"cannot be read ({error.strerror or error}); it is tried again")
        except Exception as error:  # no input may end the reading of the others
            return self._set_aside(path, f"cannot be read ({type(error).__name__}: {error}); it is tried again")
        finally:
            self.at_work_on = before
        if self._aside.heal(path) and not any(isinstance(record, Offset) and record.path == self._key(path) for record in records):
            records = [*records, self._known(path)]
        return records

    def _gone(self, path: Path) -> list[Record]:
        """Gone since it was noticed. It may come back as it was, as a folder that was moved away does: then it is read as it would have been."""
        self._watch.forget(path)
        if (file := self._files.pop(path, None)) is not None:
            self._keep(file)
        return []

    def _set_aside(self, path: Path, reason: str, *, quiet: bool = False, data: bool = False) -> list[Record]:
        """Set it aside; it is read again from the end of its last records."""
        known = self._known(path)
        if data:
            known = known._replace(state={**known.state, DATA: True})
        if (file := self._files.pop(path, None)) is not None:
            file.close()
        self._offsets[known.path] = known
        return [known._replace(trouble=reason)] if self._aside.put(path, reason, quiet=quiet) else []

    def _known(self, path: Path) -> Offset:
        """How far the file has been read, without trouble."""
        key, file = self._key(path), self._files.get(path)
        known = file.last if file else self._offsets.get(key)
        return known._replace(trouble="") if known else Offset(key, self._run_of(path).name, 0, 0, 0, 0, 0, 0, "", {})

    def _run_of(self, path: Path) -> RunFolder:
        return self._runs.of(path, self._elsewhere.place_of(path))

    def _file(self, path: Path, run: RunFolder, known: Known) -> FollowedFile:
        file = self._files.get(path)
        if file is None:
            key, top = self._key(path), self._runs.top_of(path)
            offset = self._offsets[key] if key in self._offsets else self._renamed(path, run, known)
            file = FollowedFile(path, key, run, top, offset, known, live=path not in self._backlog)
            self._files[path] = file
            self._offsets.pop(key, None)
        self._files.move_to_end(path)
        return file

    def _renamed(self, path: Path, run: RunFolder, known: Known) -> Offset | None:
        """How far the file was read under the name that it had, if any; what is left is read under this one."""
        if (offset := self._inodes.of(path, self._tree, run.name, known)) is None:
            return None
        before = self._tree.path_of(offset.path)
        old = self._files.get(before)
        if old is not None and old.last is not None and (old.last.device, old.last.inode) == (offset.device, offset.inode):
            self._keep(self._files.pop(before))
        return offset

    def _let_go(self) -> None:
        """Close idle files and those read longest ago; their offsets are kept."""
        closing = list(self._files)[: max(0, len(self._files) - MAX_OPEN)]
        if time.monotonic() - self._swept_s > SWEEP_S:
            self._swept_s, now_s = time.monotonic(), time.time()
            closing += [path for path, file in self._files.items() if file.is_idle(now_s) and not file.behind]
        for path in dict.fromkeys(closing):
            self._keep(self._files.pop(path))

    def _keep(self, file: FollowedFile) -> None:
        """How far it was read."""
        file.close()
        if file.last is not None:
            self._offsets[file.last.path] = file.last


def is_followed(path: str) -> bool:
    """Whether that file is read at all."""
    return format_of(path) is not None
