"""How a run ended: exit status, the kernel's log, the scheduler's, or the last entry of its own log."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from ..lines.tracebacks import ASIDE, FRAME, ROOTS, TRACEBACKS_HEAD, makes_steps, shortened
from .proc import TICKS_PER_S
from .run_state import StateName

KERNEL_LOG = Path("/dev/kmsg")
RECORD_BYTES = 8192  # the kernel's own limit of one
MAX_RECORDS = 20_000
OUT_OF_MEMORY = re.compile(r"(?i:out of memory).{0,400}?[Kk]illed process (\d+)\b")
FIRST_NAMESPACE = 0xEFFFFFFC  # inode of the pid namespace in which the kernel log counts
LINES = 200  # of a log that are looked at for a traceback
REASON_LENGTH = 300
WENT_ON_S = 60.0  # ranks that wait for one that failed log no step; what a script catches itself is followed by some
MAX_CHARACTERS = 1000  # of a line in which a scheduler is looked for
RANK_PREFIX = re.compile(r"^\[(?:rank|default)\d+\]:\s?")
TRACEBACK = re.compile(r"Traceback \(most recent call last\)(:\s*$| [\u2500-\u257f-]+)")  # in a frame, as rich draws it
GROUP = "+ Exception Group Traceback"
GROUP_MARGIN = re.compile(r"^\s*\| ")
FRAMED = "\u2502\u2570|+"  # how its lines begin
EXCEPTION = re.compile(r"^(?:(?:[A-Za-z_]\w*|<locals>)\.)*[A-Za-z_]\w*(?::.*)?$")
AFTERWARDS = re.compile(  # what Python and CUDA print behind an exception's line
    r"^(?:\s|$|Exception ignored|CUDA kernel errors might|For debugging consider|Compile with `TORCH_USE_CUDA_DSA`|Device-side assert"
    r"|Search for `|.*(?:resource_tracker|warnings\.warn|UserWarning|destroy_process_group)"
    # ... and what launchers do: torchrun, deepspeed, srun, mpirun
    r"|[IWEF]\d{4} .* torch/distributed/|=+$|-+$|.* FAILED$|Failures:$|Root Cause |\[\d+\]:$"
    r"|\[\d{4}-\d\d-\d\d .*\] \[launch\.py:|srun: |slurmstepd: |Primary job |a non-zero exit code|mpirun |prterun "
    # ... and NCCL, wandb, Hydra, make, conda, time, shells
    r"|\[[IWEF]\d{4} |wandb: |Set the environment variable HYDRA_FULL_ERROR|make(\[\d+\])?: \*\*\*|ERROR conda\.cli|Command exited with"
    r"|terminate called|Aborted|.*: line \d+: +\d+ )"
)
UNCAUGHT = re.compile(r"Error executing job with overrides")  # Hydra shows no frames above the job's own
MESSAGE_LINES = 100  # of an exception, at most
SAID_S = 5.0  # what ends a process leaves it this long to say more, at most
AT_ONCE_S = 0.5  # between two lines of a traceback that are read at once, at most
ALARM = re.compile(r"[\[(]?\d.{0,96}?\b(?:WARN|ERR|CRIT|FATAL)|[WEF]\d{4} \d\d:")  # a line with a stamp and a level
NEW_STEP = re.compile(  # what a line reports that a message hardly has
    r"(?i)\W{0,3}(?:\d+/\d+\W{1,3})?(?:(?:train\w*|global)\W)?(?:step|iter|iteration|epoch|batch|update)s?\W{0,4}\d"
    r"|\W{0,3}(?:train\w*\W)?loss\W{1,3}\d|\{['\"]|(?>.*?\bloss\W{1,3}\d).*\b(?:step|iter|epoch)\W{1,3}\d|.*\d/\d+ \[\d"
)
PROGRESS = re.compile(  # of a bar, or of a line with several values
    r"\d%\||[\u2501\u2588\u2591\u25b0#=>.]{8}|\b\d+/\d+\b.*\d(?:s|it|ms)\b|(?:[=:] ?[-+.\d]+(?:e[-+]?\d+)?[%\s,|;\]}]+[^=:]{1,40}){2}[=:] ?[-+.\d]"
)
ALARM_WORD = re.compile(  # not the name of a metric
    r"(?i)\b(?:error|exception|fatal|failed|failure|cannot|can't|denied|not found|no such|invalid|killed|aborted|out of memory)\b(?!\W{0,3}\d)"
)
NO_ALARM = re.compile(
    r"(?i)[\[(]?(?=\d|I\d{4} |INFO|DEBUG|\[(?:INFO|DEBUG)).{0,96}?\b(?:INFO|DEBUG|I\d{4})\b"
)  # a log line of a low level
NUMBER = re.compile(r"\d+")
LAUNCHERS_OWN = re.compile(
    r"(?:.*\.)?(?:ChildFailedError|CalledProcessError)\b"
)  # it reports a failed training, which said why before
ROOT_CAUSE = "Root Cause"
ROOT_RANK, ROOT_CODE = re.compile(r"\brank {1,20}: (\d+)"), re.compile(r"\bexitcode {1,20}: (-?\d+)")  # behind it


OF_SLURM = re.compile(
    r"(?:slurmstepd|srun)\b.{0,200}?\*\*\* (?:JOB|STEP) (\d+)[^*]{0,200}? CANCELLED AT \S{1,40}(?: DUE TO ([A-Z ]{1,40}?))?(?: on \S{1,200}|, SEE [^*]{0,200})? \*\*\*"
)
REQUEUED = re.compile(r"\b[Rr]equeued (?:exp|SLURM job:?) (\d+)")  # Lightning, once scontrol has taken it
SCHEDULERS_LINES = 40  # at the end of a log, among which its last word is looked for


class ExitReason(NamedTuple):
    state: StateName
    reason: str  # one sentence


SLURM_SAYS: dict[str, tuple[StateName, str]] = {  # the more it says, the sooner it counts
    "JOB REQUEUE": ("requeued", "Slurm has put job {job} back into its queue"),
    "PREEMPTION": ("preempted", "Slurm has pre-empted job {job}"),
    "TIME LIMIT": ("killed", "Slurm has ended job {job}: its time was over"),
    "NODE FAILURE": ("killed", "Slurm has ended job {job}: its node failed"),
    "": ("killed", "Job {job} was cancelled"),
}


def schedulers_word(lines: Sequence[str]) -> ExitReason | None:
    """What Slurm wrote into the log of a job that it ended, or who asked for a new start of it; None where nothing says so.

    `["slurmstepd: error: *** JOB 7 ON n1 CANCELLED AT 2026-01-02T03:04:05 DUE TO PREEMPTION ***"] -> HowItEnded("preempted", ...)`
    """
    said: dict[str, str] = {}
    for line in lines[-SCHEDULERS_LINES:]:
        line = line[:MAX_CHARACTERS]
        if found := OF_SLURM.search(line):
            said[(found[2] or "").strip()] = found[1]
        elif found := REQUEUED.search(line):
            said["JOB REQUEUE"] = found[1]
    for why, (state, sentence) in SLURM_SAYS.items():
        if why in said:
            return ExitReason(state, sentence.format(job=said[why]))
    return None


def words_at_the_end(
    lines: Iterable[tuple[float | None, str]],
    stepped_s: float | None,
    stepped_since: Callable[[float], Sequence[float]] = lambda since_s: (),
) -> list[str]:
    """Of a text log the lines that may say how the run ended: not those after which it made steps for another minute, nor a traceback
    after which it made some, or said something else than what ends a program does.

    `lines` have their time, Unix seconds, where it is known; `stepped_s` is when the newest step was logged, `stepped_since` when each
    step was that was logged later than a time, in order.
    """
    rows = [TextLine(*line) for line in lines]
    if stepped_s is not None:
        old = [place for place, row in enumerate(rows) if row.time_s is not None and stepped_s - row.time_s > WENT_ON_S]
        rows = rows[old[-1] + 1 if old else 0 :]
    began = next((place for place in reversed(range(len(rows))) if TRACEBACK.search(rows[place].text)), None)
    if began is not None and is_outlived(rows[:began], rows[began:], stepped_since):
        rows = rows[began + 1 :]
    return [row.text for row in rows]


class TextLine(NamedTuple):
    """A line of a text log."""

    time_s: float | None
    text: str

    @property
    def bare(self) -> str:
        return RANK_PREFIX.sub("", self.text)


def is_outlived(
    before: Sequence[TextLine], traceback: Sequence[TextLine], stepped_since: Callable[[float], Sequence[float]]
) -> bool:
    """Whether a program went on after the traceback with which the rows begin: it said more long afterwards, or made several steps."""
    began_s = traceback[0].time_s
    if began_s is None:
        return False
    if any(
        row.time_s is not None and row.time_s > began_s + SAID_S and not AFTERWARDS.match(row.bare) for row in traceback
    ):
        return True
    if not _is_time_its_own(before, began_s):
        return False
    return makes_steps(stepped_since(_raised_s(traceback, began_s)))


def _raised_s(traceback: Sequence[TextLine], began_s: float) -> float:
    """When the last of its lines was written: what was read at once has times that may be too early, but for the last line."""
    at, _ = _exception([row.bare for row in traceback], 0)
    times = [row.time_s for row in traceback if row.time_s is not None]
    raised_s = max([began_s, *times[: at + 1]])
    return max(time_s for time_s in [raised_s, *times] if time_s <= raised_s + AT_ONCE_S)


def _is_time_its_own(before: Sequence[TextLine], began_s: float) -> bool:
    """False where it may be the stamp of a line long before it, as in a file that was there already; not of a warning just before it."""
    if before and ALARM.match(before[-1].text):
        return True
    return not any(row.time_s == began_s and TRACEBACKS_HEAD.match(row.text) for row in before)


def verdict_of(
    pid: int,
    lines: Sequence[str],
    *,
    code: int | None,
    out_of_memory: bool,
    promised_end: bool,
    told: ExitReason | None = None,
) -> ExitReason:
    """`code`: the exit status where it was our own child, negative for a signal; `promised_end`: its start event promised an end event;
    `told`: what another run of the process says of its end."""
    if code != 0 and (word := schedulers_word(lines)):
        return word
    if code is not None:
        return of_code(pid, code)
    if out_of_memory:
        return ExitReason("killed", f"Process {pid} was killed by the kernel: out of memory")
    if error := last_error(lines):
        return ExitReason("failed", error)
    if told:
        return told
    if promised_end:
        return ExitReason("killed", f"Killed: process {pid} is gone without an end event")
    return ExitReason("ended", f"Process {pid} is gone; nothing says how it ended")


def of_code(pid: int, code: int) -> ExitReason:
    if code < 0:
        with suppress(ValueError):
            return ExitReason("killed", f"Process {pid} was ended by {signal.Signals(-code).name}")
        return ExitReason("killed", f"Process {pid} was ended by signal {-code}")
    return ExitReason("failed", f"Process {pid} ended with exit status {code}") if code else ExitReason("finished", "")


def last_error(lines: Sequence[str]) -> str:
    """The exception's line of a traceback that is the last entry of a log, oldest line first; "" where it is not the last.

    `["Traceback (most recent call last):", "  File ...", "ValueError: no"] -> "ValueError: no"`. A launcher's own traceback says that
    the training failed, and the one before it why.
    """
    lines = lines[-LINES:]
    begin = next((i for i in reversed(range(len(lines))) if TRACEBACK.search(lines[i])), None)
    if begin is None:
        return "KeyboardInterrupt" if lines and RANK_PREFIX.sub("", lines[-1]).strip() == "KeyboardInterrupt" else ""
    voices, own = _voices(lines), _rank(lines[begin])
    for rank, said in _voices(lines[begin:]).items():
        if rank != own and not all(map(AFTERWARDS.match, said)) and not _last_error(voices[rank]):
            return ""  # it goes on
    if not (error := _last_error(voices[own])):
        return ""
    causes = (found for voice in voices.values() if (found := _last_error(voice)) and not LAUNCHERS_OWN.match(found))
    return shortened(next(causes, "") or _root_cause(voices[own]) or error, REASON_LENGTH)


def reason_of(lines: Sequence[str]) -> str:
    """Why a program failed, by its last lines, oldest first: its exception, else its last line; "" where that only reports progress.

    `["step 11 loss 0.083"] -> ""`, `["train.py: error: unrecognized arguments: --lrr"] -> "train.py: error: ..."`
    """
    if error := last_error(lines):
        return error
    last = next((line for line in reversed(lines) if line.strip()), "")
    last = RANK_PREFIX.sub("", last.rpartition("\r")[2]).strip()
    is_alarm = ALARM_WORD.search(last) is not None
    return (
        ""
        if NEW_STEP.match(last) or NO_ALARM.match(last) or (PROGRESS.search(last) and not is_alarm)
        else shortened(last, REASON_LENGTH)
    )


def _rank(line: str) -> str:
    """`"[rank0]: no" -> "[rank0]: "`; "" where the line names none."""
    found = RANK_PREFIX.match(line)
    return found[0].strip() if found else ""


def _voices(lines: Sequence[str]) -> dict[str, list[str]]:
    """By rank, without its name: ranks that end together write in turn. The lines that name none are a launcher's."""
    voices: dict[str, list[str]] = {}
    for line in lines:
        voices.setdefault(_rank(line), []).append(RANK_PREFIX.sub("", line))
    return voices


def _last_error(lines: Sequence[str]) -> str:
    begins = [i for i, line in enumerate(lines) if TRACEBACK.search(line) and not _is_aside(lines, i)]
    if not begins:
        return ""
    _, error = _exception(lines, begins[-1])
    if not error or not any(_ends_program(lines, begin, lines[: begins[0]]) for begin in begins):
        return ""
    if LAUNCHERS_OWN.match(error):
        before = [
            found
            for begin in reversed(begins[:-1])
            if (found := _exception(lines, begin)[1]) and not LAUNCHERS_OWN.match(found)
        ]
        error = before[0] if before else error
    return error


def _is_aside(lines: Sequence[str], begin: int) -> bool:
    """Whether a traceback is of a destructor, a thread, a task or a child process: the program may go on."""
    return any(ASIDE.match(line) for line in lines[max(0, begin - 2) : begin])


def _ends_program(lines: Sequence[str], begin: int, before: Sequence[str]) -> bool:
    """Whether nobody caught the exception, and nothing follows it but its message: a worker's traceback may be in that."""
    if begin and UNCAUGHT.match(lines[begin - 1]):
        return True
    frame = FRAME.match(lines[begin + 1].lstrip("| ")) if begin + 1 < len(lines) else None
    if frame is not None and (frame["function"] or "") not in ROOTS:
        return False
    at, error = _exception(lines, begin)
    return bool(error) and not _goes_on(before, lines[at + 1 :])


def _goes_on(before: Sequence[str], behind: Sequence[str]) -> bool:
    """Whether lines behind an exception's first one are more than its message and what is said at the end: of new steps, with a stamp
    or a level of their own, or like those before the first traceback but for the numbers."""
    said = [line for line in behind if not AFTERWARDS.match(line)]
    shapes = {NUMBER.sub("0", line) for line in before}
    return len(said) > MESSAGE_LINES or any(
        TRACEBACKS_HEAD.match(line) or NEW_STEP.match(line) or NUMBER.sub("0", line) in shapes for line in said
    )


def _exception(lines: Sequence[str], begin: int) -> tuple[int, str]:
    """The first line after the frames of a traceback, and its index; "" where it is not an exception."""
    if GROUP in lines[begin]:
        lines = [GROUP_MARGIN.sub("", line, count=1) for line in lines]
    framed = FRAMED if not lines[begin].rstrip().endswith(":") else ""
    at = next((i for i in range(begin + 1, len(lines)) if lines[i][:1].strip(f" \t{framed}")), None)
    if at is None or not EXCEPTION.match(lines[at].strip()):
        return len(lines), ""
    return at, lines[at].strip()


def _root_cause(lines: Sequence[str]) -> str:
    """Of torchrun's report."""
    text = "\n".join(lines)
    at = text.find(ROOT_CAUSE)
    rank = ROOT_RANK.search(text, at) if at >= 0 else None
    code = ROOT_CODE.search(text, rank.end()) if rank else None
    return f"rank {rank[1]} ended with exit status {code[1]}" if rank and code else ""


def killed_for_memory(pid: int, start_ticks: int, kernel_log: Path = KERNEL_LOG) -> bool:
    """Whether the kernel's log says that it killed this process because memory had run out; False where it may not be read."""
    try:
        if Path("/proc/self/ns/pid").stat().st_ino != FIRST_NAMESPACE:
            return False  # its pids are others than ours
        descriptor = os.open(kernel_log, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return any(is_about(record, pid, start_ticks / TICKS_PER_S) for record in _records(descriptor))
    finally:
        os.close(descriptor)


def is_about(record: str, pid: int, started_s: float) -> bool:
    """Of a record of /dev/kmsg: `3,829,98127541,-;Out of memory: Killed process 4127 (python) ...`; times are since boot."""
    head, _, text = record.partition(";")
    fields, found = head.split(","), OUT_OF_MEMORY.search(text)
    if not found or int(found[1]) != pid or len(fields) < 3 or not fields[2].isdigit():
        return False
    return int(fields[2]) / 1e6 >= started_s - 1.0


def _records(descriptor: int) -> list[str]:
    found: list[str] = []
    for _ in range(MAX_RECORDS):
        try:
            record = os.read(descriptor, RECORD_BYTES)
        except BrokenPipeError:  # overwritten meanwhile: the next one follows
            continue
        except OSError:  # EAGAIN: that was the newest
            break
        if not record:
            break
        found.append(record.decode(errors="replace"))
    return found
