"""A run with a bit of everything, its zip, and all that a store answers of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st

from collectors.records import (
    Event,
    Frame,
    LogLine,
    Offset,
    Points,
    ProgressBar,
    Record,
    RunInfo,
    Sample,
    SourceText,
    StackRecording,
    StackSpan,
)
from collectors.store.engines import open_store
from collectors.store.store import LogQuery, SampleQuery, Store
from dashboard.archive import write_zip

T0 = 1_764_000_000.0
RUN = "group/a ä,%"
NUMBERS = st.floats(allow_nan=True, allow_infinity=True)
FRAMES = [Frame(name, f"/job/{name}.py", line) for name, line in (("main", 3), ("step", 9), ("decode", 88))]


@st.composite
def records(draw: st.DrawFn) -> list[Record]:
    """Two runs and the machine: points with and without steps, of two ranks and two attempts, lines, events, stacks, texts."""
    found: list[Record] = []
    for run in (RUN, "other"):
        found.append(RunInfo(run, {"run": run, "host": "box", "config": {"lr": 0.1}}))
        for rank in draw(st.lists(st.sampled_from([None, "1"]), min_size=1, max_size=2, unique=True)):
            labels = (("host", "box"),) + ((("rank", rank),) if rank else ())
            time_s = T0
            for step in range(draw(st.integers(0, 20))):
                time_s += draw(st.floats(0.001, 50))
                names = draw(st.sampled_from([("loss",), ("loss", "lr"), ("lr", "a,b"), ("loss", "loss")]))
                values = tuple(draw(NUMBERS) for _ in names)
                found.append(
                    Points(
                        run,
                        labels,
                        names,
                        values,
                        round(time_s, 6),
                        draw(st.sampled_from([step, None])),
                        int(step > 12),
                    )
                )
            untimed = draw(st.sampled_from(["untimed", "loss"]))
            found += [
                Points(run, labels, (untimed,), (float(step),), None, step) for step in range(draw(st.integers(0, 5)))
            ]
        for at in range(draw(st.integers(0, 12))):
            found.append(
                LogLine(
                    run,
                    draw(st.sampled_from(["a.log", "b.log"])),
                    T0 + at,
                    draw(st.sampled_from([0, 20, 40])),
                    f"line {at} <b>",
                    draw(st.sampled_from([None, 1])),
                )
            )
            found.append(Event(run, "checkpoint", T0 + at, 0, at, 0.5, f"step {at}", {"path": "x"}))
        found.append(ProgressBar(run, "a.log", T0 + 5, "50 %"))
        steps = draw(st.lists(st.one_of(st.none(), st.integers(-3, 2**53)), max_size=5))
        found += [
            Sample(run, f"answer <{at % 2}>", "text", "text/plain", T0, step, at, b"x" * at)
            for at, step in enumerate(steps)
        ]
        found.append(Offset(f"{run}/a.log", run, 1, 2, 300, 12, 1, 0, "line 3: not JSON", {}))
        found.append(SourceText(run, "/job/decode.py", "ab" * 32, "def decode():\n    pass\n", T0))
        if draw(st.booleans()):
            found.append(_profile(draw, run))
    found += [
        Points(None, (("host", "box"),), ("host/cpu_pct",), (float(at),), T0 + at, None)
        for at in range(draw(st.integers(0, 90)))
    ]
    return found


def _profile(draw: st.DrawFn, run: str) -> StackRecording:
    at, samples = 0, []
    for _ in range(draw(st.integers(1, 30))):
        length = draw(st.integers(1_000_000, 20_000_000_000))
        stack = tuple(FRAMES[: draw(st.integers(1, 3))])
        samples.append(
            StackSpan(
                at,
                length,
                draw(st.sampled_from([7, 8])),
                stack,
                draw(st.sampled_from([None, True, False])),
                draw(st.sampled_from([None, length // 2])),
                draw(st.booleans()),
            )
        )
        at += length
    return StackRecording(
        run, 0, 7, "main", "box", "native", 100.0, T0, 0, at, {7: "MainThread", 8: "loader"}, samples, at // 10_000_000
    )


def everything(store: Store, run: str) -> dict[str, Any]:
    """All that can be asked of a run."""
    series = {(found.name, found.labels): found for found in store.series(run)}
    row = store.run(run)
    assert row is not None
    answer: dict[str, Any] = {
        "run": row._replace(median_interval_s=None, last_step=None),
        "events": store.events(run),
        "bars": store.bars(run),
        "samples": [sample._replace(number=0) for sample in store.samples(SampleQuery(run, data=True))],
        "names": store.sample_names(run),
    }
    lines = store.logs(LogQuery(run, limit=1000))
    answer["lines"] = [line._replace(number=0) for line in lines.lines], lines.total
    for axis in ("time", "step"):
        points = store.points([found.id for found in series.values()], None, None, axis)  # type: ignore[arg-type]
        for key, found in series.items():
            columns = points[found.id]
            rows = zip(
                columns.segment.tolist(),
                columns.place.tolist(),
                columns.step.tolist(),
                columns.value.tolist(),
                strict=True,
            )
            answer[f"{axis} {key}"] = sorted(map(repr, rows))
    answer["series"] = sorted(
        (found._replace(points=0) for found in series.values()), key=lambda found: (found.name, found.labels)
    )
    answer["spans of time"] = [store.profiled_from(run) or 0.0, store.profiled_until(run) or 0.0]
    stacks = store.stacks(T0 - 10, T0 + 1000, run)
    spans: dict[tuple[Any, ...], float] = {}
    for at in range(len(stacks.time_s)):
        key = (
            int(stacks.tid[at]),
            tuple(stacks.frames[frame] for frame in stacks.stacks[stacks.stack[at]]),
            int(stacks.gil[at]),
            bool(stacks.resolved[at]),
        )
        spans[key] = spans.get(key, 0.0) + float(stacks.duration_s[at])
    answer["spans"], answer["samples"] = spans, stacks.samples
    answer["threads"], answer["hz"] = stacks.threads, stacks.hz
    answer["texts"] = [store.source_text(run, frame.file) for frame in stacks.frames]
    return answer


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("exported")
    store = open_store(folder / "store", write=True)
    store.append(
        [RunInfo(RUN, {"run": RUN}), *(Points(RUN, (), ("loss",), (1.0,), T0 + step, step) for step in range(5000))]
    )
    write_zip(store, folder / "store", RUN, folder / "run.zip")
    store.close()
    yield folder / "run.zip"
