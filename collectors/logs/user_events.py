"""Reads events that users add to runs, from files of the data folder."""

from __future__ import annotations

import json
import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from itertools import islice
from pathlib import Path

from access.files import Unwritable, write_bytes

from ..records import Event, Offset, Record
from ..store.batches import RefusedRecord
from ..user_files import ADDED_MOST_BYTES, FOLDER, RESERVED, SUFFIX, file_name
from .formats import Tally
from .formats.jsonl import EventsParser, objects
from .formats.values import escape_control
from .open_files import NotRead, read_file

PREFIX = f"//{FOLDER}/"  # of their offsets: no file of the log folder has such a path
MAX_FILES = 10_000
NOT_OURS = "a kind that only runs and the collector write"
log = logging.getLogger("collectors")


class AddedEvents:
    """The collector of these files; a look costs one look at the folder, and what has changed in it."""

    name = "events"
    period_s = 0.5

    def __init__(
        self, data_dir: Path, offsets: Iterable[Offset], is_deleted: Callable[[str], bool] = lambda run: False
    ) -> None:
        """`offsets` are those of the store. Events of a deleted run wait until it is restored."""
        self._is_deleted = is_deleted
        self._restored: deque[str] = deque()
        self._lock = threading.Lock()  # a look at the files, or a new name of one
        self._folder = (data_dir / FOLDER).resolve()
        self._offsets = {offset.path: offset for offset in offsets if offset.path.startswith(PREFIX)}
        self._stamps: dict[str, tuple[int, int, int]] = {}
        self._troubles: dict[str, str] = {}  # by the file's name

    def restore(self, run: str) -> None:
        """Read the events of this run anew; from any thread."""
        self._restored.append(run)

    def rename(self, run: str, new: str, store: Callable[[Mapping[str, str]], bool]) -> bool:
        """Give the file of a run's events the run's new name once `store`, which gets the new path of its offset, has returned True.

        From any thread. Where there is a file of the new name, each keeps its own.
        """
        old, to = (self._folder / file_name(name, SUFFIX) for name in (run, new))
        with self._lock:
            moves = (
                {PREFIX + escape_control(old.name): PREFIX + escape_control(to.name)}
                if old.is_file() and not os.path.lexists(to)
                else {}
            )
            if not store(moves):
                return False
            for path, offset in list(self._offsets.items()):
                if offset.run == run:
                    del self._offsets[path]
                    to_path = moves.get(path, path)
                    self._offsets[to_path] = offset._replace(path=to_path, run=new)
            try:
                if moves:
                    lines = [
                        with_run(line, lambda name: new if name == run else name)
                        for line in old.read_bytes().split(b"\n")
                    ]
                    _put(b"\n".join(lines), to)
                    old.unlink()
            except (OSError, Unwritable) as error:  # the run has its new name in the store
                log.warning("the events that were added to %r stay in %s (%s)", new, old, error)
        return True

    def collect(self) -> list[Record]:
        with self._lock:
            return self._collect()

    def _collect(self) -> list[Record]:
        records: list[Record] = []
        for _ in range(len(self._restored)):
            run = self._restored.popleft()
            if self._is_deleted(run):  # the tail has not come to it yet: what is read now would wait for ever
                self._restored.append(run)
            else:
                self._drop_offsets(run)
        stamps = stamps_of(self._folder)
        for name, stamp in stamps.items():
            if self._stamps.get(name) != stamp:
                records += self._read(name)
        self._stamps = stamps
        self._troubles = {name: why for name, why in self._troubles.items() if name in stamps}
        return records

    def trouble(self) -> str:
        """One sentence that names a file which is not read; "" where all are."""
        return next((f"{self._folder / name} {why}" for name, why in self._troubles.items()), "")

    def refused(self, refused: list[RefusedRecord]) -> None:
        """Nothing to count: each line was checked."""

    def close(self) -> None:
        """Nothing is held open."""

    def _read(self, name: str) -> list[Record]:
        """The lines after those that are stored."""
        self._troubles.pop(name, None)
        try:
            data, found = read_file(self._folder / name, self._folder, ADDED_MOST_BYTES)
        except FileNotFoundError:
            return []
        except NotRead as error:
            self._troubles[name] = str(error)
            return []
        except OSError as error:
            self._troubles[name] = f"cannot be read ({error.strerror})"
            return []
        path = PREFIX + escape_control(name)
        known = self._offsets.get(path)
        lines = data[: data.rfind(b"\n") + 1].split(b"\n")[:-1]
        tally = Tally(*(known[5:9] if known else ()))
        if len(lines) <= tally.lines_read:
            return []
        events = events_of(lines[tally.lines_read :], tally)
        run = known.run if known else events[0].run if events else ""
        if not run:  # no line that names one
            return []
        counts = tally.lines_skipped, tally.fields_skipped, tally.first_skip
        offset = Offset(path, run, found.st_dev, found.st_ino, len(data), len(lines), *counts, {})
        self._offsets[path] = offset
        return [] if known is None and self._is_deleted(run) else [*events, offset]

    def _drop_offsets(self, run: str) -> None:
        for path in [path for path, offset in self._offsets.items() if offset.run == run]:
            del self._offsets[path]
            self._stamps.pop(path.removeprefix(PREFIX), None)


def events_of(lines: Iterable[bytes], tally: Tally) -> list[Event]:
    """`{"run":"a","time_s":1.5,"kind":"note","text":"hi"}` -> `Event("a", "note", 1.5, text="hi")`; other lines are counted."""
    found: list[Event] = []
    for fields in objects(lines, tally):
        run = fields.pop("run", None)
        if not isinstance(run, str) or not run or escape_control(run) != run:
            tally.skip_line("names no run")
        elif fields.get("kind") in RESERVED:
            tally.skip_line(NOT_OURS)
        else:
            made = EventsParser(run)
            made.tally = tally
            event = made.event(fields, None)
            found += [event] if event else []
    return found


def _put(data: bytes, path: Path) -> None:
    """As a new file, or in front of the lines that a user has added to it meanwhile. Raises OSError, Unwritable."""
    fresh = path.with_suffix(".new")
    write_bytes(fresh, data)
    try:
        os.link(fresh, path)
    except FileExistsError:
        write_bytes(path, data + path.read_bytes())
    finally:
        fresh.unlink()


def with_run(line: bytes, name_of: Callable[[str], str]) -> bytes:
    """A line of such a file with another name of its run. What is no event stays as it is: users write these files, too."""
    try:
        row = json.loads(line)
        run = row["run"] and name_of(row["run"])
        return line if run == row["run"] else json.dumps({**row, "run": run}, ensure_ascii=False).encode()
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return line


def stamps_of(folder: Path) -> dict[str, tuple[int, int, int]]:
    """By name, what differs when a file does; none where there is no folder."""
    stamps: dict[str, tuple[int, int, int]] = {}
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in islice(entries, MAX_FILES):
            if entry.name.endswith(SUFFIX):
                with suppress(FileNotFoundError):
                    found = entry.stat(follow_symlinks=False)
                    stamps[entry.name] = (found.st_mtime_ns, found.st_size, found.st_ino)
    return stamps
