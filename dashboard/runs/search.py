"""Searches runs, series, pages and notes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Literal, NamedTuple, Protocol, TypeAlias, TypeVar
from urllib.parse import urlencode

from collectors.records import Event, Public, Searched
from collectors.store.store import Series, check

from .runs import RunView

# How well a text matches what was typed: at its beginning, at the beginning of a word, or anywhere.
#
# `SearchQuery("lr").place("train/lr") -> 1`: a word of it begins so.

WHOLE, PREFIX, WORD, INSIDE = range(4)
MAX_WORDS = 8
MAX_CHARACTERS = 4000  # of a text that is searched
AROUND = 60  # characters that an excerpt has before what was found
MAX_EXCERPT = 200
DIGITS = re.compile(r"[0-9]+")
MAX_DIGITS = 30  # of a number

T = TypeVar("T")


class MatchRank(NamedTuple):
    """Less is better."""

    worst: int  # of all typed words
    total: int
    length: int  # of the text


class SearchQuery:
    """All words must be in a text, in any order, whatever their case."""

    def __init__(self, text: str) -> None:
        self.words = text.casefold().split()[:MAX_WORDS]

    def place(self, text: str) -> MatchRank | None:
        """None where it does not match."""
        folded = text[:MAX_CHARACTERS].casefold()
        places = [_place_of(word, folded) for word in self.words]
        if any(place is None for place in places):
            return None
        found = [place for place in places if place is not None]
        return MatchRank(max(found, default=PREFIX), sum(found), len(folded))

    def best(self, texts: Iterable[str]) -> MatchRank | None:
        """Of several texts for one thing; where no single one has all words, of all of them together."""
        all_texts = [text for text in texts if text]
        places = [place for text in all_texts if (place := self.place(text)) is not None]
        if places:
            return min(places)
        joined = self.place(" ".join(all_texts))
        return joined._replace(worst=INSIDE) if joined else None

    def excerpt(self, text: str) -> str:
        """The part around the first word that is found, in one line."""
        folded = text[:MAX_CHARACTERS].casefold()
        at = min((found for word in self.words if (found := folded.find(word)) >= 0), default=0)
        begin = max(0, at - AROUND)
        part = " ".join(text[begin : begin + MAX_EXCERPT].split())
        return f"{'… ' if begin else ''}{part}{' …' if begin + MAX_EXCERPT < len(text) else ''}"


def natural(text: str) -> tuple[tuple[str, int], ...]:
    """A key of order in which numbers count as such: `"h.2/q" < "h.10/q"`."""
    parts = DIGITS.split(text.casefold()[:MAX_CHARACTERS])
    numbers = (int(digits[:MAX_DIGITS]) for digits in DIGITS.findall(text.casefold()[:MAX_CHARACTERS]))
    return tuple((part, number) for part, number in zip(parts, [*numbers, -1], strict=True))


def _place_of(word: str, text: str) -> int | None:
    if text.startswith(word):
        return WHOLE if len(text) == len(word) else PREFIX
    at = text.find(word)
    if at < 0:
        return None
    while at >= 0:
        if not text[at - 1].isalnum():
            return WORD
        at = text.find(word, at + 1)
    return INSIDE


# Find what was typed among pages, runs, series and notes; the best first.

HitKind: TypeAlias = Literal["page", "run", "series", "note"]
KINDS: tuple[HitKind, ...] = ("page", "run", "series", "note")  # of equally good ones this order

MAX_RUNS = 20  # whose series are searched: the shown one, and the newest
MAX_SERIES = 20_000
NOTE_S = 60.0  # a note is shown with so much before and after it
RUN_PAGE, SERIES_PAGE = "/", "/training"


class Hit(NamedTuple):
    kind: HitKind
    text: Searched
    detail: Searched
    run: Public | None
    address: Public  # a path of this dashboard, with its parameters


class SearchHits(NamedTuple):
    results: list[Hit]  # the best first
    left_out: int
    note: Searched  # what was not searched, or ""


class NamedPage(Protocol):
    """A page as far as it is searched for."""

    @property
    def key(self) -> str: ...

    @property
    def name(self) -> str: ...

    @property
    def tab(self) -> str: ...

    @property
    def path(self) -> str: ...


class Sources(NamedTuple):
    """What is searched. `series` of a run; `notes` are the events that users added, the newest last."""

    pages: Sequence[NamedPage]
    runs: Sequence[RunView]  # the newest first
    series: Callable[[str], Sequence[Series]]
    notes: Sequence[Event]


class _RankedHit(NamedTuple):
    place: MatchRank
    kind: int
    age: int  # the newest first; of series all the same
    hit: Hit


def search(typed: SearchQuery, sources: Sources, runs: Sequence[str], most: int) -> SearchHits:
    """`runs` are shown: their series are searched first. Without a word: the pages and the newest runs."""
    by_kind = [_pages(typed, sources.pages), _runs(typed, sources.runs)]
    note = ""
    if typed.words:
        names = dict.fromkeys(view.stored.name for view in sources.runs)
        chosen = list(dict.fromkeys([*(run for run in runs if run in names), *names]))[:MAX_RUNS]
        by_kind += [_series(typed, sources, chosen), _notes(typed, sources)]
        note = f"Of series, those of the newest {MAX_RUNS} runs are searched." if len(names) > MAX_RUNS else ""
    ranked = [row for rows in by_kind for row in rows]
    ranked.sort(
        key=lambda row: (row.place.worst, row.kind, row.place.total, row.age, row.place.length, natural(row.hit.text))
    )
    return SearchHits([row.hit for row in ranked[:most]], max(0, len(ranked) - most), note)


def _pages(typed: SearchQuery, pages: Sequence[NamedPage]) -> Iterator[_RankedHit]:
    for age, page in enumerate(pages):
        if (place := typed.best((page.name, page.tab))) is not None:
            yield _RankedHit(
                place, KINDS.index("page"), age, Hit("page", page.name, f"page, key {page.key}", None, page.path)
            )


def _runs(typed: SearchQuery, runs: Sequence[RunView]) -> Iterator[_RankedHit]:
    for age, view in enumerate(runs):
        name, about = view.stored.name, view.about
        last_part = name.rpartition("/")[2]
        place = typed.best((name, last_part, about.name, *about.tags))
        if place is not None:
            detail = ", ".join(filter(None, [view.state, about.name and name, *about.tags]))
            hit = Hit("run", about.name or name, detail, name, address(RUN_PAGE, run=name))
            yield _RankedHit(place, KINDS.index("run"), age, hit)


def _series(typed: SearchQuery, sources: Sources, runs: Sequence[str]) -> Iterator[_RankedHit]:
    """Each name once, with the first of these runs that has it."""
    first: dict[str, str] = {}
    counts: dict[str, int] = {}
    for run in runs:
        check()
        for name in {series.name for series in islice(sources.series(run), MAX_SERIES)}:
            first.setdefault(name, run)
            counts[name] = counts.get(name, 0) + 1
        if len(first) > MAX_SERIES:
            break
    path = SERIES_PAGE if any(page.path == SERIES_PAGE for page in sources.pages) else RUN_PAGE
    for name, run in first.items():
        if (place := typed.best((name, name.rpartition("/")[2]))) is not None:
            where = f"{counts[name]} runs" if counts[name] > 1 else run
            chart = {"chart": name} if path == SERIES_PAGE else {}
            yield _RankedHit(
                place, KINDS.index("series"), 0, Hit("series", name, where, run, address(path, run=run, **chart))
            )


def _notes(typed: SearchQuery, sources: Sources) -> Iterator[_RankedHit]:
    known = {view.stored.name for view in sources.runs}
    for age, view in enumerate(sources.runs):
        if view.about.note and (place := typed.place(view.about.note)) is not None:
            yield _of_note(
                typed, place, age, view.about.note, view.stored.name, address(RUN_PAGE, run=view.stored.name)
            )
    for age, event in enumerate(reversed(sources.notes)):
        if event.run in known and (place := typed.place(event.text)) is not None:
            where = address(
                RUN_PAGE,
                run=event.run,
                **{"from": f"{event.time_s - NOTE_S:.3f}", "to": f"{event.time_s + NOTE_S:.3f}"},
            )
            yield _of_note(typed, place, age, event.text, event.run, where)


def _of_note(typed: SearchQuery, place: MatchRank, age: int, text: str, run: str, where: str) -> _RankedHit:
    """A note is prose: where in it a word stands says little."""
    return _RankedHit(
        place._replace(worst=max(place.worst, INSIDE)),
        KINDS.index("note"),
        age,
        Hit("note", typed.excerpt(text), run, run, where),
    )


def address(path: str, **parameters: str) -> str:
    """Lone surrogates of odd names are escaped, too."""
    return f"{path}?{urlencode(parameters, errors='surrogatepass')}"
