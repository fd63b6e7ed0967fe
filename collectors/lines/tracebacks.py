"""Tracebacks and dumps of `faulthandler` in the lines of a log: chained, grouped, behind prefixes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ..records import LogLine, Searched

HEAD = re.compile(  # times, levels and ranks in front of a message
    r"^(?>[\[(<|{]?(?:[:.,TZ/+-]*#[#:.,TZ/+-]*+|(?:DEBUG|INFO|WARN(?:ING)?|ERROR|CRITICAL|FATAL|NOTSET)|(?:rank|local_rank|default)\s?#)[\])>|}:]*+[\s|\]:-]*+)++",
    re.IGNORECASE,
)
CLOCK = re.compile(r"[\[(]?#(?:[-/:.,TZ+ ]*#){2,}+")  # a date, a time of day: three numbers or more in one
PLACE = "#"  # of a number
BEFORE_NUMBERS, BEHIND_NUMBERS = " \t\n\r\f\v:=,([#", " \t\n\r\f\v#)].,%:"
MAX_WORD_CHARACTERS = 70


def message_of(text: str) -> str:
    """Without the head and without what follows the last constant word: `"# INFO retrying shard #" -> "retrying shard"`."""
    bare = HEAD.sub("", text).strip() or text.strip()
    behind = bare[len(bare.rstrip(BEHIND_NUMBERS)) :]
    if PLACE in behind:
        bare = bare[: len(bare) - len(behind) + behind.index(PLACE)].rstrip(BEFORE_NUMBERS) or bare
    return f"{bare[:MAX_WORD_CHARACTERS].rsplit(' ', 1)[0]} …" if len(bare) > MAX_WORD_CHARACTERS else bare


def shortened(text: str, most: int) -> str:
    """At most `most` characters: a longer text ends with a whole word, where it has short ones, and an ellipsis."""
    if len(text) <= most:
        return text
    words, _, rest = text[:most].rpartition(" ")
    kept = words if len(rest) < most // 2 else text[: most - 1]
    return f"{kept.rstrip(' ,;:')}…"


def fields_of_clock(text: str) -> int:
    """How many of the first numbers are the time of the line, which is another one in each: 6 of `"#-#-# #:#:# step #"`."""
    found = CLOCK.match(text)
    return found[0].count(PLACE) if found else 0


def word_before(text: str, field: int) -> str:
    """The word in front of a number: `"loss"` for number 1 of `"step #: loss #"`; "" where there is none."""
    words = re.findall(r"[A-Za-z_][\w/.]*", text.split(PLACE)[field])
    return words[-1] if words else ""


# Tracebacks and dumps of `faulthandler` in the lines of a log: chained, of exception groups, behind prefixes, with messages of several lines.

TRACEBACK = "Traceback (most recent call last):"
CHAINED = ("During handling of the above exception, another", "The above exception was the direct cause of")
FRAME = re.compile(r'\s*File "(?P<file>[^"]+)", line (?P<line>\d+)(?:, in (?P<function>.+))?\s*$')
DUMPED = re.compile(r'\s*File "(?P<file>[^"]+)", line (?P<line>\d+) in (?P<function>.*\S)\s*$')
FATAL = re.compile(r"Fatal Python error: (?P<what>.*\S)")
THREAD = re.compile(r"(?P<current>Current t|T)hread 0x[0-9a-f]+.*\(most recent call first\):")
RAISED = re.compile(r"(?P<name>[A-Za-z_][\w.]*(?:<locals>[\w.]*)?)(?:: (?P<message>.*))?$")
GROUP = re.compile(r"\s{1,2}(?:\| ){0,40}\+ Exception Group Traceback")
MARGIN = re.compile(r"^\s+(?:[|+] ?)+(?:-[-+ ]*)?")  # of an exception group
RULE = re.compile(r"\s+(?:\| )*\+-[-+]+(?: (?:[\d.]+|\.\.\.) -+)?\s*$")
DIGIT = re.compile(r"\d")
MARKS = re.compile(r"\s*[\^~][\^~ ]*$")
TRACEBACKS_HEAD = re.compile(  # a line of its own: it begins with a time, a level or a glog stamp
    r"[\[(]?(?:\d{4}[-/]\d\d[-/]\d\d|\d\d:\d\d:\d\d|[IWEF]\d{4} \d\d:)|\[?(?:DEBUG|INFO|WARN(?:ING)?|ERROR|CRITICAL|FATAL)\b"
)
ROOTS = ("<module>", "_run_module_as_main", "")  # where an exception that nobody caught begins; "" of a syntax error
ASIDE = re.compile(  # what stands above the traceback of an exception that ends no program
    r"Exception ignored |Exception in thread |Exception in callback |Process \S+:\s*$|Task exception was never retrieved"
    r"|future: <|--- Logging error ---"
)
MAX_FRAMES, MAX_MESSAGE_LINES = 200, 30
TOGETHER_S = 5.0  # between two lines of a traceback, at most
STEPS, BUFFERED_S = 3, 1.0  # buffered lines without a time are spread over so long, as they are read


class CrashFrame(NamedTuple):
    """A frame as a log shows it."""

    file: Searched
    line: int
    function: Searched  # "" of a syntax error
    text: Searched = ""  # the source line, "" where the log has none


class ExceptionRecord(NamedTuple):
    """One exception of a traceback, or the dump of a fatal error."""

    exception: str  # its name; "" where the log ends before it
    message: str  # lines joined with line breaks
    frames: tuple[CrashFrame, ...]  # from the root to the leaf


class Traceback(NamedTuple):
    """A traceback with those that led to it: the last of `raised` is what ended the program; of a group, its parts follow it."""

    raised: tuple[ExceptionRecord, ...]
    parts: tuple[ExceptionRecord, ...]  # the exceptions in a group
    lines: tuple[LogLine, ...]
    is_dump: bool = False  # of faulthandler: `exception` is the fatal error

    @property
    def last(self) -> ExceptionRecord:
        return self.raised[-1]

    @property
    def is_uncaught(self) -> bool:
        """Whether it begins where the program does: what is caught and printed begins in the function that caught it."""
        frames = self.last.frames
        return self.is_dump or not frames or frames[0].function in ROOTS

    @property
    def time_s(self) -> float:
        return self.lines[0].time_s

    @property
    def rank(self) -> int | None:
        return self.lines[0].rank


def tracebacks(lines: Sequence[LogLine]) -> list[Traceback]:
    """In the order of their first lines. Lines of several files and ranks may stand in turn."""
    voices: dict[tuple[str, str, int | None], list[tuple[int, LogLine]]] = {}
    for place, line in enumerate(lines):
        voices.setdefault((line.run, line.file, line.rank), []).append((place, line))
    found = [pair for voice in voices.values() for pair in _of_voice(voice)]
    return [traceback for _, traceback in sorted(found, key=lambda pair: pair[0])]


def makes_steps(stepped_s: Sequence[float]) -> bool:
    """Whether steps that were logged after a traceback, in order of time, are those of a program that went on: a thread that logs may
    write a step or two after a crash, and what was buffered comes at once."""
    return len(stepped_s) >= STEPS and stepped_s[-1] - stepped_s[0] > BUFFERED_S


def _of_voice(voice: Sequence[tuple[int, LogLine]]) -> Iterator[tuple[int, Traceback]]:
    at = 0
    while at < len(voice):
        place, line = voice[at]
        lines = [line for _, line in voice[at : at + 40 * MAX_FRAMES]] if _begins(line.text) else []
        reader = _Reader(lines)
        found = None if not lines else reader.traceback() if TRACEBACK in line.text else reader.dump()
        if found is not None:
            yield place, found
        at += max(1, reader.at)


def _begins(text: str) -> bool:
    return TRACEBACK in text or "Fatal Python error: " in text or THREAD.match(text) is not None


class _Reader:
    """The lines of one voice from the beginning of a traceback on."""

    def __init__(self, lines: Sequence[LogLine]) -> None:
        self.lines, self.at, self.prefix = lines, 0, ""

    def dump(self) -> Traceback | None:
        """`Fatal Python error: ...` and the threads below it; without it, a dump that was asked for, such as that of a time-out."""
        what, message = "", ""
        current: list[CrashFrame] = []
        others: list[ExceptionRecord] = []
        frames: list[CrashFrame] | None = None
        while (line := self._next()) is not None:
            fatal, thread, frame = FATAL.search(line.text), THREAD.match(line.text), DUMPED.match(line.text)
            if fatal and not what and self.at == 0:
                what, _, message = fatal["what"].partition(": ")
            elif thread:
                frames = []
                if thread["current"] == "Current t" or not current:
                    current = frames
                else:
                    others.append(ExceptionRecord("", line.text, ()))
            elif frame and frames is not None and len(frames) < MAX_FRAMES:
                frames.append(CrashFrame(frame["file"], int(frame["line"]), frame["function"]))
            elif not line.text.startswith((" ", "<", "Python runtime state", "Extension modules", "Stack (most")):
                break
            self.at += 1
        if not what and not current:
            return None
        raised = ExceptionRecord(what or "stack dump", message, tuple(reversed(current)))
        return Traceback((raised,), tuple(others), tuple(self.lines[: self.at]), is_dump=True)

    def traceback(self) -> Traceback | None:
        """With those that are chained to it."""
        chain: list[ExceptionRecord] = []
        parts: list[ExceptionRecord] = []
        while (line := self._next()) is not None and TRACEBACK in line.text:
            self.prefix = line.text[: _beginning(line.text)]
            if GROUP.search(line.text):
                raised, inner = self._group()
                parts += inner
            else:
                self.at += 1
                raised = self._raised()
            chain.append(raised)
            self._skip_blank()
            after = self._next()
            if after is None or not self._bare(after.text).startswith(CHAINED):
                break
            self.at += 1
            self._skip_blank()
        if not chain or not (chain[-1].exception or chain[-1].frames):
            return None
        return Traceback(tuple(chain), tuple(parts), tuple(self.lines[: self.at]))

    def _raised(self) -> ExceptionRecord:
        frames = []
        while (line := self._next()) is not None and self._bare(line.text)[:1] in (" ", "\t", ""):
            frames.append(self._bare(line.text))
            self.at += 1
        if line is None or self._is_head(line.text):
            return ExceptionRecord("", "", _frames(frames))
        name, message = _named(self._bare(line.text))
        level, words = line.level, [message]
        self.at += 1
        while (line := self._next()) is not None and len(words) < MAX_MESSAGE_LINES:
            bare = self._bare(line.text)
            if (
                self._is_head(line.text)
                or TRACEBACK in bare
                or not bare.strip()
                or bare.startswith(CHAINED)
                or line.level < level
            ):
                break
            words.append(bare.rstrip())
            self.at += 1
        return ExceptionRecord(name, "\n".join(words).strip(), _frames(frames))

    def _group(self) -> tuple[ExceptionRecord, list[ExceptionRecord]]:
        """An exception group and, in order, all exceptions in it. A message's further lines have no margin."""
        begun = self.at
        last = begun
        while (line := self._next()) is not None and self.at - last <= MAX_MESSAGE_LINES:
            if MARGIN.match(self._bare(line.text)):
                last = self.at
            elif TRACEBACK in line.text or self._is_head(line.text):
                break
            self.at += 1
        self.at = last + 1
        sections: list[list[str]] = [[]]
        for text in (self._bare(line.text) for line in self.lines[begun : self.at]):
            if RULE.match(text):
                sections.append([])
            elif TRACEBACK not in text:
                sections[-1].append(MARGIN.sub("", text, count=1))
        found = [_section(section) for section in sections if section] or [ExceptionRecord("", "", ())]
        return found[0], found[1:]

    def _skip_blank(self) -> None:
        """Lines of the prefix alone: empty lines themselves are no lines of a log."""
        while (line := self._next()) is not None and not self._bare(line.text).strip():
            self.at += 1

    def _next(self) -> LogLine | None:
        """None at the end, and where the next line came much later."""
        if self.at >= len(self.lines):
            return None
        line = self.lines[self.at]
        if self.at and line.time_s - self.lines[self.at - 1].time_s > TOGETHER_S:
            return None
        return line

    def _bare(self, text: str) -> str:
        """Without the prefix that the traceback's first line has."""
        own = text[: len(self.prefix)]
        return (
            text[len(self.prefix) :]
            if own == self.prefix or DIGIT.sub("0", own) == DIGIT.sub("0", self.prefix)
            else text
        )

    def _is_head(self, text: str) -> bool:
        """Whether it is a line of its own: the log's prefix is no sign of one where each line of the traceback has it."""
        return TRACEBACKS_HEAD.match(self._bare(text)) is not None


def _beginning(text: str) -> int:
    """Where a traceback begins in its first line: what stands before it is the log's prefix."""
    group = GROUP.search(text)
    return group.start() if group else text.index(TRACEBACK)


def _section(texts: Sequence[str]) -> ExceptionRecord:
    """The lines of one exception of a group, without margins."""
    end = next((i for i, text in enumerate(texts) if text[:1] not in (" ", "")), len(texts))
    if end == len(texts):
        return ExceptionRecord("", "", _frames(texts))
    name, message = _named(texts[end])
    words = [message, *texts[end + 1 :]][:MAX_MESSAGE_LINES]
    return ExceptionRecord(name, "\n".join(words).strip(), _frames(texts[:end]))


def _named(text: str) -> tuple[str, str]:
    """`"ValueError: bad label" -> ("ValueError", "bad label")`"""
    found = RAISED.match(text)
    return (found["name"], found["message"] or "") if found else ("", text)


def _frames(texts: Sequence[str]) -> tuple[CrashFrame, ...]:
    frames: list[CrashFrame] = []
    for text in texts:
        if frame := FRAME.match(text):
            frames.append(CrashFrame(frame["file"], int(frame["line"]), frame["function"] or ""))
        elif frames and not frames[-1].text and not MARKS.match(text) and not text.strip().startswith("[Previous line"):
            frames[-1] = frames[-1]._replace(text=text.strip())
    return tuple(frames[-MAX_FRAMES:])
