"""Stores with runs to report, and what makes a report inert: no markup of a run's, nothing that loads, nothing that runs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np

from collectors.records import Event, Frame, Labels, LogLine, Points, RunInfo, StackRecording, StackSpan
from collectors.store.engines import open_store
from collectors.store.store import Store
from dashboard.queries import Queries
from dashboard.report.contents import ReportQuery, gather
from dashboard.report.page import MAX_BYTES, html_of

T0 = 1_764_000_000.0
SITE = "/venv/lib/python3.11/site-packages"
MODULE, LOOP = Frame("<module>", "/job/train.py", 90), Frame("train", "/job/train.py", 40)
DECODE, LINEAR = Frame("decode_image", "/job/data.py", 88), Frame("linear", f"{SITE}/torch/nn/functional.py", 9)
GPU: Labels = (("gpu", "0"), ("host", "box"), ("uuid", "GPU-1"))
VOID = frozenset(("br", "meta", "path", "rect"))
TAGS = VOID | frozenset(
    [
        "html",
        "head",
        "title",
        "style",
        "body",
        "header",
        "main",
        "section",
        "footer",
        "h1",
        "h2",
        "h3",
        "p",
        "bdi",
        "span",
        "dl",
        "div",
        "dt",
        "dd",
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
        "ol",
        "ul",
        "li",
        "pre",
        "details",
        "summary",
        "figure",
        "figcaption",
        "svg",
        "text",
        "pattern",
    ]
)
ATTRIBUTES = frozenset(
    [
        "lang",
        "charset",
        "name",
        "content",
        "http-equiv",
        "class",
        "id",
        "scope",
        "tabindex",
        "role",
        "aria-label",
        "aria-hidden",
        "x",
        "y",
        "width",
        "height",
        "d",
        "rx",
        "viewbox",
        "preserveaspectratio",
        "patternunits",
        "patterntransform",
    ]
)


def _inert(attribute: str, value: str) -> bool:
    """Whether it is one of those that load and run nothing; a fill is a plain colour, never a url()."""
    return attribute in ATTRIBUTES or (attribute == "fill" and re.fullmatch("#[0-9a-f]{6}", value) is not None)


class Parsed(HTMLParser):
    """`texts` is what a reader sees, `wrong` what must not stand in a report."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.wrong: list[str] = []
        self._open: list[str] = []
        self.feed(page)
        self.close()
        self.wrong += [f"<{tag}> is not closed" for tag in self._open]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.wrong += [f"<{tag}>"] if tag not in TAGS else []
        self.wrong += [f"{name}={value!r}" for name, value in attrs if not _inert(name, value or "")]
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open.pop() != tag:
            self.wrong.append(f"</{tag}> has no beginning")

    def handle_data(self, data: str) -> None:
        if self._open[-1:] == ["style"]:
            self.wrong += [
                word for word in ("url(", "@import", "expression(", "</") if word in data.lower().replace("url(#", "")
            ]
        else:
            self.texts.append(data)

    def handle_comment(self, data: str) -> None:
        self.wrong.append(f"<!--{data}-->")

    @property
    def text(self) -> str:
        return "".join(self.texts)


def inert(page: bytes) -> Parsed:
    """The report parsed; fails where anything in it could run, load or stand open."""
    assert len(page) <= MAX_BYTES
    parsed = Parsed(page.decode())
    assert parsed.wrong == [], sorted(set(parsed.wrong))[:9]
    return parsed


def profile(
    run: str, lo_s: float, parts: Sequence[tuple[int, tuple[Frame, ...]]], seconds: int = 60, rank: int = 0
) -> StackRecording:
    """A minute of steps, whose parts are (ms, stack)."""
    samples, at_ms = [], 0
    while at_ms < 1000 * seconds:
        for ms, stack in parts:
            samples.append(StackSpan(at_ms * 1_000_000, ms * 1_000_000, 7, stack, True, ms * 1_000_000))
            at_ms += ms
    about = (run, rank, 7, "main", "box", "native", 100.0, lo_s, 0, at_ms * 1_000_000)
    return StackRecording(*about, {7: "MainThread"}, samples, len(samples))


FED = [(30, (MODULE, LOOP, DECODE)), (70, (MODULE, LOOP, LINEAR))]
MINUTES = 4
SLOW = (T0 + 120, T0 + 132)  # steps take 1 s in place of 0.1 s


def fill(store: Store, run: str = "run", data_ms: int = 30, t0: float = T0) -> None:
    """Four minutes at ten steps a second, of which 12 s are slow; with a log, a configuration and the machine's GPU."""
    info = {
        "cwd": "/job",
        "command": "python train.py --api-key abc123secret --lr 0.1",
        "config": {"lr": 0.1, "layers": 2},
    }
    store.append([RunInfo(run, {**info, "git_commit": "f" * 40, "versions": {"torch": "2.13"}, "host": "box"})])
    names = ("train/loss", "phase/data_s", "phase/forward_s")
    lo, hi = SLOW[0] - T0, SLOW[1] - T0
    times = [*np.arange(0, lo, 0.1), *np.arange(lo, hi, 1.0), *np.arange(hi, 60 * MINUTES, 0.1)]
    points = []
    for step, at_s in enumerate(times):
        phases = (0.9 if lo < at_s <= hi + 0.5 else data_ms / 1000, 0.1 - data_ms / 1000)
        points.append(Points(run, (), names, (4.0 / (1 + step / 100), *phases), t0 + float(at_s), step))
    store.append(points)
    for minute in range(MINUTES):
        store.append([profile(run, t0 + 60 * minute, [(data_ms, FED[0][1]), (100 - data_ms, FED[1][1])])])
    store.append([LogLine(run, "train.log", t0 + i, 20, f"step {i} loss {4 / (1 + i)}") for i in range(60 * MINUTES)])
    store.append(
        [
            LogLine(run, "train.log", t0 + lo + i, 30, f"retrying shard {i}: https://me:hunter2@host/x")
            for i in range(10)
        ]
    )
    store.append([Event(run, "checkpoint", t0 + 60, seconds=2.0)])
    seconds = np.arange(t0, t0 + 60 * MINUTES, 0.5).tolist()
    both = ("gpu/utilization_pct", "gpu/memory_used_bytes")
    store.append([Points(None, GPU, both, (100.0 - data_ms, 8e9), time_s, None) for time_s in seconds])


def opened(folder: Path) -> Queries:
    return Queries(open_store(folder, write=False), folder, folder)


def report_of(queries: Queries, run: str, **asked: Any) -> Parsed:
    return inert(html_of(gather(queries, ReportQuery(run, **asked))))
