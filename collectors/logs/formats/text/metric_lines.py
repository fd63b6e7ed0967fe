"""Find the step and the metrics in one line of text: `step 400: train loss 1.2` -> step 400, `{"train_loss": 1.2}`."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Sequence
from operator import itemgetter
from typing import NamedTuple

MAX_ON_A_LINE = 40
MAX_SHAPES = 4  # that are tried on a line
FIRST_SHAPES, HITS_A_SHAPE = 8, 200  # making one costs about 1 ms: so many at once, then one for so many lines that had one
INTEGER, DONE = r"\d{1,15}", r"\d{1,15}(?:\.\d{1,9})?"
NUMBER = r"[-+]?(?:\d{1,20}(?:\.\d{0,20})?|\.\d{1,20})(?:[eE][-+]?\d{1,3})?|[-+]?(?i:nan|inf)"
END = r"(?=[\s,;|)\]}%'\"]|\.?\s|\.?$)"  # else it is the start of a version, an address, a date, a time or a size
SPLIT = r"(?:train|training|val|valid|validation|eval|test)"
WORD = r"(?:loss|acc|accuracy|lr|learning rate|ppl|perplexity|grad_norm|grad norm|error|reward|return|score|f1|auc|bleu|mfu)"
KEY_VALUE = re.compile(
    rf"(?<![\w/.:@+\-?&])[\"']?(?P<key>(?:{SPLIT}[ _])?(?:{WORD}\s|[a-z][\w/@\-]{{0,60}}+[\"']?\s?[:=]))\s{{0,3}}[\"']?"
    rf"(?P<value>{NUMBER}){END}",
    re.IGNORECASE,
)
STEP = re.compile(
    r"(?<![\w/.\-])(?:global[_ ]?)?(?P<word>step|iteration|iter|update|batch|epoch)s?(?:\(\w{1,10}\))?[\"']?\s{0,3}[:=#]?\s{0,3}"
    rf"[\[(\"']?\s{{0,3}}(?P<done>{DONE})(?:\s?/\s?(?P<total>{INTEGER}))?(?!\w|[/.:\-]\d)",
    re.IGNORECASE,
)
BAR = re.compile(rf"(?P<done>{INTEGER})/(?P<total>{INTEGER}) \[\d[\d:]{{0,12}}<[\d:?]{{1,12}}")
OF_EPOCH = re.compile(rf"\[\s{{0,8}}(?P<done>{INTEGER})/(?P<total>{INTEGER})")  # Train Epoch: 3 [6400/60000 (11%)]
USUAL = re.compile(rf"(?:{SPLIT}[ _/])?{WORD}", re.IGNORECASE)  # Loss and loss are one series
NO_METRICS = {
    *("step", "steps", "global_step", "iter", "iteration", "it", "epoch", "epochs", "batch", "update", "total", "eta"),
    *("rank", "local_rank", "world_size", "node", "host", "gpu", "cuda", "device", "pid", "port", "worker", "num_workers"),
    *("seed", "line", "file", "version", "id", "size", "batch_size"),
}
PROGRESS = "progress_pct"
EPOCH_GROUP, DONE_GROUP, COUNT_GROUP, TOTAL_GROUP = "epoch", "done", "count", "total"  # count: the done of a bar
PATTERNS = {EPOCH_GROUP: DONE, DONE_GROUP: DONE, COUNT_GROUP: INTEGER, TOTAL_GROUP: INTEGER}

Spans = dict[tuple[int, int], str]  # where in the line a number stands: which one it is, or `=` and its key


class Progress(NamedTuple):
    """How far the training is, as one line says it."""

    epoch: float | None
    done: int | None
    total: int | None
    is_bar: bool = False


class MetricLine(NamedTuple):
    """What one line says."""

    progress: Progress
    values: dict[str, float]


class LineReader:
    """The lines of one file. What it remembers makes it quicker, and changes no result."""

    def __init__(self) -> None:
        self._shapes: list[LineShape] = []  # the newest first
        self._made = self._hits = 0

    def read(self, text: str) -> MetricLine | None:
        """None for a line without a step or without a metric. 4 us for a line like one before, else 20 us."""
        for place, shape in enumerate(self._shapes):
            if (found := shape.read(text)) is not None:
                self._hits += 1
                if place:
                    self._shapes.insert(0, self._shapes.pop(place))
                return found
        spans: Spans = {}
        keys: list[tuple[int, int]] = []
        if (progress := progress_of(text, spans)) is None or not (values := values_of(text, spans, keys)):
            return None
        if self._made < FIRST_SHAPES + self._hits // HITS_A_SHAPE and _are_apart([*spans, *keys]):
            self._made += 1
            self._shapes = [LineShape(text, spans, keys, progress.is_bar), *self._shapes[: MAX_SHAPES - 1]]
        return MetricLine(progress, values)


class LineShape:
    """A line in which only the numbers change: those that were found may be any, others keep their count of digits."""

    def __init__(self, text: str, spans: Spans, keys: list[tuple[int, int]], is_bar: bool) -> None:
        pattern, end = "", 0
        for since, until in sorted([*spans, *keys]):
            kind = spans.get((since, until))
            pattern += _digits(text[end:since])
            pattern += re.escape(text[since:until]) if kind is None else f"({PATTERNS.get(kind, NUMBER)})"
            end = until
        self._match = re.compile(pattern + _digits(text[end:])).fullmatch
        kinds = [spans[span] for span in sorted(spans)]
        places = [place for place, kind in enumerate(kinds) if kind.startswith("=")]
        self._keys = [kinds[place][1:] for place in places]
        self._pick: Callable[[Sequence[str]], Iterable[str]] = (
            itemgetter(*places) if len(places) > 1 else lambda numbers: [numbers[places[0]]]
        )
        self._epoch = next((place for place, kind in enumerate(kinds) if kind == EPOCH_GROUP), None)
        self._done = next((place for place, kind in enumerate(kinds) if kind in (DONE_GROUP, COUNT_GROUP)), None)
        self._total = next((place for place, kind in enumerate(kinds) if kind == TOTAL_GROUP), None)
        self._is_bar = is_bar

    def read(self, text: str) -> MetricLine | None:
        found = self._match(text)
        if found is None:
            return None
        numbers = found.groups()
        progress = Progress(
            None if self._epoch is None else float(numbers[self._epoch]),
            None if self._done is None else int(float(numbers[self._done])),
            None if self._total is None else int(numbers[self._total]),
            self._is_bar,
        )
        return MetricLine(progress, dict(zip(self._keys, map(float, self._pick(numbers)), strict=True)))


def names_a_step(text: str) -> bool:
    """Whether a closer look is worth it."""
    if "tep" in text or "poch" in text or "Iter" in text:
        return True
    return "it" in text and ("it/s" in text or "s/it" in text or "iter" in text)


def bar_of(text: str) -> str:
    """Where a progress bar stands: `Epoch 1:  25%|██  | 25/100 [00:01<00:03, 25.0it/s] -> "25/100"`; "" for what is no bar."""
    found = BAR.search(text)
    return f"{found['done']}/{found['total']}" if found else ""


def progress_of(text: str, spans: Spans) -> Progress | None:
    """`Epoch [2/5], Step [100/500]` -> `Progress(2.0, 100, 500)`; None where a line names neither."""
    epoch: float | None = None
    count: re.Match[str] | None = None
    for found in STEP.finditer(text):
        if found["word"].lower() != "epoch":
            count = count or found
        elif epoch is None:
            epoch = float(found["done"])
            spans[found.span("done")] = EPOCH_GROUP
    bar = BAR.search(text) if count is None and "<" in text else None
    count = count or bar or (OF_EPOCH.search(text) if epoch is not None and "[" in text else None)
    if count is None:
        return None if epoch is None else Progress(epoch, None, None)
    spans[count.span("done")] = DONE_GROUP if count.re is STEP else COUNT_GROUP
    if count["total"]:
        spans[count.span("total")] = TOTAL_GROUP
    return Progress(epoch, int(float(count["done"])), int(count["total"]) if count["total"] else None, bar is not None)


def values_of(text: str, spans: Spans, keys: list[tuple[int, int]]) -> dict[str, float]:
    """`train loss 1.2, lr: 3e-4` -> `{"train_loss": 1.2, "lr": 0.0003}`

    The percent of a bar is no metric of the name that stands before it: PROGRESS, where the line says nothing else.
    """
    values: dict[str, float] = {}
    percent: re.Match[str] | None = None
    for found in KEY_VALUE.finditer(text):
        if text.startswith("%|", found.end("value")):
            percent = percent or found
            continue
        key = found["key"].rstrip(" \t:='\"")
        key = (key.lower() if USUAL.fullmatch(key) else key).replace(" ", "_")
        if key.lower() not in NO_METRICS and key not in values and found.span("value") not in spans:
            values[key] = float(found["value"])
            spans[found.span("value")] = f"={key}"
            keys.append(found.span("key"))
            if len(values) >= MAX_ON_A_LINE:
                break
    if percent is not None and not values and percent.span("value") not in spans:
        values[PROGRESS] = float(percent["value"])
        spans[percent.span("value")] = f"={PROGRESS}"
        keys.append(percent.span("key"))
    return values


def _are_apart(spans: list[tuple[int, int]]) -> bool:
    return all(end <= since for (_, end), (since, _) in itertools.pairwise(sorted(spans)))


def _digits(text: str) -> str:
    """A pattern of the same text with any digits."""
    return "".join(rf"\d{{{len(part)}}}" if part.isdigit() else re.escape(part) for part in re.split(r"(\d+)", text))
