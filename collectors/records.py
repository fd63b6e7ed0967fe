"""The records that all collectors share: points, log lines, events, samples, stacks, offsets.

A collector's `collect()` returns records; the store appends them in one transaction, so that an
`Offset` commits together with the records that were read up to it.

Stacks have these names on their way:

    StackSpan         one thread's stack, and how long it lasted
    StackRecording    the spans of one process over a stretch of time, as a sampler delivers them; a row of the table `profile`
    StackColumns      spans of a window as the store returns them, as columns (collectors/store/store.py)
    TrustedSpans      the same with how far each stack can be trusted, for judging (analysis/stacks/spans.py)
    FlameTree         the same folded, for drawing (analysis/stacks/fold.py)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Annotated, Any, Literal, NamedTuple, TypeAlias, TypedDict

from .message import Sentence, text_of


class Privacy(Enum):
    """Who sees a text, as the type of its field says it: `command: Private`. The owner sees all.

    A text without a mark is private. Numbers and the words of a `Literal` are seen by everybody.
    """

    PUBLIC = "public"  # everybody with a role
    SEARCHED = "searched"  # viewers, without paths and what looks like a secret
    PRIVATE = "private"  # the owner, and viewers with the grant `details`
    PROCESS = "process"  # the owner, and viewers with the grant `processes`
    OPEN = "open"  # of an object that has other fields, too, which a program or a user named: they are searched


Public: TypeAlias = Annotated[str, Privacy.PUBLIC]
"""An identifier by which a page asks again, such as the name of a run or a series, or a word of our own."""
Searched: TypeAlias = Annotated[str, Privacy.SEARCHED]
"""Text that people or programs wrote, and sentences that quote it."""
Private: TypeAlias = Annotated[str, Privacy.PRIVATE]
OfProcess: TypeAlias = Annotated[str, Privacy.PROCESS]
"""Of a process of the machine, whoever started it."""
UserData: TypeAlias = Annotated[Any, Privacy.SEARCHED]
"""JSON that a program or a user wrote: its keys are searched as well, and values under the name of a secret are left out."""
UserFields: TypeAlias = Annotated[dict[str, Any], Privacy.SEARCHED]
"""The same, of a JSON object."""
PrivateData: TypeAlias = Annotated[Any, Privacy.PRIVATE]

Labels: TypeAlias = tuple[tuple[str, str], ...]
"""Sorted (key, value) pairs, e.g. `(("gpu", "0"), ("host", "box"), ("uuid", "GPU-1"))`."""


def labels_of(**labels: object) -> Labels:
    """`labels_of(host="box", rank=1) -> (("host", "box"), ("rank", "1"))`; None values are left out."""
    return tuple(sorted((key, str(value)) for key, value in labels.items() if value is not None))


COLLECTIVE_S = "nccl/collective_s"  # a rank's time in collectives, by the label `communicator`
SAMPLED_SEQUENCE, SAMPLED_S = (
    "nccl/sampled_sequence",
    "nccl/sampled_s",
)  # of one collective, by the label `collective` too
TEXT_SOURCE = "text"  # the label `source` of what was read from lines of text
ITEMS, ITEMS_PER_S = "progress/item", "progress/items_per_s"
PROGRESS_NAMES = ("progress/step", "progress/batch", ITEMS, ITEMS_PER_S)


def is_progress(name: str, labels: Labels) -> bool:
    """Whether a series is a counter that was read from text, which the axis shows, or its rate: others of such a name are a user's own."""
    return name in PROGRESS_NAMES and ("source", TEXT_SOURCE) in labels


class Points(NamedTuple):
    """Values that share their time and step: one line of a log, or one look at a device.

    `{"time_s":1.5,"step":7,"train/loss":0.25,"train/lr":1e-3}` of run "a" ->
    `Points("a", (("host", "box"),), ("train/loss", "train/lr"), (0.25, 0.001), 1.5, 7)`
    """

    run: str | None  # None for the machine's own series (`gpu/*`, `host/*`)
    labels: Labels
    names: tuple[str, ...]
    values: tuple[float, ...]  # one per name; NaN and infinities are values, too
    time_s: float | None  # Unix seconds; None where the file gives no time
    step: int | None
    segment: int = 0  # rises when a run's steps go back or its process starts again


class LogLine(NamedTuple):
    """One line of a text log, without its line end."""

    run: Public
    file: Searched  # relative to the run's folder
    time_s: float
    level: int  # as in `logging`: 10, 20, 30, 40, 50; 0 where the line names none
    text: Searched
    rank: int | None = None  # of the process that wrote it, where the line or the file's name says so
    number: int = 0  # its place in the store, in the order of arrival; 0 before it is stored


class ProgressBar(NamedTuple):
    """The present state of a progress bar, at the end of a text log; replaces the file's earlier one, and is no line."""

    run: Public
    file: Searched  # relative to the run's folder
    time_s: float
    text: Searched  # without colours; "" where there is none any more


class Event(NamedTuple):
    """Something that happened at a moment of a run: `start`, `end`, `checkpoint`, `validation`, `overflow`, ..."""

    run: str
    kind: str
    time_s: float
    rank: int = 0
    step: int | None = None
    seconds: float | None = None
    text: str = ""
    fields: Mapping[str, Any] = {}  # the line's other fields: pid, pid_start_ticks, boot_id, host, status, reason


SampleKind: TypeAlias = Literal["text", "image", "audio", "table", "histogram", "file"]
MAX_INLINE_BYTES = 64 << 10  # of a sample that has no file
HEAD_CRC_BYTES = 64


class Sample(NamedTuple):
    """Something that a run logged to be looked at or listened to: its bytes where they are few, else where they lie.

    A place in a file that grows is known again by `head_crc`, a file of its own by its length and `written_s`.
    """

    run: str
    name: str
    kind: SampleKind
    media: str  # "image/png"; "" where only the bytes say
    time_s: float | None
    step: int | None
    rank: int = 0
    data: bytes = b""  # at most MAX_INLINE_BYTES, where there is no file
    path: str = ""  # relative to the run's folder, or absolute
    offset: int = 0
    length: int | None = None  # bytes; None where it is not known yet
    head_crc: int | None = None  # CRC-32 of the first HEAD_CRC_BYTES of the bytes
    written_s: float | None = None  # when the file was last written as it was logged, Unix seconds
    number: int = 0  # its place in the store; 0 before it is stored


FindingWeight: TypeAlias = Literal["note", "alert"]


MESSAGE = "message"  # a field of findings that were stored: their message, as `message.to_json` writes it


class Finding(NamedTuple):
    """What a rule found in a run or on the machine, without being asked. A later one of the same id replaces it."""

    id: str
    run: str | None  # None: of the machine
    rule: str  # its name in `analysis/findings/rules.py`
    weight: FindingWeight  # a note stands on the axis; an alert may leave the machine
    from_s: float  # Unix seconds
    to_s: float  # until when it is known to hold; of a moment the same as from_s
    over: bool  # it holds no longer, or was a moment
    message: Sentence  # its text where it was read from a store
    rank: int | None = None
    step: int | None = None
    fields: Mapping[
        str, Any
    ] = {}  # JSON: `numbers` by name, `place` (function, file, line), `gpu`, `stacks` ...; of a store `message`, too

    @property
    def sentence(self) -> str:
        return text_of(self.message)


class RunJson(TypedDict, total=False):
    """What is private in `run.json` and in other descriptions of a process, wherever it stands there."""

    argv: PrivateData
    command: PrivateData
    cmdline: PrivateData
    command_line: PrivateData
    executable: PrivateData
    env: PrivateData
    environ: PrivateData
    environment: PrivateData
    user: PrivateData
    username: PrivateData


class RunInfo(NamedTuple):
    """The contents of a run's `run.json`, with the configuration in its other files; replaces earlier ones."""

    run: str
    info: Mapping[str, Any]


class Frame(NamedTuple):
    """One function on a stack, with the line it stood on."""

    name: Searched
    file: Searched
    line: int


class StackSpan(NamedTuple):
    """One thread's stack, and how long it lasted.

    Times are CLOCK_MONOTONIC nanoseconds; `StackRecording` carries the wall clock of the same moment.
    """

    mono_ns: int
    duration_ns: int
    tid: int
    stack: tuple[Frame, ...]  # from the root to the leaf
    gil: bool | None = None  # holds the GIL; None where the sampler does not know
    cpu_ns: int | None = None  # CPU time used while it stood, at most duration_ns; None where the sampler does not know
    resolved: bool = True  # False: the lower part may mix two moments, or was cut


class Resident(NamedTuple):
    """The memory of a process that is in RAM, from a moment on."""

    mono_ns: int  # CLOCK_MONOTONIC
    kib: int


class StackRecording(NamedTuple):
    """The samples of one process over one window of time, as one recorder delivered them."""

    run: str
    rank: int
    pid: int
    role: str  # "main" or "worker"
    host: str
    sampler: str  # "native" or "py-spy"
    hz: float
    start_s: float  # wall clock at start_mono_ns, Unix seconds
    start_mono_ns: int
    end_mono_ns: int
    threads: Mapping[int, str]  # tid -> name
    samples: list[StackSpan]
    count: int  # type: ignore[assignment]  # samples taken, before equal neighbours were merged
    errors: int = 0
    resident: Sequence[
        Resident
    ] = ()  # at its first sample, then where it had changed; () where the sampler does not know


ONE_AFTER_THE_OTHER_S = (
    2.5  # a sampler delivers its processes in turn: so far apart the newest stacks of two of them may lie
)
WITHOUT_A_GAP_S = 0.05  # between windows of one process, by the wall clock: some hosts set it right by many small steps

# In the state of an offset, beside what is the parser's own:
SAMPLE = "sample"  # the run has logged the file to be looked at: it is no log
DATA = "data"  # the file is not read because it looks like data
GENERATION = "generation"  # rises when the file is read from its start again; 0 where it is absent


class Offset(NamedTuple):
    """How far a file of the log folder has been read, and the parser's state."""

    path: str  # relative to the log folder
    run: str
    device: int
    inode: int
    offset: int  # bytes; the next line starts here. Of a database the number of items that were read
    lines_read: int
    lines_skipped: int
    fields_skipped: int
    first_skip: str  # reason and line number of the first skip, "" where there was none
    state: Mapping[str, Any]  # the parser's own, JSON
    trouble: str = ""  # why the file is set aside, one sentence; "" while it is read
    after: tuple[int, int] | None = (
        None  # `reached` of the file's offset before it, which must be the stored one; None: not compared
    )

    @property
    def reached(self) -> tuple[int, int]:
        return self.offset, self.lines_read

    def is_within(self, stored: Offset) -> bool:
        """Whether all up to it was read up to `stored`, too: bytes of the same file, which has only grown since."""
        files = [(each.device, each.inode, each.state.get(GENERATION, 0)) for each in (self, stored)]
        grew = self.offset <= stored.offset and self.lines_read <= stored.lines_read
        return bool(self.inode) and files[0] == files[1] and grew

    @property
    def is_data(self) -> bool:
        """Whether it is not read because it looks like data."""
        return bool(self.trouble) and DATA in self.state


class SourceText(NamedTuple):
    """The text of a source file as a process of a run loaded it, or why it is not known."""

    run: str
    path: str  # as frames name it
    sha: str  # SHA-256 of its bytes, hex; "" where the text is not kept
    text: str
    since_s: float  # Unix time of the start of the process that ran it
    why: str = ""  # one sentence on why the text is not kept, "" where it is


Record: TypeAlias = (
    Points | LogLine | ProgressBar | Event | Sample | Finding | RunInfo | StackRecording | Offset | SourceText
)
