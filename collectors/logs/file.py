"""One followed file: reads new lines, keeps a half-written last line and live progress bars, and its offset."""

from __future__ import annotations

import json
import logging
import math
import os
import re
import threading
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import accumulate, groupby
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from ..folders import is_received, is_remote
from ..keeper.output import CHECK, RECORD, times_path
from ..keeper.output import GAP_S as PRINTED_GAP_S
from ..machine.proc import PROC, is_for_writing
from ..machine.run_state import seconds
from ..machine.writers import open_files
from ..records import DATA, GENERATION, Offset, ProgressBar, Record
from .formats import MAX_LINE_BYTES, Arrival, ByteFormat, Format, LineFormat, Tally
from .formats.jsonl import HEAD_BYTES
from .formats.text import ANSI, TextLog
from .formats.values import MAX_TIME_S, escape_control
from .open_files import NotRead, born_s, has_read_part, marks_of, open_file, read_file
from .recognition import FileFormat, Origin
from .run import RunFolder

# One file of the log folder, read from its offset in batches that are bounded in bytes and lines.

log = logging.getLogger("collectors")

DELETED_BYTES = 16 << 20  # of a file that was deleted while it was read, that are still read
BATCH_BYTES = 2 << 20  # read from one file before the next one,
MIN_BATCH_BYTES = MAX_LINE_BYTES  # or less if that takes longer than
BATCH_S = 0.1
BATCH_LINES = 50_000
IDLE_S = 60.0  # a file without changes for this long is closed
SPREAD_S = 1.0  # lines without a time that arrive together were written within this time
RENAMED_S = 1.0  # between two looks at a file under another name: its changes are noticed under that
CLOCK_SLACK_S = 2.0  # between the file system's clock and ours
MAX_RECORD_BYTES = 64 << 20  # of a format that reads bytes


class FollowedFile:
    """It stays open, so that the rest of a rotated file is still read."""

    def __init__(
        self, path: Path, key: str, run: RunFolder, root: Path, offset: Offset | None, known: FileFormat, *, live: bool
    ) -> None:
        """`live`: the file was written while it was followed, so its lines have an arrival time."""
        self.run = run
        self._path, self._key, self._root, self._known = path, key, root, known
        inside = known.part is not None or path.parent == run.folder
        self._name = path.name if inside else f"{path.parent.name}/{path.name}"
        self._live = live
        self._born_s = 0.0  # the open file: no line of it is older
        self._descriptor = -1
        self._identity = (offset.device, offset.inode) if offset else (0, 0)
        self._offset = offset.offset if offset else 0
        state = {name: value for name, value in offset.state.items() if name != DATA} if offset else {}
        self._marks = str(state.pop("head", "")), str(state.pop("end", ""))  # of the part that has been read
        state.pop("born", None)
        now_s = time.time()
        self._looked_s = min(max(now_s - SPREAD_S, state.pop("looked", 0.0)), now_s)  # what was read before came before
        self._cutting: bool = state.pop("cutting", False)  # inside a line that is too long
        self._host: str = state.pop("host", run.host)  # a run's series keep their host
        self._generation: int = state.pop(GENERATION, 0)
        self._is_wanted: bool = state.pop("wanted", False)  # a user asked for it, whatever it looks like
        unsure = state.pop("unsure", False) or not self._offset
        self._is_judged = known.check_head is None or self._is_wanted or not unsure
        self._bar = (
            LiveBar(run.name, escape_control(self._name), is_stored=state.pop("bar", False)) if known.has_bars else None
        )
        self._half = PartialLine(path)
        self._is_half = False  # the batch's last line has no newline
        self._is_last = False  # the batch is a half line or record at the end of a file that has a successor
        self._is_renamed = False  # ... one that is empty so far
        self._format = self._new_format(state)
        if offset:
            self._format.tally = Tally(
                offset.lines_read, offset.lines_skipped, offset.fields_skipped, offset.first_skip
            )
        self._used = 0  # bytes of the batch that is being parsed,
        self._passed = b""  # and those after its last line that are earlier states of a bar
        self._lines: list[bytes] = []  # its lines, or all of it as one,
        self._raw: list[bytes] = []  # its lines, with their carriage returns,
        self._left = 0  # number of them that the parser left
        self._read_s = 0.0  # when the batch was read, and the times of its lines
        self._times = NO_TIMES  # of lines that were written before the file was followed
        self._batch_bytes = BATCH_BYTES
        self._is_unsaid = offset is not None and offset.path != key  # it was read under another name, or as a copy
        self.behind = False  # whether there was more than one batch to read

    def read(self) -> bool:
        """Read the next batch for `parse`; return whether there is one. A half-written last line waits for its newline, or its program's end."""
        self._read_s = time.time()
        data = self._next_bytes()
        if self._known.reading == "bytes":
            self._lines, self._used = [data] if data else [], len(data)
        else:
            self._lines, self._used = self._split(self._without_states(data))
            if self._used < data.rfind(b"\n") + 1:  # its last lines are left for the next batch
                self._passed = b""
        return bool(self._lines)

    @property
    def is_open(self) -> bool:
        """False after a `read` that has found no file."""
        return self._descriptor >= 0

    @property
    def again_s(self) -> float | None:
        """In how many seconds it is to be read again though nothing changes: for a state of a bar that may not be stored yet, a last line
        without a newline, what is written under another name, or first numbers that wait.
        """
        bar_s = GAP_S if self._bar is not None and self._bar.is_held else None
        early_s = self._format.again_s if isinstance(self._format, TextLog) else None
        waits_s = [RENAMED_S if self._is_renamed else self._half.again_s, early_s, bar_s]
        return min((wait_s for wait_s in waits_s if wait_s is not None), default=None)

    @property
    def used_bytes(self) -> int:
        """Of the batch that was read."""
        return self._used

    def parse(self) -> list[Record]:
        """The records of the batch and the offset after them; [] where nothing was read."""
        records: list[Record] = []
        moved, self._is_unsaid = self._is_unsaid, False
        arrival = self._arrival() if self._used or self._passed else None
        began_s = time.monotonic()
        if self._used:
            records = self._parse_batch(arrival)
            self._offset += self._used
            moved = moved or bool(self._used)
        self._offset += len(self._passed)
        if self._used or self._passed:
            self._marks = marks_of(self._descriptor, self._offset, self._known.head_bytes, self._marks[0])
        if self._passed and self._bar:
            records += (points := cast(TextLog, self._format).parse_states(self._passed, arrival))
            moved = moved or bool(points)
        if self._used or self._passed:
            self._pace(time.monotonic() - began_s)
        if not self._used and isinstance(self._format, TextLog):
            records += (due := self._format.due())
            moved = moved or bool(due)
        if self._bar and not self.behind:
            records += (bars := self._bar.news(self._written_s()))
            moved = moved or bool(bars)
        if moved or (self._passed and self.behind):
            records.append(self.as_record())
        self._used, self._passed, self._lines = 0, b"", []
        if not self.behind:
            if not self._live:
                self._looked_s = max(
                    self._looked_s, self._read_s
                )  # what was there is read; what comes was written later
            self._live, self._times = True, NO_TIMES  # the backlog is read; new lines arrive live
        return records

    def _parse_batch(self, arrival: Arrival | None) -> list[Record]:
        if self._known.reading == "bytes":
            return self._parse_bytes(arrival)
        records: list[Record] = []
        waiting = self._lines
        for count, when in [(len(waiting), arrival)] if arrival or not waiting else self._parts():
            records += self._parse(waiting[:count], when)
            waiting = waiting[count - self._left :]
            if self._left:
                break
        self._left = len(waiting)
        if arrival and self._left:
            self._looked_s = arrival.at(len(self._lines) - self._left, len(self._lines))
        self._used -= self._left_bytes()
        return records

    def _parts(self) -> list[tuple[int, Arrival | None]]:
        """The lines of the batch by the time at which their program has printed them."""
        end = self._offset + self._used
        if end > self._times.upto:
            since_s = seconds(self.run.info.get("first_started_s", self.run.info.get("started_s"))) or 0.0
            self._times = print_times_of(self._path, self._root, os.fstat(self._descriptor).st_size, since_s)
            self._read_s = time.time()
        lengths = [len(line) + 1 for line in self._raw]
        return self._times.parts(lengths, end - sum(lengths) + self._is_half)

    def _parse_bytes(self, arrival: Arrival | None) -> list[Record]:
        """Read a record that is longer than a batch with a longer batch. Raises NotRead for one that is too long."""
        data = self._lines[0]
        records, used = cast(ByteFormat, self._format).parse_bytes(data, arrival)
        if not used and self._is_last:
            self._format.tally.skip_line("ends in the middle of a record")
            used = len(data)
        elif not used and self.behind:
            if self._batch_bytes >= MAX_RECORD_BYTES:
                raise NotRead(f"has a record of more than {MAX_RECORD_BYTES >> 20} MiB")
            self._batch_bytes *= 2
        self._used = used
        self.behind = self.behind or 0 < used < len(data)
        return records

    def as_record(self) -> Offset:
        """How far the file has been read."""
        marks = {"head": self._marks[0], "end": self._marks[1], "born": self._born_s}
        state = {**self._format.state(), **marks, "host": self._host}
        if self._live:
            state["looked"] = round(self._looked_s, 6)
        if self._cutting:
            state["cutting"] = True
        if self._generation:
            state[GENERATION] = self._generation
        flags = {"bar": self._bar and self._bar.is_stored, "wanted": self._is_wanted, "unsure": not self._is_judged}
        state |= {name: True for name, flag in flags.items() if flag}
        tally = self._format.tally
        return Offset(
            self._key,
            self.run.name,
            *self._identity,
            self._offset,
            tally.lines_read,
            tally.lines_skipped,
            tally.fields_skipped,
            tally.first_skip,
            state,
        )

    def refuse(self, reason: str) -> None:
        """A record of this file could not be stored."""
        tally = self._format.tally
        tally.lines_skipped += 1
        tally.first_skip = tally.first_skip or reason

    def is_idle(self, now_s: float) -> bool:
        try:
            return self._descriptor < 0 or now_s - os.fstat(self._descriptor).st_mtime > IDLE_S
        except OSError:  # of a network file system
            return True

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            with suppress(OSError):  # of a network file system: nothing was written
                os.close(descriptor)

    def _parse(self, lines: list[bytes], arrival: Arrival | None) -> list[Record]:
        """A line on which the parser fails costs that line."""
        state, tally = self._format.state(), replace(self._format.tally)
        self._left = 0
        try:
            records = cast(LineFormat, self._format).parse(lines, arrival)
            self._left = len(lines) - (self._format.tally.lines_read - tally.lines_read)
            return records
        except NotRead:
            raise
        except Exception:  # any error: the lines are read again one by one, and the faulty one is counted
            self._format = self._new_format(state)
            self._format.tally = tally
            whens = [arrival and arrival.part(place, 1, len(lines)) for place in range(len(lines))]
            return [record for line, when in zip(lines, whens, strict=True) for record in self._parse_one(line, when)]

    def _parse_one(self, line: bytes, arrival: Arrival | None) -> list[Record]:
        try:
            return cast(LineFormat, self._format).parse([line], arrival)
        except Exception as error:  # see above
            self._format.tally.skip_line(f"cannot be read ({type(error).__name__})")
            return []

    def _left_bytes(self) -> int:
        """Bytes of the last lines of the batch, which the parser left for the next one."""
        left, self._raw = self._raw[len(self._raw) - self._left :], []
        self.behind = self.behind or bool(left)
        return sum(len(line) + 1 for line in left) - (self._is_half and bool(left))

    def _arrival(self) -> Arrival | None:
        """Between the last look at the file and its last write, as far as the file system's clock can be believed."""
        if not self._live:
            return None
        if self._is_half:
            return Arrival(self._written_s(), self._written_s())
        now_s, written_s = time.time(), os.fstat(self._descriptor).st_mtime
        until_s = written_s if now_s - CLOCK_SLACK_S <= written_s <= now_s and written_s > self._looked_s else now_s
        since_s = min(max(self._looked_s, until_s - SPREAD_S, self._born_s), until_s)
        self._looked_s = until_s
        return Arrival(since_s, until_s)

    def _next_bytes(self) -> bytes:
        if self._descriptor >= 0 and self._was_rewritten():
            self.close()
        data = self._pread() if self._descriptor >= 0 or self._reopen() else b""
        successor_bytes = None if self.behind else self._successor_bytes()
        self._is_last, self._is_renamed = False, successor_bytes == 0
        is_rest = b"\n" not in data or self._known.reading == "bytes"
        if successor_bytes and (not data or (is_rest and self._goes_on(data))):
            self.close()
            data = self._pread() if self._reopen() else b""
        elif successor_bytes:
            self._is_last, self.behind = is_rest, True  # it is read next, though nothing may be noticed of it again
        return data

    def _pread(self) -> bytes:
        if not self._is_judged and self._known.check_head:
            self._is_judged = self._known.check_head(self._path.name, os.pread(self._descriptor, HEAD_BYTES, 0))
        data = os.pread(self._descriptor, self._batch_bytes + 1, self._offset)
        self.behind = len(data) > self._batch_bytes
        if self.behind and self._is_deleted():
            self.behind = False
            self.close()
            raise FileNotFoundError
        return data[: self._batch_bytes]

    def _is_deleted(self) -> bool:
        """Whether it can no longer be opened: more of it than a batch is not worth the reading, and the disk wants its space back."""
        found = os.fstat(self._descriptor)
        return not found.st_nlink and found.st_size - self._offset > DELETED_BYTES

    def _pace(self, took_s: float) -> None:
        """Adapt the batch size, so that a batch takes the intended time."""
        if took_s > BATCH_S:
            self._batch_bytes = max(MIN_BATCH_BYTES, self._batch_bytes // 2)
        elif took_s < BATCH_S / 4:
            self._batch_bytes = min(BATCH_BYTES, 2 * self._batch_bytes)

    def _was_rewritten(self) -> bool:
        """Whether it was truncated in place, even if it is longer than its offset again."""
        return not has_read_part(self._descriptor, self._offset, *self._marks)

    def _successor_bytes(self) -> int | None:
        """The size of another file that has taken the name of the open one; until something stands in it, its program may not have found it."""
        try:
            now = self._path.stat()
        except OSError:
            return None  # rotated away, and no new file yet
        return now.st_size if (now.st_dev, now.st_ino) != self._identity else None

    def _goes_on(self, rest: bytes) -> bool:
        """Whether the successor is a copy of the open file. Of some file systems each look at a file says another inode."""
        descriptor = open_file(self._path, self._root)
        try:
            return has_read_part(descriptor, self._offset, *self._marks) and (
                self._offset > 0 or os.pread(descriptor, len(rest), 0) == rest
            )
        finally:
            os.close(descriptor)

    def _reopen(self) -> bool:
        """Open the file of that name; from its start if it is not the file that was read before."""
        try:
            self._descriptor = open_file(self._path, self._root)
        except FileNotFoundError:
            return False
        stat = os.fstat(self._descriptor)
        self._born_s = born_s(self._descriptor)
        # A folder that was copied holds other files of the same content.
        is_known = bool(self._marks[1]) or (stat.st_dev, stat.st_ino) == self._identity
        if self._offset and not (is_known and has_read_part(self._descriptor, self._offset, *self._marks)):
            self._offset, self._marks, self._cutting = 0, ("", ""), False
            self._generation += 1
            self._is_judged = self._known.check_head is None or self._is_wanted
            self._live = True
            tally = self._format.tally
            self._format = self._new_format({**self._format.state(), "anew": True})
            self._format.tally = Tally(0, tally.lines_skipped, tally.fields_skipped, tally.first_skip)
        self._is_unsaid = self._is_unsaid or (self._offset > 0 and (stat.st_dev, stat.st_ino) != self._identity)
        self._identity = (stat.st_dev, stat.st_ino)
        return True

    def _without_states(self, data: bytes) -> bytes:
        """Without the states of a progress bar that its newest one has replaced."""
        end = data.rfind(b"\n") + 1
        if self._bar is None or (self._cutting and not end):
            return data
        passed = end + self._bar.take(data[end:])
        self._passed = data[end:passed]
        return data[:end] + data[passed:] if self._passed else data

    def _split(self, data: bytes) -> tuple[list[bytes], int]:
        """Whole lines, and how many bytes they took; a line that is too long is dropped as it arrives."""
        end = data.rfind(b"\n") + 1
        self._is_half = self._takes_half(data[end:], is_cut=self._cutting and not end)
        if not end and not self._is_half:
            if len(data) <= MAX_LINE_BYTES - 1 and not self._cutting:
                return [], 0
            if not self._cutting:
                self._format.tally.lines_read += 1
                self._format.tally.skip_line("longer than 1 MiB")
            self._cutting = True
            return [], len(data)
        text = data if self._is_half else data[: end - 1]
        used = len(data) if self._is_half else end
        lines = text.split(b"\n", BATCH_LINES)
        if len(lines) > BATCH_LINES:
            used = len(text) - len(lines.pop())
            self._is_half, self.behind = False, True
        if self._cutting:
            del lines[0]
            self._cutting = False
        self._raw = lines
        return [line.removesuffix(b"\r") for line in lines], used

    def _takes_half(self, half: bytes, *, is_cut: bool) -> bool:
        if self._descriptor < 0 or is_cut or len(half) > MAX_LINE_BYTES - 1 or (self.behind and not self._is_last):
            return False
        return bool(half) if self._is_last else self._half.is_line(half, self._descriptor, is_live=self._live)

    def _written_s(self) -> float:
        """When the open file was last written, as far as that can be believed."""
        now_s = time.time()
        return min(max(os.fstat(self._descriptor).st_mtime, 0.0), now_s) if self._descriptor >= 0 else now_s

    def _new_format(self, state: Mapping[str, Any]) -> Format:
        written = min(max(written_s(self._path), 0.0), MAX_TIME_S - 1)
        assert self._known.make is not None
        part = self.run.part_of(self._path) if self._known.part else ""
        origin = Origin(self.run, self._name, self._host, written, part, self._path)
        try:
            return self._known.make(origin, state)
        except Exception as error:  # any error: the state is of another version, or wrong
            if not state:
                raise
            log.warning("%s: read on without what was known of it (%s: %s)", self._key, type(error).__name__, error)
            return self._known.make(origin, {})


def written_s(path: Path) -> float:
    """When the file was last written, Unix seconds; now where there is no file (yet): opening it reports that."""
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return time.time()


def with_skip(offset: Offset, reason: str) -> Offset:
    """With one more line skipped."""
    return offset._replace(lines_skipped=offset.lines_skipped + 1, first_skip=offset.first_skip or reason)


WHOLE_S = 1.0  # without a change, until a complete JSON object is taken for a line
QUIET_S = 30.0  # without a change, until any other half line is, where no process holds the file open for writing,
UNSEEN_S = 600.0  # or where such a process cannot be seen from here
MAX_S = 60.0  # between two looks while a process holds the file
FRESH_S = 2.0  # how old the look at all processes may be: it costs about 3 us an open file


class HeldFiles:
    """The files of this machine that a process holds open for writing."""

    def __init__(self, proc: Path = PROC, clock: Callable[[], float] = time.monotonic) -> None:
        self._proc, self._clock = proc, clock
        self._lock = threading.Lock()
        self._looked_s: float | None = None
        self._by_name: dict[str, list[tuple[int, str]]] = {}  # pid and descriptor, by the name of the file

    def has(self, name: str, found: os.stat_result) -> bool:
        """Whether a process that we may look into holds that file of that name. A container has other folders, but the same names."""
        with self._lock:
            if self._looked_s is None or self._clock() - self._looked_s > FRESH_S:
                self._by_name = self._look()
                self._looked_s = self._clock()
            return any(self._is(pid, number, found) for pid, number in self._by_name.get(name, ()))

    def _is(self, pid: int, number: str, found: os.stat_result) -> bool:
        try:
            held = (self._proc / str(pid) / "fd" / number).stat()
        except OSError:  # closed meanwhile
            return False
        return os.path.samestat(held, found) and is_for_writing(self._proc, pid, number)

    def _look(self) -> dict[str, list[tuple[int, str]]]:
        by_name: dict[str, list[tuple[int, str]]] = {}
        with os.scandir(self._proc) as entries:
            pids = [int(entry.name) for entry in entries if entry.name.isdecimal()]
        for pid in pids:
            for number, target in open_files(pid, self._proc):
                if target.startswith("/"):
                    by_name.setdefault(target.rpartition("/")[2], []).append((pid, number))
        return by_name


HELD = HeldFiles()


class PartialLine:
    """The unfinished last line of one file. A buffered program may leave it for minutes; it counts as complete when the program exits."""

    def __init__(self, path: Path, held: HeldFiles = HELD, clock: Callable[[], float] = time.monotonic) -> None:
        self.again_s: float | None = None  # when it is to be looked at again, from now; None for never
        self._path, self._held, self._clock = path, held, clock
        self._seen, self._since_s, self._pause_s = (0, 0), 0.0, WHOLE_S

    def is_line(self, half: bytes, descriptor: int, *, is_live: bool) -> bool:
        """Whether what stands behind the file's last newline is a line. A carriage return makes it the state of a progress bar."""
        self.again_s = None
        if not half.strip() or b"\r" in half:
            return False
        now_s, found = self._clock(), os.fstat(descriptor)
        if (seen := (len(half), zlib.crc32(half))) != self._seen:
            self._seen, self._since_s, self._pause_s = seen, now_s, WHOLE_S
        quiet_s = now_s - self._since_s
        if not is_live:
            quiet_s = max(quiet_s, time.time() - found.st_mtime)
        if quiet_s >= WHOLE_S and _is_object(half):
            return True
        if quiet_s < QUIET_S:
            self.again_s = max(QUIET_S - quiet_s, 0.0) if quiet_s >= WHOLE_S else WHOLE_S
            return False
        if quiet_s >= self._least_s(found) and not self._held.has(self._path.name, found):
            return True
        self._pause_s = min(2 * self._pause_s, MAX_S)
        self.again_s = self._pause_s
        return False

    def _least_s(self, found: os.stat_result) -> float:
        """Another host may write it, or a user whose processes we cannot look into; what is handed over comes in pieces, for days."""
        if is_received(str(self._path)):
            return math.inf
        return UNSEEN_S if os.geteuid() not in (0, found.st_uid) or is_remote(self._path.parent) else QUIET_S


def _is_object(half: bytes) -> bool:
    """Whether it is a complete JSON object."""
    if not (half.startswith(b"{") and half.rstrip().endswith(b"}")):
        return False
    try:
        return isinstance(json.loads(half), dict)
    except (ValueError, RecursionError):
        return False


# The state of a progress bar in a file: the half line at its end, which the program rewrites after carriage returns.

GAP_S = 0.2  # between two states of a file that are stored
MAX_CHARACTERS = 500
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]+")


class LiveBar:
    """Of one file."""

    def __init__(self, run: str, file: str, *, is_stored: bool = False) -> None:
        """`is_stored`: an earlier collector has stored a state of it."""
        self.text = ""  # its state, as it is shown
        self.is_held = False  # the newest state waits until it may be stored
        self._run, self._file = run, file
        self._stored = None if is_stored else ""
        self._due_s = 0.0  # CLOCK_MONOTONIC

    @property
    def is_stored(self) -> bool:
        """Whether the store has a state of it that is to be taken away again."""
        return self._stored != ""

    def take(self, half: bytes) -> int:
        """Its state by the half line that is there now; how many bytes of that are states before it, and need not be read again."""
        if b"\r" not in half:
            self.text = ""
            return 0
        end = len(half.rstrip())  # the last state that shows anything
        start = half.rfind(b"\r", 0, end)
        state = half[start + 1 : end].decode("utf-8", "replace")
        self.text = CONTROL.sub("", ANSI.sub("", state)).strip()[:MAX_CHARACTERS]
        return max(start, 0)

    def news(self, time_s: float) -> list[ProgressBar]:
        """Its state, where that is to be stored now."""
        now_s = time.monotonic()
        self.is_held = bool(self.text) and self.text != self._stored and now_s < self._due_s
        if self.is_held or self.text == self._stored:
            return []
        self._stored, self._due_s = self.text, now_s + GAP_S
        return [ProgressBar(self._run, self._file, time_s, self.text)]


# When the lines of a file were written, as the keeper of its program noted beside it (`keeper/output.py`).

MAX_BYTES = 32 << 20  # of records: ten years
SLACK_S = 2.0  # between two clocks


class PrintTimes(NamedTuple):
    """Both columns have the same length, and the places rise."""

    places: NDArray[np.int64]  # bytes of the file that were written before
    times_s: NDArray[np.float64]  # Unix seconds
    upto: int  # bytes of the file that they are known for
    known_s: float = math.inf  # when they were read: no line of these is newer

    def parts(self, lengths: Sequence[int], start: int) -> list[tuple[int, Arrival | None]]:
        """How many of the next lines were written within one record, and when; None where it is not known.

        `lengths` are those of lines from byte `start` on, with their newlines; the newline's time is the line's.
        """
        newlines = np.fromiter(accumulate(lengths, initial=start), np.int64)[1:] - 1
        at = np.searchsorted(self.places, newlines, "right") - 1
        return [(len(list(same)), self._arrival(record)) for record, same in groupby(at.tolist())]

    def _arrival(self, record: int) -> Arrival | None:
        if record < 0:
            return None
        since_s = float(self.times_s[record])
        until_s = float(self.times_s[record + 1]) if record + 1 < len(self.times_s) else self.known_s
        return Arrival(since_s, max(since_s, min(until_s, since_s + PRINTED_GAP_S)))


NO_TIMES = PrintTimes(np.empty(0, np.int64), np.empty(0, np.float64), 0)


def print_times_of(path: Path, root: Path, upto: int, since_s: float) -> PrintTimes:
    """Those of a file that has `upto` bytes, of a program that started at `since_s`. Damage costs the times that it hits."""
    try:
        data, _ = read_file(times_path(path), root, MAX_BYTES)
    except (NotRead, OSError):
        return NO_TIMES._replace(upto=upto)
    records = np.frombuffer(data[: len(data) // RECORD.size * RECORD.size], "<u8").reshape(-1, 3)
    records = records[records[:, 0] ^ records[:, 1] ^ np.uint64(CHECK) == records[:, 2]]
    records = records[(records[:, 0] <= upto) & (records[:, 1] < 2**53)]
    places, times_s = records[:, 0].astype(np.int64), records[:, 1] / 1e6
    kept = (
        (times_s >= since_s - SLACK_S) & (times_s <= time.time() + SLACK_S) & (places == np.maximum.accumulate(places))
    )
    return PrintTimes(places[kept], times_s[kept], upto, time.time())
