"""Findings about the life of a run: it ended badly, is silent, or hangs."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterator, Sequence
from typing import Literal, NamedTuple, TypeAlias

import numpy as np

from collectors.lines.tracebacks import shortened
from collectors.machine.run_state import SEEN, is_silent, last_sign_s, run_ended_s, run_started_s
from collectors.message import Message, Value, counted, phrase
from collectors.records import Frame
from collectors.store.store import StackColumns, TooMuch

from ..dumps import MemorySnapshot, flight_late_sentence, flight_sentence
from ..ledger.evidence import StackState, stands_of
from ..logs.crash import AROUND_S, XIDS, Fault, crash_of
from ..stacks.frames import are_own, file_name
from ..stacks.spans import Interval, LastStack, TrustedSpans, last_stacks
from ..stacks.trust import LineOf, no_source, trusted_spans
from ..stacks.wait_joins import PROCESSES
from ..stacks.waits import WaitFunction, wait_at, wait_of, waiting
from . import rule
from .cards import OF_A_CRASH
from .rule import CodeLocation, Detection, RunSubject, at_step
from .spinning_cards import spinning_cards, step_silent_s, uses
from .training import is_placeholder

# What a living run is at, besides its steps: by its newest event, its lines and where its ranks' main threads stand, and whether anything moves.

Standing: TypeAlias = Literal[
    "starting", "compiling", "validating", "checkpointing", "waiting", "idle", "silent", "hung"
]
STILL_S = 60.0  # of stacks, at most, that say where a rank stands
PAUSE_S, PAUSES = 5.0, 3.0  # without a line, or so many usual intervals: what it is at is looked up
STARTS_WITHIN_S = 1800.0  # a script that has made no step for longer may make none at all
AT_WORK: dict[str, Standing] = {"compile": "compiling", "validation": "validating", "checkpoint": "checkpointing"}

MIN_SHARE = 0.9  # of the time, in which a thread has to be seen at one place
MAX_STACKS, MAX_FRAMES = 64, 60


class Activity(NamedTuple):
    """Since when, Unix seconds: its last line, or the start of its newest attempt."""

    word: Standing
    since_s: float


def doing_of(subject: RunSubject, holding: Collection[str]) -> Activity | None:
    """None while it makes steps, where nothing says what it is at, and of a run that is over. `holding` are the rules that hold of it."""
    silent_s = silent_for_s(subject)
    if silent_s is None or subject.state is None or subject.activity is None:
        return None
    since_s = subject.now_s - silent_s
    if "hung" in holding:
        return Activity("hung", since_s)
    if "spinning" in holding:
        return Activity("waiting", since_s)
    begun_s = _waits_for_first_step(subject)
    usual_s = subject.interval_s() or subject.activity.median_interval_s or 0.0
    if begun_s is None and silent_s <= max(PAUSE_S, PAUSES * usual_s):
        return None
    word = word_by_stacks(subject, (max(subject.now_s - STILL_S, since_s), subject.now_s))
    works = word is not None and word in AT_WORK.values()
    if begun_s is not None:
        return Activity(word if word is not None and works else "starting", begun_s)
    return Activity(word or "silent", since_s) if works or subject.state.state == "stalled" else None


def _waits_for_first_step(subject: RunSubject) -> float | None:
    """When its newest attempt began, where that has said so itself, is young and has made no step."""
    begun_s = max((event.time_s for event in subject.of_kind("start")), default=None)
    if begun_s is None or not 0 <= subject.now_s - begun_s < STARTS_WITHIN_S:
        return None
    stepped = any(float(track.time_s[-1]) >= begun_s for _, _, track in subject.named(lambda name: name == "steps"))
    return None if stepped else begun_s


def standing_word(subject: RunSubject) -> Standing:
    """What a run that says nothing is at."""
    if last_step(subject) is None:
        return "starting"
    return word_by_stacks(subject, (subject.now_s - STILL_S, subject.now_s)) or "silent"


def word_by_stacks(subject: RunSubject, window: Interval) -> Standing | None:
    """By where most of the window was spent; None where the stacks show none of it."""
    try:
        ranks = standing_of(subject.history.stacks(window), subject.history.folder(), subject.line_of)
    except TooMuch:
        return None
    kinds = {rank.stand.kind for rank in ranks}
    at_work = next((word for kind, word in AT_WORK.items() if kind in kinds), None)
    if at_work is not None:
        return at_work
    asleep = [rank for rank in ranks if rank.wait is not None and rank.wait.joined in ("", "sleep")]
    return "idle" if ranks and len(asleep) == len(ranks) else None


def silent_for_s(subject: RunSubject) -> float | None:
    """Since its last sign; None for a run that has ended or of which no process is known."""
    if subject.activity is None or subject.state is None:
        return None
    if subject.state.state not in ("running", "stalled") or not subject.processes:
        return None
    sign_s = last_sign_s(subject.activity, subject.now_s)
    return subject.now_s - sign_s if sign_s else None


def last_step(subject: RunSubject) -> int | None:
    """Also where it was made before the points that are at hand: a collector that starts again looks back for half an hour only."""
    newest = [track.last() for (name, _), track in subject.tracks.items() if name == "steps" and len(track)]
    known = [step for step in newest if step is not None and math.isfinite(step)]
    return int(max(known)) if known else subject.history.last_step


class RankStackState(NamedTuple):
    """One rank's main thread over a window."""

    rank: int
    pid: int
    stand: StackState
    wait: WaitFunction | None
    frames: list[Frame]  # from the root to the leaf
    still: bool  # one place for nearly all of the time
    seconds: float  # of stacks

    @property
    def in_collective(self) -> bool:
        return self.stand.kind == "collective" or (self.wait is not None and self.wait.joined == "ranks")

    @property
    def where(self) -> str:
        """`train.py:88 load`."""
        frame = self.stand.frame or (self.frames[-1] if self.frames else None)
        return f"{file_name(frame.file)}:{frame.line} {frame.name.rpartition('.')[2]}" if frame else "an unknown place"


def standing_of(columns: StackColumns, own_folder: str, line_of: LineOf = no_source) -> list[RankStackState]:
    """By rank; the place is that in which most of the time was spent."""
    spans = trusted_spans(columns, line_of)
    found = []
    for number, (_, rank, pid, role) in enumerate(spans.processes):
        if role != "main":
            continue
        mine = spans.take(spans.main & (spans.process == number))
        if len(mine.start_s):
            found.append(_standing(mine, rank, pid, own_folder, line_of))
    return sorted(found, key=lambda standing: (standing.rank, standing.pid))


def _standing(mine: TrustedSpans, rank: int, pid: int, own_folder: str, line_of: LineOf) -> RankStackState:
    seconds = np.bincount(mine.stack, mine.seconds, len(mine.stacks))
    most = int(np.argmax(seconds))
    stand = stands_of(
        mine._replace(stacks=[mine.stacks[most]], trusted=mine.trusted[most : most + 1]), own_folder, line_of
    )[0]
    frames = [mine.frames[i] for i in mine.stacks[most]]
    waits = [wait_of(frame) for frame in frames]
    known = waiting(waits)
    wait = known.wait if known else (wait_at(line_of(frames[-1].file, frames[-1].line)) if frames else None)
    total_s = float(seconds.sum())
    return RankStackState(rank, pid, stand, wait, frames, float(seconds[most]) >= MIN_SHARE * total_s, total_s)


def stacks_as_json(columns: StackColumns) -> list[dict[str, object]]:
    """The last stack of each thread of each rank, for a finding's fields."""
    return [_as_json(last) for last in last_stacks(columns)[:MAX_STACKS]]


def _as_json(last: LastStack) -> dict[str, object]:
    frames = last.frames[-MAX_FRAMES:]
    return {
        "rank": last.process.rank,
        "pid": last.process.pid,
        "role": last.process.role,
        "thread": last.thread,
        "frames": [[frame.name, frame.file, frame.line] for frame in frames],
    }


FRESH_S = 3600.0  # an end that was longer ago is no news
SPINS_S = 15.0  # of stacks, that say where the ranks stand whose cards spin
HUNG_S, INTERVALS = 300.0, 20.0
SILENT_S = 1800.0
QUIET_CPU = 5.0  # percent of a core, of a rank with its children
BEGUN_ONCE = {
    "validating": "validation",
    "checkpointing": "checkpoint",
}  # the first of an event's kind may take any time
IDLE = 5.0  # percent, of a card
MISSED_S = 900.0  # ends so long before the run was looked at are news: the collector was away
XID_NEAR_S = 30.0
NUMBERS_S = 5.0  # from the end of a program to the first numbers of its text in the store, at most
BACK_S = 1800.0
OUT_OF_MEMORY = re.compile(r"(?i)out ?of ?memory")
MAX_TEXT = 300
LAST_LINES = 400  # of a log, which say why the run failed
REGULAR_LINES, REGULAR, REGULAR_S = (
    40,
    3.0,
    0.1,
)  # lines that came in like distances: nine of ten within so many medians
FROM_OUTSIDE = re.compile(
    r"\b(input|\w*prompt|getpass|readlines?|stdin|accept|select|poll|pause|sigwait\w*|\w*sleep|serve\w*|\w*forever|mainloop|show"
    r"|breakpoint|set_trace|waitpid|wait[34]?)\b|\bos\.wait"
)  # a call that waits for a user, a client, a child or the time

Progress: TypeAlias = Literal["regular", "some", "none"]
"""Steps or lines that came regularly; a main thread that did one thing and another; neither."""


def crash(subject: RunSubject) -> Iterator[Detection]:
    """It failed or was killed: with the reason that its log, its exit status or the kernel gives."""
    state = subject.state
    if state is None or state.state not in ("failed", "killed"):
        return
    ended_s = _newly_ended_s(subject)
    if ended_s is None or _may_go_on(subject) or _awaits_records(subject, ended_s):
        return
    step, cause = last_step(subject), _cause(subject, ended_s)
    reason = shortened((cause.sentence if cause else state.reason).rstrip("."), MAX_TEXT) or phrase("nothing says why")
    frame = cause.own_frame if cause else None
    values: dict[str, Value] = {"at": at_step(step), "reason": reason, "xid": _xid_at(subject, ended_s)}
    yield Detection(
        phrase("The run failed{at}: {reason}{xid}.", **values)
        if state.state == "failed"
        else phrase("The run was killed{at}: {reason}{xid}.", **values),
        ended_s,
        ended_s,
        key=_attempt(subject),
        moment=True,
        step=step,
        place=CodeLocation(frame.function, frame.file, frame.line) if frame else None,
        more={"state": state.state, "lost_s": _lost_s(subject, ended_s), "snapshot": _snapshot(subject, ended_s)},
    )


def _cause(subject: RunSubject, ended_s: float) -> Fault | None:
    """What its last lines say of a run that failed, the same as on its pages; read once. Of one that was killed they are not the reason."""
    if subject.state is None or subject.state.state != "failed":
        return None
    if subject.memory.get("cause_of") != ended_s:
        stepped_s = subject.history.stepped_since(ended_s - AROUND_S)
        crash = crash_of(subject.history.last_lines(LAST_LINES), stepped_s=stepped_s)
        subject.memory |= {"cause_of": ended_s, "cause": crash.cause if crash else None}
    found: Fault | None = subject.memory["cause"]
    return found


def _snapshot(subject: RunSubject, ended_s: float) -> MemorySnapshot | None:
    """Of a run that ran out of memory, what held it; read once."""
    if subject.state is None or not OUT_OF_MEMORY.search(subject.state.reason):
        return None
    if subject.memory.get("snapshot_of") != ended_s:
        since_s = subject.begun_s if subject.begun_s is not None else ended_s - FRESH_S
        subject.memory |= {"snapshot_of": ended_s, "snapshot": subject.snapshot(since_s, ended_s + XID_NEAR_S)}
    found: MemorySnapshot | None = subject.memory["snapshot"]
    return found


def _may_go_on(subject: RunSubject) -> bool:
    """Whether its log alone says so: a traceback that was caught is followed by lines, once the step is over."""
    if (
        subject.activity is None
        or subject.activity.ends
        or any("pid" in event.fields for event in subject.activity.exits)
    ):
        return False
    return not is_silent(subject.activity, subject.now_s)


def _xid_at(subject: RunSubject, ended_s: float) -> Message | None:
    """What the driver reported then of a program's own making."""
    for labels, track in subject.machine.named("gpu/xid"):
        near = np.abs(track.time_s - ended_s) < XID_NEAR_S
        for number in track.value[near & np.isfinite(track.value)].astype(int).tolist():
            if number in OF_A_CRASH:
                return phrase(
                    "; {gpu} reported XID {number} then{meaning}",
                    gpu=subject.machine.label_of(labels),
                    number=number,
                    meaning=phrase(": {meaning}", meaning=XIDS[number]) if number in XIDS else None,
                )
    return None


def finished(subject: RunSubject) -> Iterator[Detection]:
    """With its best value, and how long it took."""
    state = subject.state
    if state is None or state.state != "finished":
        return
    ended_s = _newly_ended_s(subject, of_last=True)
    if ended_s is None or _awaits_records(subject, ended_s):
        return
    step, took_s = last_step(subject), _took_s(subject)
    parts = [
        phrase("after {took_s:spoken}", took_s=took_s) if took_s else None,
        phrase("at step {step:,}", step=step) if step is not None else None,
        _best(subject),
    ]
    known = [part for part in parts if part is not None]
    yield Detection(
        phrase("The run finished {parts}.", parts=known) if known else phrase("The run finished."),
        ended_s,
        ended_s,
        key=_attempt(subject),
        moment=True,
        step=step,
        numbers={"seconds": took_s or 0.0},
    )


def not_back(subject: RunSubject) -> Iterator[Detection]:
    """Pre-empted, and no attempt has begun since."""
    state = subject.state
    if state is None or state.state != "preempted":
        return
    ended_s = _ended_s(subject) or subject.now_s
    if BACK_S < subject.now_s - ended_s < 24 * FRESH_S:
        yield Detection(
            phrase(
                "The run was stopped to make room {since_s:spoken} ago and has not come back: {reason}.",
                since_s=subject.now_s - ended_s,
                reason=state.reason.rstrip(".") or phrase("pre-empted"),
            ),
            ended_s,
            subject.now_s,
            key=f"{ended_s:.0f}",
        )


def _newly_ended_s(subject: RunSubject, *, of_last: bool = False) -> float | None:
    """None for a log that was there before: it ended a while ago, or nothing says when."""
    ended_s = _ended_s(subject, of_last=of_last)
    is_news = ended_s is not None and subject.now_s - ended_s < FRESH_S and ended_s > subject.awake_since_s - MISSED_S
    return ended_s if is_news else None


def _awaits_records(subject: RunSubject, ended_s: float) -> bool:
    """Whether its last records may still come: an end is reported once, with them, in whatever order the files are read.

    The first numbers of a text are stored later than its end.
    """
    return subject.is_behind() or (last_step(subject) is None and 0 <= subject.now_s - ended_s < NUMBERS_S)


def _attempt(subject: RunSubject) -> str:
    """The same for all ranks that end in turn: when the newest attempt of the lowest began."""
    begun = subject.of_kind("start") or subject.of_kind("process")
    lowest = min((event.rank or 0 for event in begun), default=0)
    newest_s = max((event.time_s for event in begun if (event.rank or 0) == lowest), default=None)
    return f"{newest_s:.3f}" if newest_s is not None else ""


def hung(subject: RunSubject) -> Iterator[Detection]:
    """Nothing moves: no line, no byte, no other frame, and what the run waits for is its own, or was there all the time before."""
    silent_s = None if subject.history.is_service else _silent_s(subject)
    if silent_s is None or silent_s < max(HUNG_S, INTERVALS * (subject.interval_s() or _line_interval(subject))):
        return
    window = subject.now_s - STILL_S, subject.now_s
    if not _moves_nothing(subject, window):
        return
    word = word_by_stacks(subject, window)
    if word == "compiling" or (word in BEGUN_ONCE and not subject.of_kind(BEGUN_ONCE[word])):
        return
    try:
        columns = subject.history.stacks(window)
        ranks = standing_of(columns, subject.history.folder(), subject.line_of)
        if (
            not ranks
            or not all(rank.still and rank.seconds > STILL_S / 2 for rank in ranks)
            or any(map(_is_held, ranks))
        ):
            return
        progress = _progress(subject, silent_s)
    except TooMuch:
        return
    inside = [rank for rank in ranks if rank.in_collective or (len(ranks) > 1 and _may_exchange(rank))]
    if progress == "none" or (
        not inside and not all(_is_blocked(subject, rank, last_stacks(columns), progress) for rank in ranks)
    ):
        return
    first = _who(ranks, inside)
    flight = subject.flight(subject.now_s - silent_s)
    frame = first.stand.frame
    step = last_step(subject)
    yield Detection(
        phrase(
            "The run hangs: no line for {silent_s:spoken}{since}, and nothing moves. {where}{flight}{late}",
            silent_s=silent_s,
            since=phrase(" since step {step:,}", step=step) if step is not None else None,
            where=_where(ranks, inside),
            flight=phrase(" {flight}", flight=absent) if (absent := flight_sentence(flight)) else None,
            late=phrase(" {late}", late=late) if (late := flight_late_sentence(flight)) else None,
        ),
        subject.now_s - silent_s,
        subject.now_s,
        rank=first.rank,
        step=step,
        numbers={"silent_s": silent_s},
        place=CodeLocation(frame.name, frame.file, frame.line) if frame is not None else None,
        more={
            "stacks": stacks_as_json(columns),
            "lines": [line[:MAX_TEXT] for line in list(subject.last_lines())[-8:]],
        },
    )


def _silent_s(subject: RunSubject) -> float | None:
    """Since its last line or, of a run that writes none, since its process was found."""
    known = silent_for_s(subject)
    if known is not None or subject.begun_s is None or subject.state is None or not subject.processes:
        return known
    return subject.now_s - subject.begun_s if subject.state.state in ("running", "stalled") else None


def _progress(subject: RunSubject, silent_s: float) -> Progress:
    """What is known of it from before: a run that waits from its start may wait for work, and a service for its next request.

    Raises TooMuch.
    """
    if last_step(subject) is not None:
        return "regular"
    gaps = np.diff(sorted(line.time_s for line in subject.history.last_lines(REGULAR_LINES)))
    if len(gaps) >= REGULAR_LINES // 2 and np.quantile(gaps, 0.9) <= REGULAR * max(float(np.median(gaps)), REGULAR_S):
        return "regular" if silent_s > INTERVALS * float(np.median(gaps)) else "none"
    still_from_s = subject.now_s - HUNG_S
    still, before = (
        standing_of(subject.history.stacks(part), subject.history.folder(), subject.line_of)
        for part in ((still_from_s, subject.now_s), (still_from_s - STILL_S, still_from_s))
    )
    if any(rank.seconds > STILL_S / 2 and not rank.still for rank in before):
        subject.memory["moved"] = True
    return "some" if still and all(rank.still for rank in still) and "moved" in subject.memory else "none"


def spins(subject: RunSubject) -> Iterator[Detection]:
    """Its cards are busy at little power, and no step ends."""
    found = spinning_cards(subject)
    if not found:
        return
    silent_s = step_silent_s(subject) or 0.0
    gpus, stretches = zip(*found, strict=True)
    ranks = _standing_now(subject)
    waiting = {process.rank for process in subject.processes for gpu in gpus if uses(gpu, process.pid)}
    late = [rank for rank in ranks if rank.rank not in waiting and not rank.in_collective] if len(ranks) > 1 else []
    power_w, limit_w = stretches[0].power_w, stretches[0].limit_w
    first = late[0] if late else None
    frame = first.stand.frame if first else None
    yield Detection(
        counted(
            "GPU {gpus} reports {busy_pct:percent} busy{power}, but no step has ended for {silent_s:spoken}: {waits}.",
            "GPUs {gpus} report {busy_pct:percent} busy{power}, but no step has ended for {silent_s:spoken}: {waits}.",
            len(gpus),
            gpus=[gpu.index for gpu in gpus[:8]],
            busy_pct=100 * sum(stretch.busy for stretch in stretches) / len(stretches),
            power=_power(power_w, limit_w),
            silent_s=silent_s,
            waits=_waits(late, ranks, len(gpus)),
        ),
        subject.now_s - silent_s,
        subject.now_s,
        rank=first.rank if first else None,
        step=last_step(subject),
        numbers={"gpus": float(len(gpus)), "silent_s": silent_s} | ({"power_w": power_w} if power_w == power_w else {}),
        place=CodeLocation(frame.name, frame.file, frame.line) if frame is not None else None,
        more={"gpus": [gpu.uuid for gpu in gpus]},
    )


def _standing_now(subject: RunSubject) -> list[RankStackState]:
    try:
        stacks = subject.history.stacks((subject.now_s - SPINS_S, subject.now_s))
        return standing_of(stacks, subject.history.folder(), subject.line_of)
    except TooMuch:
        return []


def _power(power_w: float, limit_w: float) -> Message | None:
    if power_w != power_w:
        return None
    if limit_w != limit_w:
        return phrase(" at {power_w:.0f} W", power_w=power_w)
    return phrase(" at {power_w:.0f} W of {limit_w:.0f} W", power_w=power_w, limit_w=limit_w)


def _waits(late: Sequence[RankStackState], ranks: Sequence[RankStackState], cards: int) -> Message:
    if late:
        each = [phrase("rank {rank}, which is at {place}", rank=rank.rank, place=rank.where) for rank in late[:4]]
        return counted("it is waiting for {each: and }", "they are waiting for {each: and }", cards, each=each)
    if ranks:
        return counted(
            "rank {rank} is waiting at {place}",
            "they are waiting, rank {rank} at {place}",
            cards,
            place=ranks[0].where,
            rank=ranks[0].rank,
        )
    return counted("it is waiting", "they are waiting", cards)


def silent(subject: RunSubject) -> Iterator[Detection]:
    """Says nothing for half an hour, where it did before, or since its start."""
    silent_s = None if subject.history.is_service else silent_for_s(subject)  # which no request may have come to
    if silent_s is None or silent_s < max(SILENT_S, INTERVALS * (subject.interval_s() or _line_interval(subject))):
        return
    yield Detection(
        _silence(standing_word(subject), silent_s),
        subject.now_s - silent_s,
        subject.now_s,
        numbers={"silent_s": silent_s},
    )


def _silence(word: Standing, silent_s: float) -> Message:
    match word:
        case "starting":
            return phrase("No line for {silent_s:spoken} since its start; its process lives.", silent_s=silent_s)
        case "idle":
            return phrase("No line for {silent_s:spoken}; its process is idle.", silent_s=silent_s)
        case "silent":
            return phrase("No line for {silent_s:spoken}; its process lives.", silent_s=silent_s)
    return phrase(
        "No line for {silent_s:spoken} while {doing}; its process lives.", silent_s=silent_s, doing=phrase(word)
    )


def _line_interval(subject: RunSubject) -> float:
    return (subject.activity.median_interval_s if subject.activity else None) or 0.0


def _moves_nothing(subject: RunSubject, window: Interval) -> bool:
    """No bytes and no work of its processes; a GPU that spins in a collective is busy, and moves nothing either.

    Where their work is not known, nothing is known.
    """
    if not any(
        len(track.since(window[0])[1]) for _, _, track in subject.named(lambda name: name == "host/run_cpu_pct")
    ):
        return False
    for name, limit in (
        ("host/run_read_bytes_per_s", 4096.0),
        ("host/run_write_bytes_per_s", 4096.0),
        ("host/run_cpu_pct", QUIET_CPU),
    ):
        for _, rank, track in subject.named(lambda known, name=name: known == name):  # type: ignore[misc]
            values = track.since(window[0])[1]
            if (
                len(values)
                and float(np.nanmean(values)) > limit
                and not (name == "host/run_cpu_pct" and _spins(subject, rank))
            ):
                return False
    return True


def _spins(subject: RunSubject, rank: int) -> bool:
    """NCCL and CUDA wait by asking again and again."""
    return bool(subject.gpus())


def _is_held(rank: RankStackState) -> bool:
    """A debugger stands in it."""
    return any(
        frame.file.endswith(("/pdb.py", "/bdb.py", "/pydevd.py")) or "/debugpy/" in frame.file for frame in rank.frames
    )


def _may_exchange(rank: RankStackState) -> bool:
    """Whether it may wait for other ranks without a call that says so: gradients are exchanged in the backward pass, and NCCL's calls
    are waited for at the next value that is read from the GPU."""
    return (
        rank.stand.opaque
        or rank.stand.kind == "sync"
        or (rank.wait is not None and rank.wait.joined in ("backward", "gpu"))
    )


def _is_blocked(subject: RunSubject, rank: RankStackState, threads: Sequence[LastStack], progress: Progress) -> bool:
    """Whether a rank waits for something that will not come.

    A lock and a device are the run's own. What comes from its workers and threads does not come while these stand, too. From a socket or
    a file it may be late; where steps or lines came regularly before, five minutes of nothing are no delay.
    """
    joined = rank.wait.joined if rank.wait is not None else ""
    mine = [thread for thread in threads if thread.process.rank == rank.rank]
    if joined in PROCESSES:
        workers = [thread for thread in mine if thread.process.role != "main" and thread.thread == "MainThread"]
        return bool(workers) and all(_has_stopped(worker) for worker in workers)
    if joined == "gpu" or rank.stand.kind == "sync":
        return not _works(subject)
    if joined in ("lock", "backward") or rank.stand.kind == "lock" or rank.stand.opaque:
        return True
    if progress != "regular":
        return False
    if joined == "threads":
        others = [
            thread for thread in mine if thread.thread != "MainThread" and _is_own(thread, subject.history.folder())
        ]
        return all(_has_stopped(thread) for thread in others)
    return _waits_for_data(rank, subject)


def _waits_for_data(rank: RankStackState, subject: RunSubject) -> bool:
    """A socket, or a call into C whose line is known and asks neither a user, nor a scheduler, nor a client."""
    if rank.wait is not None:
        return rank.wait.what == "network"
    leaf = rank.frames[-1] if rank.frames else None
    text = subject.line_of(leaf.file, leaf.line) if leaf is not None else ""
    return bool(text) and not FROM_OUTSIDE.search(text)


def _is_own(thread: LastStack, folder: str) -> bool:
    return any(are_own(list(thread.frames), folder))


def _has_stopped(worker: LastStack) -> bool:
    """It waits for a lock, or for others of the run, which wait for it."""
    known = waiting([wait_of(frame) for frame in worker.frames])
    return known is not None and known.wait.joined in (*PROCESSES, "lock", "threads")


def _works(subject: RunSubject) -> bool:
    """Whether a card of it computes: a long kernel is no hang. One that spins does not."""
    spin = {gpu.uuid for gpu, _ in spinning_cards(subject)}
    mine = [gpu for gpu in subject.gpus() if gpu.uuid not in spin]
    loads = [subject.machine.one("gpu/utilization_pct", uuid=gpu.uuid) for gpu in mine]
    return any(
        float(np.nanmax(track.since(subject.now_s - STILL_S)[1], initial=0.0)) > IDLE
        for track in loads
        if track is not None
    )


def _who(ranks: Sequence[RankStackState], inside: Sequence[RankStackState]) -> RankStackState:
    """The first that did not come to where the others wait."""
    return next((rank for rank in ranks if inside and rank not in inside), ranks[0])


def _where(ranks: Sequence[RankStackState], inside: Sequence[RankStackState]) -> Message:
    """One sentence: where the ranks stand, and what they wait for."""
    if len(ranks) == 1:
        (only,) = ranks
        if only.wait is None:
            return phrase("Its main thread stands at {place}.", place=only.where)
        return phrase(
            "Its main thread stands at {place}, waiting for {what}.", place=only.where, what=phrase(only.wait.what)
        )
    outside = [rank for rank in ranks if rank not in inside]
    if not outside:
        places = {rank.where for rank in ranks}
        if len(places) == 1:
            return phrase(
                "All {ranks} ranks that are seen wait in a collective at {place}: a rank that is not seen here is missing.",
                ranks=len(ranks),
                place=places.pop(),
            )
        each = [phrase("rank {rank} at {place}", rank=rank.rank, place=rank.where) for rank in ranks[:4]]
        return phrase("The ranks wait in different collectives: {each:; }.", each=each)
    named = [
        phrase("Rank {rank} stands at {place}", rank=outside[0].rank, place=outside[0].where),
        *(phrase("rank {rank} stands at {place}", rank=rank.rank, place=rank.where) for rank in outside[1:4]),
    ]
    if not inside:
        return phrase("{each:; }.", each=named)
    return counted(
        "{each:; } while {count} other waits in a collective at {place}.",
        "{each:; } while {count} others wait in a collective at {place}.",
        len(inside),
        each=named,
        place=inside[0].where,
    )


def _ended_s(subject: RunSubject, *, of_last: bool = False) -> float | None:
    """When the first of its processes ended, or the last, of the newest attempt; None where nothing says so."""
    ends = [event.time_s for event in subject.of_kind("end", "exit")]
    known = [
        *ends,
        *(
            []
            if subject.activity is None
            else [event.time_s for event in [*subject.activity.ends, *subject.activity.exits]]
        ),
    ]
    begun_s = (
        subject.newest_begin.time_s if subject.newest_begin else 0.0
    )  # the process before may be gone later than this one began
    ended_s = [time_s for time_s in known if math.isfinite(time_s) and time_s >= begun_s]
    return (max if of_last else min)(ended_s, default=None)


def _took_s(subject: RunSubject) -> float | None:
    """As long as the run was there (`run_started_s`, `run_ended_s`). None where nothing says when."""
    activity = subject.activity
    begun = [*activity.starts, *activity.seen] if activity else []
    started_s = run_started_s(subject.info, begun or subject.of_kind("start", SEEN))
    ended_s = run_ended_s(activity) if activity else None
    if ended_s is None:
        ended_s = _ended_s(subject, of_last=True)
    return ended_s - started_s if started_s is not None and ended_s is not None and ended_s > started_s else None


def _lost_s(subject: RunSubject, ended_s: float) -> float:
    """Of work since the last checkpoint."""
    saved = [event.time_s for event in subject.of_kind("checkpoint")]
    return max(0.0, ended_s - max(saved)) if saved else 0.0


def _best(subject: RunSubject) -> Message | None:
    for name, _, track in subject.named(rule.is_result):
        finite = track.value[np.isfinite(track.value)]
        if len(finite):
            best = finite.min() if rule.is_loss(name) else finite.max()
            return phrase("best {name} {value:.5g}", name=name, value=float(best))
    for name, rank, track in subject.named(rule.is_training_loss):
        bad = ~np.isfinite(track.value)
        values = track.value[~bad] if is_placeholder(subject, name, rank, bad) else track.value
        if len(values):
            last: str | float = "NaN" if np.isnan(values[-1]) else float(values[-1])
            return phrase("last {name} {value:.5g}", name=name, value=last)
    return None
