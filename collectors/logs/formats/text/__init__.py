"""Reads text logs: the time, level and rank of each line, and the metrics it prints."""

from __future__ import annotations

import datetime
import itertools
import math
import re
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, TypeAlias

from ....lines import structured_lines
from ....records import LogLine, Points, Record, RunInfo
from ...open_files import NotMetrics
from .. import MAX_LINE_BYTES, Arrival, Tally
from ..values import MAX_TIME_S
from .lines import COUNTER, beginning_of
from .numbers import TextNumbers
from .steps import STEP

# Which lines of a text log belong to one entry: a traceback to its exception's last line, a message of several lines.

ERROR = 40
TRACEBACK = "Traceback (most recent call last):"
CHAINED = ("During handling of the above exception", "The above exception was the direct cause")
PREFIX = re.compile(r"(\[(rank\s?)?\d+\]:?\s?)")  # of torchrun and others, in front of each line: [rank0]:
AT_ONCE_S = 0.5  # lines of one entry are written together, so that they arrive together
FRAMES_S = 5.0  # between two lines of one traceback
MAX_LINES = 30  # that follow an entry's first line, or an exception's, and share its level

NONE, FRAMES, RAISED, BETWEEN, MESSAGE = range(5)


class EntryTracker:
    """Follows the lines of one file, and gives each the level of the entry that it belongs to."""

    def __init__(self, state: list[Any] | None = None) -> None:
        self._part: int = NONE
        self._level: int = 0
        self._lines: int = 0  # bare ones that shared the level
        self._since_s: float | None = None  # when the newest line of it arrived
        if state:
            self._part, self._level, self._lines, self._since_s = state

    def state(self) -> list[Any]:
        return [self._part, self._level, self._lines, self._since_s]

    def blank(self) -> None:
        """An empty line ends an entry, but for a traceback, which may go on after it with the one that it led to."""
        self._part = BETWEEN if self._part in (RAISED, BETWEEN) else self._part if self._part == FRAMES else NONE

    def level(self, text: str, own: int, stamped: bool, arrival_s: float | None) -> int:
        """Of a line that names the level `own` (0: none). `arrival_s` is None where the file was there before it was followed."""
        if text.startswith(("[", "(")) and (found := PREFIX.match(text)):
            text = text[found.end() :]
            if not text.strip():
                self.blank()
                return self._level if self._part in (FRAMES, BETWEEN) else 0
        if TRACEBACK in text:
            whole = not text.rstrip().endswith(TRACEBACK)  # all of it on one line, as in JSON
            return self._begin(NONE if whole else FRAMES, max(own, ERROR), arrival_s)
        if self._part == FRAMES and not stamped and self._is_within(FRAMES_S, arrival_s):
            self._since_s = arrival_s
            if text[:1] not in (" ", "\t"):  # ValueError: ..., KeyboardInterrupt
                self._begin(RAISED, self._level, arrival_s)
            return self._level
        if self._part in (RAISED, BETWEEN) and text.startswith(CHAINED):
            return self._begin(BETWEEN, self._level, arrival_s)
        if stamped or own:
            if self._part != FRAMES:  # else another thread's line in the middle of a traceback
                self._begin(MESSAGE if stamped and own else NONE, own, arrival_s)
            return own
        return self._level if self._goes_on(arrival_s) else 0

    def _begin(self, part: int, level: int, arrival_s: float | None) -> int:
        self._part, self._level, self._lines, self._since_s = part, level, 0, arrival_s
        return level

    def _goes_on(self, arrival_s: float | None) -> bool:
        """Whether a bare line belongs to the message before it."""
        self._lines += 1
        if self._part not in (RAISED, MESSAGE) or not self._is_within(AT_ONCE_S, arrival_s) or self._lines > MAX_LINES:
            self._part = NONE
            return False
        return True

    def _is_within(self, seconds: float, arrival_s: float | None) -> bool:
        """Of the line before; nothing is known of arrivals in a file that was there already."""
        return arrival_s is None or (self._since_s is not None and arrival_s - self._since_s <= seconds)


# Which process of a job has printed a line, where a launcher writes it in front of each.

LONGEST = 40  # characters of a prefix
RANK_PREFIX = re.compile(
    r"\[(?:(?:rank|local_rank|default|trainer|worker)[ :]{0,2}(?P<torch>\d{1,6})\]:?"  # [rank3]: of PyTorch, [default0]: of torchrun, [rank: 3]
    r"|(?:\d{1,9}[.,])?(?P<mpi>\d{1,6})\](?:<(?:stdout|stderr)>:|<std(?:out|err)>))[ \t]?",  # [1,3]<stdout>: of Open MPI
    re.IGNORECASE,
)
TASK = re.compile(r" {0,5}(\d{1,5}): ")  # of `srun --label`
WORKER = re.compile(
    r"(?:\x1b\[[\d;]{0,12}m)*\(([\w.:<>\-]{1,80} pid=\d{1,10})(?:, ip=[\w.:]{1,60})?\)(?:\x1b\[[\d;]{0,12}m)* ?"
)  # of Ray
REPEATED = re.compile(r"(?:\x1b\[[\d;]{0,12}m){0,4}\s?\[repeated \d{1,9}x across (?:cluster|all nodes)\]")


class RayLine(NamedTuple):
    """What Ray says of a line."""

    name: str  # RayTrainWorker pid=123
    text: str  # the line without it
    is_repeated: bool  # it stands for lines of other workers, which are not shown


def split_rank(text: str) -> tuple[int | None, str]:
    """`"[rank3]: loss 2" -> (3, "loss 2")`; None where no rank stands in front."""
    found = RANK_PREFIX.match(text, 0, LONGEST)
    return (None, text) if found is None else (int(found["torch"] or found["mpi"]), text[found.end() :])


def split_worker(text: str) -> RayLine | None:
    """`"(RayTrainWorker pid=7, ip=10.0.0.1) loss 2" -> Worker("RayTrainWorker pid=7", "loss 2", False)`"""
    found = WORKER.match(text)
    if found is None:
        return None
    rest = text[found.end() :]
    repeated = REPEATED.search(rest) if "[repeated " in rest else None
    return RayLine(found[1], rest[: repeated.start()] if repeated else rest, repeated is not None)


class SrunLabels:
    """What `srun --label` writes in front of each line: `3: step 5 loss 2`. Steps of a program look the same: `3: loss 2 batch 64`.

    They are told apart by the second line: steps rise by one with what the line counts, tasks come back or count the same.
    """

    def __init__(self, state: list[Any] | None = None) -> None:
        """`state` is an earlier `state`."""
        are_tasks, last = state if isinstance(state, list) else (None, None)
        self._are_tasks: bool | None = are_tasks  # None while it is not known
        self._last: tuple[int, str] | None = tuple(last) if last else None  # the number and the count of the last line

    def state(self) -> list[Any]:
        """[] before there was a line."""
        return [self._are_tasks, self._last] if self._last else []

    def split(self, text: str) -> tuple[int, str] | None:
        """`"3: step 5 loss 2" -> (3, "step 5 loss 2")`; None where that is no task, or not known to be one."""
        found = TASK.match(text) if self._are_tasks is not False else None
        if found is None:
            return None
        number = int(found[1])
        if self._are_tasks is None:
            count = COUNTER.search(text, found.end())
            if count is None:
                return None
            before, self._last = self._last, (number, count["done"])
            if before is None:
                return None
            self._are_tasks = number != before[0] + 1 or count["done"] == before[1]
            if not self._are_tasks:
                return None
        return number, text[found.end() :]


# Times between stamps that are coarser than what they date: of lines that were read after they were written.

STAMP_S = 1.0  # a stamp says the second in which its line was written
SLACK_S = 2.0  # how much longer than between two looks lines may have been written, before what was read is known to come from a buffer
MAX_AHEAD = 500  # lines that one straight piece is looked for in


class StampedLine(NamedTuple):
    """The points of one line, and its stamp in whole seconds."""

    first: int
    last: int
    stamp_s: float


def spread(points: list[Points], lines: Sequence[StampedLine], arrival: Arrival | None) -> list[Points]:
    """The points, with times within the seconds of their stamps that let the run go on as evenly as they allow.

    Lines that arrived while they were written keep the times of their arrival.
    """
    if len(lines) < 2 or (
        arrival and lines[-1].stamp_s - lines[0].stamp_s <= arrival.until_s - arrival.since_s + SLACK_S
    ):
        return points
    if all(before.stamp_s != line.stamp_s for before, line in itertools.pairwise(lines)):
        return points
    since = 0
    for until in range(1, len(lines) + 1):
        if until == len(lines) or lines[until].stamp_s < lines[until - 1].stamp_s:  # a clock that went back begins anew
            _spread(points, lines[since:until])
            since = until
    return points


def _spread(points: list[Points], lines: Sequence[StampedLine]) -> None:
    """In place; the stamps of the lines do not fall."""
    places = [0.0]
    for before, line in itertools.pairwise(lines):
        steps = (points[line.first].step or 0) - (points[before.first].step or 0)
        places.append(places[-1] + max(steps, 1))
    for line, time_s in zip(lines, evenly(places, [line.stamp_s for line in lines]), strict=True):
        points[line.first : line.last] = [
            one._replace(time_s=round(time_s, 6)) for one in points[line.first : line.last]
        ]


def evenly(places: Sequence[float], stamps_s: Sequence[float]) -> list[float]:
    """A time for each place, in the second of its stamp, on a path with as few bends as possible: a string pulled taut."""
    times = [stamps_s[0]]
    anchor = 0
    while anchor < len(places) - 1:
        slowest, fastest, at_slowest, at_fastest = -math.inf, math.inf, anchor, anchor
        bend, bend_s = len(places) - 1, math.nan
        for i in range(anchor + 1, min(len(places), anchor + MAX_AHEAD)):
            along = places[i] - places[anchor]
            low, high = (stamps_s[i] - times[anchor]) / along, (stamps_s[i] + STAMP_S - 1e-3 - times[anchor]) / along
            if low > fastest:
                bend, bend_s = at_fastest, stamps_s[at_fastest] + STAMP_S - 1e-3
                break
            if high < slowest:
                bend, bend_s = at_slowest, stamps_s[at_slowest]
                break
            if low >= slowest:
                slowest, at_slowest = low, i
            if high <= fastest:
                fastest, at_fastest = high, i
            bend = i
        along = places[bend] - places[anchor]
        slope = (slowest + fastest) / 2 if math.isnan(bend_s) else (bend_s - times[anchor]) / along
        slope = max(slope, 0.0)
        start_s = times[anchor]
        times += [max(start_s + slope * (places[i] - places[anchor]), times[-1]) for i in range(anchor + 1, bend + 1)]
        anchor = bend
    return times


# The first numbers of a text wait until it is clear that no other file of the run has them.
#
# A script prints a loss and then writes it to a file, or to one that is flushed two minutes later: the text is read first.

MAX_WAITING = 2_000  # points that wait, more than a bar draws in two minutes; with more of them, none does


class PendingPoints:
    """Points of one text that are not told yet."""

    def __init__(
        self,
        run: str,
        wait_s: Callable[[], float] = lambda: 0.0,
        state: Mapping[str, Any] | None = None,
        written_s: float = 0.0,
    ) -> None:
        """`wait_s` says how long they wait in all, seconds. `state` is that of the text's format, {} for a file that was not read before.

        A text that was last written longer ago, at `written_s` (Unix seconds), has none that wait.
        """
        self._wait_s = wait_s
        waiting = (state or {}).get("early")
        self.is_told = self.is_over = not waiting and (bool(state) or time.time() - written_s >= wait_s())
        self._since_s: float = waiting["since_s"] if waiting else 0.0  # Unix seconds
        self._points = [_point(run, row) for row in waiting["points"]] if waiting else []

    def state(self) -> dict[str, Any]:
        """{} once the text has told its first points: as long as it has not, its series are nobody's."""
        if self.is_told:
            return {}
        return {"early": {"since_s": self._since_s, "points": [_row(one) for one in self._points]}}

    @property
    def again_s(self) -> float | None:
        """In how many seconds `take` is to be called again; None where nothing waits."""
        return max(0.0, self._since_s + self._wait_s() - time.time()) if self._points else None

    def drop(self) -> None:
        """Another file has the numbers."""
        self._points, self.is_over = [], True  # `is_told` stays as it is

    def take(self, points: Sequence[Points]) -> list[Points]:
        """What may be told now, given what was found."""
        if self.is_over:
            return list(points)
        if points and not self._points:
            self._since_s = time.time()
        self._points += points
        if not self._points or (len(self._points) <= MAX_WAITING and 0 <= time.time() - self._since_s < self._wait_s()):
            return []
        told, self._points, self.is_over, self.is_told = self._points, [], True, True
        return told


def _row(one: Points) -> list[Any]:
    """Values as text: JSON has no NaN."""
    return [list(one.labels), list(one.names), [str(value) for value in one.values], *one[4:]]


def _point(run: str, row: Sequence[Any]) -> Points:
    labels, names, values, *rest = row
    return Points(run, tuple((key, value) for key, value in labels), tuple(names), tuple(map(float, values)), *rest)


LEVELS = {"DEBUG": 10, "INFO": 20, "WARN": 30, "WARNING": 30, "ERROR": 40, "CRITICAL": 50, "FATAL": 50}
LEVELS |= {"DBG": 10, "ERR": 40, "CRIT": 50}

ANSI = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")
STAMP = re.compile(
    r"[\[(]?(?:(?P<date>\d{4}[-/]\d\d[-/]\d\d|\d\d/\d\d/\d{4})[T ,])?"
    r"(?P<time>\d\d:\d\d:\d\d)(?:[.,](?P<fraction>\d{1,9}))?(?P<zone>Z|[+-]\d\d:?\d\d)?\b"
)
NOON = re.compile(r" ?([AP])M\b")  # behind a time of twelve hours
GLOG = re.compile(r"(?P<level>[IWEF])(?P<month>\d\d)(?P<day>\d\d) (?P<time>\d\d:\d\d:\d\d)\.(?P<fraction>\d+)")
GLOG_LEVELS = {"I": 20, "W": 30, "E": 40, "F": 50}
LEVEL = re.compile(r"\b(DEBUG|DBG|INFO|WARN(?:ING)?|ERR(?:OR)?|CRIT(?:ICAL)?|FATAL)\b")
LOOK_FOR_LEVEL = 96  # characters from the start of a line
PROGRAM = b"\x7fELF"  # a.out
DAY_S = 86_400.0
LATE_S = 60.0  # after its file was last written, a stamp may be, by another clock
HALF_YEAR_S = 180 * DAY_S
FIRST_S = 946_684_800.0  # a stamp before the year 2000 is that of a clock which was never set
MAX_RANKS = 256  # of a file
LONGEST_WORKER, LONGEST_TASK = 120, 12  # characters of what Ray, or srun, writes in front of a line
BACKSPACES = re.compile(r"\x08+")
UP = "\x1b[A"  # the cursor goes a line up
LOOK_BACK = 8  # series, for what a bar showed at this step before
CONTINUATION_S = 5.0  # a line without a stamp shares the time of a stamped line before it for this long

MakeNumbers: TypeAlias = Callable[[int | str, Mapping[str, Any]], TextNumbers]
"""By rank, or the name of a worker, and that one's part of the state."""


class TextLog:
    """A text log of one run."""

    def __init__(
        self,
        run: str,
        file: str,
        mtime_s: float,
        state: Mapping[str, Any] | None = None,
        numbers: MakeNumbers | None = None,
        wants_numbers: Callable[[], bool] = lambda: True,
        rank: int | None = None,
        take_unit: Callable[[str], dict[str, Any] | None] = lambda unit: None,
        early: PendingPoints | None = None,
        elsewhere: Callable[[], Collection[str]] = tuple,
        is_coarse: Callable[[str], bool] = lambda unit: False,
    ) -> None:
        """`numbers` makes what finds metrics in a rank's lines, as long as `wants_numbers`; `rank` is that of the whole file.

        `take_unit` takes what a step of this text is called, "" where it tells none, and returns what is known of the run then, None if that is not new.
        `early` keeps the first points back; series called as those `elsewhere` are left out. Where its
        unit `is_coarse` beside that of another text, its points have their times alone.
        """
        state = state or {}
        self.tally = Tally()
        self._run, self._file, self._mtime_s, self._rank = run, file, mtime_s, rank
        self._make_numbers, self._wants_numbers, self._take_unit = numbers, wants_numbers, take_unit
        self._early, self._elsewhere, self._is_coarse = early or PendingPoints(run), elsewhere, is_coarse
        self._unit: str = state.get("unit", STEP)
        self._told_unit = ""
        self._own = self._voice(rank or 0, state)  # of lines that name no rank, and of rank 0
        anew = {"anew": True} if state.get("anew") else {}
        self._voices = {
            int(number): self._voice(int(number), {**kept, **anew}) for number, kept in state.get("ranks", {}).items()
        }
        self._workers = {name: self._voice(name, {**kept, **anew}) for name, kept in state.get("workers", {}).items()}
        self._worker: str = state.get("worker", "")  # of Ray, the first that spoke
        self._tasks = SrunLabels(state.get("tasks"))

    EMPTY: ClassVar[dict[str, Any]] = {"time_s": None, "entry": [0, 0, 0, None]}

    def state(self) -> dict[str, Any]:
        others = {
            "ranks": {str(rank): voice.state() for rank, voice in self._voices.items()},
            "workers": {name: voice.state() for name, voice in self._workers.items()},
            "worker": self._worker,
            "tasks": self._tasks.state(),
            "unit": self._unit if self._unit != STEP else "",
        }
        return self._own.state() | {name: value for name, value in others.items() if value} | self._early.state()

    @property
    def again_s(self) -> float | None:
        """In how many seconds `due` has something to say; None where nothing waits."""
        return self._early.again_s

    def due(self) -> list[Record]:
        """First points that need not wait any longer."""
        wants_numbers = self._takes_numbers()
        return [*self._told([]), *self._unit_news(wants_numbers)]

    def parse(self, lines: Sequence[bytes], arrival: Arrival | None) -> list[Record]:
        if not self.tally.lines_read and lines and lines[0].startswith(PROGRAM):
            raise NotMetrics("is a program, not a log")
        records: list[Record] = []
        points: list[Points] = []  # last: the store takes many of a kind faster than both in turn
        coarse: list[StampedLine] = []
        wants_numbers = self._takes_numbers()
        arrival_s = None
        for place, line in enumerate(lines, 1):
            if arrival is not None:
                arrival_s = arrival.at(place, len(lines))
            self.tally.lines_read += 1
            if len(line) > MAX_LINE_BYTES:  # a bar of hours: its last state is enough
                line = line[line.rfind(b"\r", 0, len(line.rstrip())) + 1 :]
                if len(line) > MAX_LINE_BYTES:
                    self.tally.skip_line("longer than 1 MiB")
                    continue
            if not line.strip():
                self._own.entry.blank()
                continue
            states = with_returns(line.decode("utf-8", "replace").replace("\0", "\ufffd"))
            text = last_state(states)
            speaker = self._speaker(text)
            voice = speaker.voice
            if not speaker.text.strip():
                voice.entry.blank()
                continue
            stamp_s, said = None, speaker.said
            if structured_lines.may_be_structured(said) and (found := structured_lines.read(said)) is not None:
                records += self._structured(found, arrival, arrival_s, speaker)
                stamp_s, said = voice.time_s, structured_lines.shown(found)[0]
            elif not text.endswith(UP):  # a bar below another one: the next state is written over it
                stamp_s = self._stamp(said, arrival, arrival_s, voice)
                records.append(self._line(speaker, stamp_s is not None, arrival, arrival_s))
            if voice.numbers is None or not wants_numbers or speaker.is_repeated:
                continue
            if text is not states:
                points += self._of_states(line[: line.rstrip(b"\r\x08 ").rfind(b"\r") + 1], arrival)
            when_s = (
                voice.time_s if arrival_s is None else arrival_s if stamp_s is None or stamp_s.is_integer() else stamp_s
            )
            is_beside_bar = text is not states and is_cleared(states)
            found_here = voice.numbers.points(plain_of(said), when_s, is_beside_bar=is_beside_bar)
            if voice.numbers.is_redrawn:
                found_here = unsaid(found_here, points)
            if found_here and stamp_s is not None and stamp_s.is_integer():
                coarse.append(StampedLine(len(points), len(points) + len(found_here), stamp_s))
            points += found_here
        return [*records, *self._told(spread(points, coarse, arrival)), *self._unit_news(wants_numbers)]

    def _told(self, points: Sequence[Points]) -> list[Points]:
        """What may be told now, given what was found."""
        told, elsewhere = self._early.take(self._placed(points)), self._elsewhere()
        if told and self._own.numbers is not None and self._is_coarse(self._own.numbers.unit):
            told = [one if one.time_s is None else one._replace(step=None) for one in told]
        return [rest for one in told if (rest := without(one, elsewhere)) is not None] if elsewhere else told

    def _takes_numbers(self) -> bool:
        """Whether the lines' numbers are read; if not, those that wait are dropped."""
        if self._wants_numbers():
            return True
        self._early.drop()
        return False

    def _unit_news(self, wants_numbers: bool) -> list[RunInfo]:
        """What a step of the run is, where the lines count by something else: epochs, generations."""
        is_told = wants_numbers and self._early.is_over
        unit = self._own.numbers.unit if self._own.numbers and is_told else ""
        if unit == self._told_unit:
            return []
        self._told_unit, self._unit = unit, unit or STEP
        news = self._take_unit(unit)
        return [] if news is None else [RunInfo(self._run, news)]

    def parse_states(self, data: bytes, arrival: Arrival | None) -> list[Points]:
        """The metrics in the states of a progress bar that newer ones have replaced: they are no lines."""
        return self._told(self._of_states(data, arrival)) if self._takes_numbers() else []

    def _of_states(self, data: bytes, arrival: Arrival | None) -> list[Points]:
        drawn = [
            state
            for state in with_returns(data.decode("utf-8", "replace")).split("\r")
            if "/" in state or "it [" in state
        ]
        begun = [beginning_of(state) for state in drawn]
        states = [
            state
            for state, (title, count), (later, its) in zip(drawn, begun, [*begun, ("", "")][1:], strict=True)
            if not count or count != its or title == later  # set back before it has the title of the next epoch
        ]
        found: list[Points] = []
        for place, state in enumerate(states, 1):
            speaker = self._speaker(state)
            if speaker.voice.numbers is not None:
                when_s = arrival.at(place, len(states)) if arrival else None
                here = speaker.voice.numbers.points(plain_of(speaker.said), when_s)
                found += unsaid(here, found) if speaker.voice.numbers.is_redrawn else here
        return found

    def _placed(self, points: Sequence[Points]) -> list[Points]:
        """What has neither a step nor a time has that of its file."""
        return [
            one._replace(time_s=self._mtime_s) if one.step is None and one.time_s is None else one for one in points
        ]

    def _speaker(self, text: str) -> LineAuthor:
        """Who has written a line, and what."""
        if text.startswith("["):
            rank, rest = split_rank(text)
            if rank is not None:
                return LineAuthor(rank, self._voice_of(rank), rest, rest)
        elif "pid=" in text[:LONGEST_WORKER] and (worker := split_worker(text)) is not None:
            return LineAuthor(self._rank, self._voice_of_worker(worker.name), text, worker.text, worker.is_repeated)
        elif ": " in text[:LONGEST_TASK] and (task := self._tasks.split(text)) is not None:
            return LineAuthor(task[0], self._voice_of(task[0]), text, task[1])
        return LineAuthor(self._rank, self._own, text, text)

    def _stamp(self, said: str, arrival: Arrival | None, arrival_s: float | None, voice: RankState) -> float | None:
        """The line's own time, which the lines after it may share."""
        now_s = self._mtime_s if arrival_s is None else arrival_s
        stamp_s = time_of(plain_of(said).lstrip(), now_s, is_past=arrival_s is None)
        if stamp_s is not None:
            voice.stamped(stamp_s, arrival)
        elif arrival_s is not None and voice.time_s is not None and arrival_s - voice.time_s > CONTINUATION_S:
            voice.time_s = None  # printed long after the last stamped line: not part of it
        return stamp_s

    def _line(self, speaker: LineAuthor, is_stamped: bool, arrival: Arrival | None, arrival_s: float | None) -> LogLine:
        plain, voice = plain_of(speaker.said), speaker.voice
        level = voice.entry.level(plain, level_of(plain.lstrip()), is_stamped, arrival_s)
        return LogLine(
            self._run, self._file, self._time_s(voice, arrival, arrival_s), level, speaker.text, speaker.rank
        )

    def _structured(
        self,
        line: structured_lines.StructuredLine,
        arrival: Arrival | None,
        arrival_s: float | None,
        speaker: LineAuthor,
    ) -> list[LogLine]:
        """Its message with its fields, and the lines of its traceback."""
        voice = speaker.voice
        if line.time_s is not None and line.time_s <= (self._mtime_s if arrival_s is None else arrival_s) + DAY_S:
            voice.stamped(line.time_s, arrival)
        time_s = self._time_s(voice, arrival, arrival_s)
        voice.entry.blank()
        return [
            LogLine(self._run, self._file, time_s, line.level, text, speaker.rank)
            for text in structured_lines.shown(line)
        ]

    def _time_s(self, voice: RankState, arrival: Arrival | None, arrival_s: float | None) -> float:
        if voice.time_s is not None:
            return voice.at(arrival, arrival_s)
        return self._mtime_s if arrival_s is None else arrival_s

    def _voice_of(self, rank: int) -> RankState:
        """Of more ranks than are remembered, each line stands alone and has no metrics."""
        if rank == 0:
            return self._own
        if rank not in self._voices:
            if len(self._voices) >= MAX_RANKS:
                return RankState({}, None)
            self._voices[rank] = self._voice(rank, {})
        return self._voices[rank]

    def _voice_of_worker(self, name: str) -> RankState:
        """The first worker that speaks is the run's own voice; each other one has its own."""
        self._worker = self._worker or name
        if name == self._worker:
            return self._own
        if name not in self._workers:
            if len(self._workers) >= MAX_RANKS:
                return RankState({}, None)
            self._workers[name] = self._voice(name, {})
        return self._workers[name]

    def _voice(self, rank: int | str, state: Mapping[str, Any]) -> RankState:
        return RankState(state, self._make_numbers(rank, state) if self._make_numbers else None)


class LineAuthor(NamedTuple):
    """Who has written a line."""

    rank: int | None
    voice: RankState
    text: str  # that is shown
    said: str  # without what a launcher writes in front of it
    is_repeated: bool = False  # it stands for lines of others


class RankState:
    """Parser state carried to the rank's next line."""

    def __init__(self, state: Mapping[str, Any], numbers: TextNumbers | None) -> None:
        self.time_s: float | None = state.get("time_s")  # the newest stamp, while lines without one belong to it
        self.arrival: Arrival | None = None  # of the batch that it stood in
        self.entry = EntryTracker(state.get("entry"))
        self.numbers = numbers

    def stamped(self, time_s: float, arrival: Arrival | None) -> None:
        self.time_s, self.arrival = time_s, arrival

    def at(self, arrival: Arrival | None, arrival_s: float | None) -> float:
        """When a line without a stamp was printed: with the stamped line where they arrived together, else as long after it as it arrived."""
        assert self.time_s is not None
        if self.arrival is None or arrival_s is None or arrival is self.arrival:
            return self.time_s
        return self.time_s + max(0.0, arrival_s - self.arrival.until_s)

    def state(self) -> dict[str, Any]:
        numbers = self.numbers.state() if self.numbers else {}
        return {"time_s": self.time_s, "entry": self.entry.state(), **numbers}


def unsaid(found: Sequence[Points], before: list[Points]) -> list[Points]:
    """What has no place among the last of `before` yet: the others take the place of the same series at the same step."""
    fresh: list[Points] = []
    for one in found:
        same = (one.names, one.labels, one.step)
        place = next(
            (
                i
                for i in range(len(before) - 1, max(len(before) - LOOK_BACK, 0) - 1, -1)
                if (before[i].names, before[i].labels, before[i].step) == same
            ),
            None,
        )
        if place is None:
            fresh.append(one)
        else:
            before[place] = one
    return fresh


def without(points: Points, names: Collection[str]) -> Points | None:
    """Without the values of these names; None where nothing is left."""
    kept = [(name, value) for name, value in zip(points.names, points.values, strict=True) if name not in names]
    if len(kept) == len(points.names):
        return points
    return (
        points._replace(names=tuple(name for name, _ in kept), values=tuple(value for _, value in kept))
        if kept
        else None
    )


def plain_of(text: str) -> str:
    """Without colours."""
    return ANSI.sub("", text) if "\x1b" in text else text


def with_returns(text: str) -> str:
    """A bar that goes back by backspaces, as Keras's did, as one that goes back by carriage returns."""
    return BACKSPACES.sub("\r", text) if "\b" in text else text


def is_cleared(states: str) -> bool:
    """Whether a bar was wiped out before the last of these states was written, as tqdm does for a line of others."""
    *before, _ = states.rstrip("\r").rsplit("\r", 2)
    return len(before) > 1 and not plain_of(before[-1]).strip() and bool(before[-1])


def last_state(text: str) -> str:
    """A progress bar rewrites its line after a carriage return: the last state that shows anything is kept."""
    if "\r" not in text:
        return text
    return next((part for part in reversed(text.split("\r")) if part.strip()), "")


def time_of(text: str, near_s: float, *, is_past: bool = False) -> float | None:
    """The line's own leading time stamp, Unix seconds; local zone unless it says. A stamp without a date is of the day of `near_s`.

    With `is_past`, `near_s` is when the last line of its file was written: one without a date is of the day that ends then.

    `2026-11-24 16:22:01,500 ...`, `[16:22:01] ...`, `11/24/2026 16:22:01 - INFO ...`, `I1124 16:22:01.500000 ...`

    None, too, for a stamp that no clock can have meant: before the year 2000, or more than a day after `near_s`.
    """
    stamp_s = _stamp(text, near_s, LATE_S if is_past else DAY_S / 2)
    return stamp_s if stamp_s is not None and FIRST_S <= stamp_s <= near_s + DAY_S else None


def _stamp(text: str, near_s: float, ahead_s: float) -> float | None:
    """One without a date lies at most `ahead_s` after `near_s`, and less than a day before that."""
    if glog := GLOG.match(text):
        year = _moment(near_s).year
        stamps = [
            _seconds(f"{of}-{glog['month']}-{glog['day']}", glog["time"], glog["fraction"], None)
            for of in (year, year - 1)
        ]
        if stamps[1] is not None and abs(near_s - stamps[1]) < HALF_YEAR_S:  # written before New Year, read after it
            return stamps[1]
        return stamps[0]
    found = STAMP.match(text)
    if found is None:
        return None
    half = NOON.match(text, found.end())
    time = _of_day(found["time"], half[1]) if half else found["time"]
    if found["date"]:
        return _seconds(_iso_date(found["date"]), time, found["fraction"], found["zone"])
    stamp = _seconds(_moment(near_s).date().isoformat(), time, found["fraction"], found["zone"])
    if stamp is not None and stamp > near_s + ahead_s:  # written before midnight, read after it
        stamp -= DAY_S
    return stamp


def _moment(time_s: float) -> datetime.datetime:
    """Local; a file's own time may be any number."""
    return datetime.datetime.fromtimestamp(min(max(time_s, FIRST_S), MAX_TIME_S))


def level_of(text: str) -> int:
    """The first level word near the start of a line, as a number of `logging`; 0 where there is none."""
    if glog := GLOG.match(text):
        return GLOG_LEVELS[glog["level"]]
    found = LEVEL.search(text[:LOOK_FOR_LEVEL])
    return LEVELS[found[1]] if found else 0


def _of_day(time: str, half: str) -> str:
    """`("09:00:00", "P") -> "21:00:00"`; an hour that a day of twelve hours lacks stays."""
    hour = int(time[:2])
    return f"{hour % 12 + (12 if half == 'P' else 0):02}{time[2:]}" if 1 <= hour <= 12 else time


def _iso_date(text: str) -> str:
    if text[2] == "/":  # month/day/year, as in Hugging Face's examples
        month, day, year = text.split("/")
        return f"{year}-{month}-{day}"
    return text.replace("/", "-")


def _seconds(date: str, time: str, fraction: str | None, zone: str | None) -> float | None:
    try:
        moment = datetime.datetime.fromisoformat(f"{date}T{time}.{(fraction or '0')[:6]:0<6}{zone or ''}")
        return moment.timestamp()
    except (ValueError, OverflowError):  # 25:61:00, a 31 February, or the year 1
        return None
