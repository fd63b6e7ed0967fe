"""A message to one channel: what it says, grouped, and how far its delivery has come."""

from __future__ import annotations

import hashlib
import json
import math
import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, TypeAlias
from urllib.parse import quote, urlsplit

from analysis.findings.rule import is_training_loss
from analysis.findings.rules import BY_NAME
from analysis.findings.watch import WITH_RUN
from collectors.message import Sentence, phrase, text_of
from collectors.records import Finding
from collectors.store.store import Series, Store, StoreError
from deepseek.log.redaction import redacted

from .config import OWN, AlertSettings, Receiver, is_reference

MessagePhase: TypeAlias = Literal["begin", "end", "summary", "test"]
MessageState: TypeAlias = Literal["waiting", "delivered", "failed", "summed"]
MAX_LINE, MAX_MEMBERS = 300, 1000


class NotDelivered(Exception):
    """The text says why. `dead`: the receiver does not work at all, and the next message would fare no better."""

    def __init__(self, sentence: str, *, dead: bool = False) -> None:
        super().__init__(sentence)
        self.dead = dead


@dataclass(frozen=True)
class AlertMessage:
    """All texts are clean: one line each of bounded length, without control characters and secrets.

    `findings` are the ids of those that it is about, `lasting` of those of them that still hold; `into` is the summary that a
    message was summed up in. A message with `attempts` may have arrived already, and keeps its id and its words.
    """

    id: str
    receiver: str
    phase: MessagePhase
    rule: str
    title: str
    severity: str
    sentences: tuple[str, ...]  # one a run, at most wording.MAX_SENTENCES
    runs: tuple[str, ...]
    findings: tuple[str, ...]
    created_s: float  # Unix seconds
    time_s: float  # of the finding
    count: int = 1  # of findings
    lasting: tuple[str, ...] = ()
    ranks: tuple[int, ...] = ()
    step: int | None = None
    line: str = ""  # of code: `train.py:12 in step`
    gpu_hours: float | None = None  # lost, where that is known
    sparkline: str = ""
    sparkline_of: str = ""  # the series
    link: str = ""
    over: bool = False  # an end, or a beginning that waited for others and was over by then
    unresolved: bool = False  # ... with the runs, and what it is about held until then
    state: MessageState = "waiting"
    attempts: int = 0
    next_s: float = 0.0  # when it is tried again
    ended_s: float | None = None  # when it was delivered, or given up
    error: str = ""
    into: str = ""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def written(self) -> bytes:
        return json.dumps(self.as_json()).encode()

    @property
    def subject(self) -> str:
        """One line."""
        if len(self.sentences) == 1:
            return self.sentences[0]
        return text_of(phrase("{title}: {count} findings", title=self.title, count=self.count))


def message_of(data: bytes) -> AlertMessage:
    """Raises ValueError where it is none of ours."""
    found = json.loads(data)
    if not isinstance(found, dict):
        raise ValueError("no message")
    known = {field.name for field in fields(AlertMessage)}
    values: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in found.items() if key in known
    }
    try:
        return AlertMessage(**values)
    except TypeError as error:
        raise ValueError(str(error)) from None


def id_of(phase: str, receiver: str, findings: Iterable[str]) -> str:
    """The same whenever it is computed for the same findings."""
    text = "\0".join([phase, receiver, *sorted(findings)])
    return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=12).hexdigest()


# The words of a message: clean in every channel, since they come from runs, logs and users.

MAX_SENTENCE, MAX_SENTENCES, MAX_RUN, MAX_BODY = 400, 10, 200, 4000
BLOCKS = "▁▂▃▄▅▆▇█"
GAP = "·"
ODD = {
    "Cc",
    "Cf",
    "Cs",
    "Co",
    "Cn",
    "Zl",
    "Zp",
}  # categories of Unicode: control, format, surrogate, private, unassigned, line ends
LOOK_ALIKES = str.maketrans(
    {
        "<": "‹",
        ">": "›",
        "@": "＠",
        "[": "［",
        "]": "］",
        "`": "ʼ",
        "*": "∗",
        "~": "∼",
        "|": "¦",
        "\\": "＼",
        "&": "＆",
        "#": "＃",
        "!": "！",
    }
)
SPACES = re.compile(r"\s+")


def clean(text: str, most: int = MAX_SENTENCE) -> str:
    """One line: whatever is no plain character becomes U+FFFD, what looks like a secret is left out, a long text is cut."""
    text = SPACES.sub(" ", text[: 4 * most])
    plain = "".join("\ufffd" if unicodedata.category(character) in ODD else character for character in text).strip()
    plain = redacted(plain)
    return plain if len(plain) <= most else plain[: most - 1] + "…"


def sparkline(values: Sequence[float]) -> str:
    """`[1, 2, 3] -> "▁▄█"`; what is not finite is a gap; "" where nothing is finite."""
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return ""
    least, most = min(finite), max(finite)
    width = most - least
    if not width or not math.isfinite(width):
        return "".join(BLOCKS[3] if math.isfinite(value) else GAP for value in values)
    top = len(BLOCKS) - 1
    return "".join(BLOCKS[round(top * (value - least) / width)] if math.isfinite(value) else GAP for value in values)


def headline(message: AlertMessage) -> str:
    """One line: what it is about, and of which run."""
    head: Sentence = message.title
    if message.over:
        ended = message.unresolved
        head = phrase("Run ended: {title}", title=head) if ended else phrase("Over: {title}", title=head)
    if len(message.runs) == 1:
        head = phrase("{title} - {run}", title=head, run=message.runs[0])
    elif message.runs:
        head = phrase("{title} - {runs} runs", title=head, runs=len(message.runs))
    return clean(text_of(head), MAX_RUN)


def body(message: AlertMessage, *, chat: bool = False, most: int = MAX_BODY) -> str:
    """A few lines of plain text, the sentence first, the link last; for a chat without what is markup there.

    At most `most` characters: the text is cut, a link that is longer than half of it is left out.
    """
    text = "\n".join(filter(None, map(text_of, _lines(message))))
    link = message.link if len(message.link) <= most // 2 else ""
    room = most - len(link) - 1
    text = text if len(text) <= room else f"{text[: room - 1]}…"
    return "\n".join(filter(None, [harmless(text) if chat else text, link]))


def _lines(message: AlertMessage) -> list[Sentence | None]:
    left = message.count - len(message.sentences)
    return [
        *message.sentences,
        phrase("... and {left:,} more", left=left) if left > 0 else None,
        phrase("Run: {run}", run=message.runs[0]) if len(message.runs) == 1 else None,
        phrase("Step: {step:,}", step=message.step) if message.step is not None else None,
        phrase("Ranks: {ranks}", ranks=message.ranks) if len(message.ranks) > 1 else None,
        phrase("Line: {line}", line=message.line) if message.line else None,
        phrase("GPU-hours lost: {hours:.3g}", hours=message.gpu_hours) if message.gpu_hours else None,
        f"{message.sparkline_of}: {message.sparkline}" if message.sparkline else None,
    ]


def harmless(text: str) -> str:
    """Where Markdown, HTML or a chat's own markup may be read: no tag, mention, link or emphasis is left in it."""
    return text.translate(LOOK_ALIKES)


def shown_target(receiver: Receiver) -> str:
    """What may be shown of its address: of a URL the host, never its path, which may be a secret."""
    values = receiver.values
    match receiver.kind:
        case "desktop":
            return "this browser"
        case "email":
            return f"{values.get('to', '')} by {values.get('server', '')}"
        case "ntfy":
            return f"{_host(values.get('url', 'https://ntfy.sh'))}, {_given(values.get('topic', ''))}"
        case _:
            return _host(values.get("url", ""))


def _given(text: str) -> str:
    return text if is_reference(text) else "a topic of its own"


def _host(text: str) -> str:
    if is_reference(text):
        return text
    address = urlsplit(text)
    return f"{address.scheme}://{address.netloc.rpartition('@')[2]}" if address.scheme else ""


# From findings to a message: its words, with what the store knows of the run.

BUCKETS = 32  # of a sparkline
MAX_RUNS = 50
MAX_LINKED = 5  # runs of an address
LOST = ("lost_s", "silent_s")  # seconds that a finding says were lost


class Composer:
    """Reads the store a few times a message, and nothing between two messages."""

    def __init__(self, store: Store, gpus_of: Callable[[str], int] = lambda run: 0) -> None:
        """`gpus_of` is how many GPUs a run has."""
        self._store, self._gpus_of = store, gpus_of

    def message(
        self,
        receiver: str,
        phase: MessagePhase,
        found: Sequence[Finding],
        settings: AlertSettings,
        now_s: float,
        series: str = "",
    ) -> AlertMessage:
        """Of findings of one rule; `series` is that of an own rule."""
        first = min(found, key=lambda row: (row.from_s, row.id))
        runs = list(dict.fromkeys(clean(row.run, MAX_RUN) for row in found if row.run is not None))
        real = list(dict.fromkeys(row.run for row in found if row.run is not None))
        alone = len(real) <= 1
        name, blocks = self._sparkline(real[0], series) if alone and real else ("", "")
        ranks = sorted({row.rank for row in found if row.rank is not None})
        is_over = phase == "end" or (phase == "begin" and all(row.over and row.to_s > row.from_s for row in found))
        return AlertMessage(
            id=id_of(phase, receiver, [row.id for row in found]),
            receiver=receiver,
            phase=phase,
            rule=clean(first.rule, MAX_RUN),
            title=title_of(first.rule),
            severity="alert" if any(row.weight == "alert" for row in found) else "note",
            sentences=tuple(_sentence(row, phase, now_s, alone=alone) for row in _distinct(found)[:MAX_SENTENCES]),
            runs=tuple(runs[:MAX_RUNS]),
            findings=tuple(row.id for row in found),
            created_s=now_s,
            time_s=first.from_s,
            count=len(_distinct(found)),
            lasting=tuple(row.id for row in found if not row.over) if phase == "begin" else (),
            ranks=tuple(ranks) if alone else (),
            step=first.step if alone else None,
            line=_line(first) if alone else "",
            gpu_hours=self._gpu_hours(found, now_s),
            sparkline=blocks,
            sparkline_of=name,
            link=_link(settings.link, real),
            over=is_over,
            unresolved=is_over and all(row.fields.get(WITH_RUN) for row in found),
        )

    def _sparkline(self, run: str, wanted: str) -> tuple[str, str]:
        """The name of the rule's series, else of the run's loss, and its course in blocks."""
        try:
            rows = self._store.series(run)
            chosen = next((row for row in rows if row.name == wanted), None) or _loss(rows)
            if chosen is None:
                return "", ""
            buckets = self._store.range(
                [chosen.id], None, None, "time" if chosen.first_time_s is not None else "step", BUCKETS
            )
        except StoreError:
            return "", ""
        return clean(chosen.name, MAX_RUN), sparkline(buckets[chosen.id].mean.tolist())

    def _gpu_hours(self, found: Sequence[Finding], now_s: float) -> float | None:
        lost_s = 0.0
        for row in found:
            if row.run is not None:
                lost_s += _lost_s(row) * self._gpus_of(row.run)
        return round(lost_s / 3600.0, 3) if lost_s > 0 else None


def title_of(rule: str) -> str:
    return clean(BY_NAME[rule].title if rule in BY_NAME else rule.removeprefix(OWN), MAX_RUN)


def test_message(receiver: str, settings: AlertSettings, now_s: float, id_: str) -> AlertMessage:
    text = text_of(phrase("This is a test: messages of the dashboard reach you here."))
    return AlertMessage(
        id_, receiver, "test", "test", "Test", "note", (text,), (), (), now_s, now_s, link=settings.link
    )


def _distinct(found: Sequence[Finding]) -> list[Finding]:
    """One a run and sentence: several ranks of a run often have the same."""
    return list({(row.run, row.sentence): row for row in reversed(found)}.values())[::-1]


def _sentence(row: Finding, phase: MessagePhase, now_s: float, *, alone: bool) -> str:
    said = row.message
    if phase == "end" or (row.over and row.to_s > row.from_s):
        lasted_s = max(0.0, row.to_s - row.from_s)
        if row.fields.get(WITH_RUN):
            said = phrase(
                "Unresolved when the run ended, after {lasted_s:spoken}: {sentence}", lasted_s=lasted_s, sentence=said
            )
        else:
            said = phrase("Over after {lasted_s:spoken}: {sentence}", lasted_s=lasted_s, sentence=said)
    if not alone and row.run is not None:
        said = phrase("{run}: {sentence}", run=clean(row.run, MAX_RUN), sentence=said)
    return clean(text_of(said))


def _line(row: Finding) -> str:
    place: Any = row.fields.get("place")
    if not isinstance(place, dict) or not place.get("file"):
        return ""
    line = f":{place['line']}" if place.get("line") else ""
    return clean(f"{place['file']}{line} in {place.get('function', '')}", MAX_RUN)


def _lost_s(row: Finding) -> float:
    numbers: Any = row.fields.get("numbers")
    known = {**(numbers if isinstance(numbers, dict) else {}), **row.fields}
    lost = next((known[name] for name in LOST if isinstance(known.get(name), int | float)), 0.0)
    return max(0.0, float(lost))


def _loss(rows: Sequence[Series]) -> Series | None:
    losses = [row for row in rows if is_training_loss(row.name)]
    return max(losses, key=lambda row: (dict(row.labels).get("rank", "0") == "0", row.points), default=None)


def _link(base: str, runs: Sequence[str]) -> str:
    if not base:
        return ""
    if not runs:
        return f"{base}/hosts"
    if len(runs) > MAX_LINKED:
        return f"{base}/runs"
    query = "&".join(f"runs={quote(run, safe='', errors='replace')}" for run in runs)
    return clean(f"{base}/training?{query}", 2000)
