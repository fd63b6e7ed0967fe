"""One file of the log folder, read from its offset in batches that are bounded in bytes and lines."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from ..process.activity import seconds
from ..records import DATA, Offset, Record
from .formats import MAX_LINE_BYTES, Arrival, ByteFormat, Format, LineFormat, Tally
from .formats.data_set import HEAD_BYTES
from .formats.text import Text
from .formats.values import MAX_TIME_S, inert
from .known import Known, Origin
from .opening import NotRead, born_s, has_read_part, marks_of, open_file
from .print_times import NO_TIMES, print_times_of
from .run_folder import RunFolder
from .unfinished.half_line import HalfLine
from .unfinished.live_bar import LiveBar

log = logging.getLogger("collectors")

DELETED_BYTES = 16 << 20  # of a file that was deleted while it was read, that are still read
BATCH_BYTES = 2 << 20  # read from one file before the next one,
LEAST_BATCH_BYTES = MAX_LINE_BYTES  # or less if that takes longer than
BATCH_S = 0.1
BATCH_LINES = 50_000
IDLE_S = 60.0  # a file without changes for this long is closed
SPREAD_S = 1.0  # lines without a time that arrive together were written within this time
RENAMED_S = 1.0  # between two looks at a file under another name: its changes are noticed under that
CLOCK_SLACK_S = 2.0  # between the file system's clock and ours
MOST_RECORD_BYTES = 64 << 20  # of a format that reads bytes


class FollowedFile:
    """It stays open, so that the rest of a rotated file is still read."""

    def __init__(
        self, path: Path, key: str, run: RunFolder, root: Path, offset: Offset | None, known: Known, *, live: bool
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
        self._is_wanted: bool = state.pop("wanted", False)  # a user asked for it, whatever it looks like
        unsure = state.pop("unsure", False) or not self._offset
        self._is_judged = known.check_head is None or self._is_wanted or not unsure
        self._bar = LiveBar(run.name, inert(self._name), is_stored=state.pop("bar", False)) if known.has_bars else None
        self._half = HalfLine(path)
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
    def holds_a_bar(self) -> bool:
        """Whether it is to be read again soon, for a state that may not be stored yet."""
        return self._bar is not None and self._bar.is_held

    @property
    def again_s(self) -> float | None:
        """In how many seconds it is to be read again though nothing changes: for a last line without a newline, what is written under
        another name, or first numbers that wait.
        """
        early_s = self._format.again_s if isinstance(self._format, Text) else None
        waits_s = [RENAMED_S if self._is_renamed else self._half.again_s, early_s]
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
            records += (points := cast(Text, self._format).parse_states(self._passed, arrival))
            moved = moved or bool(points)
        if self._used or self._passed:
            self._pace(time.monotonic() - began_s)
        if not self._used and isinstance(self._format, Text):
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
            if self._batch_bytes >= MOST_RECORD_BYTES:
                raise NotRead(f"has a record of more than {MOST_RECORD_BYTES >> 20} MiB")
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
            self._batch_bytes = max(LEAST_BATCH_BYTES, self._batch_bytes // 2)
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
