"""Flame trees as files for other programs, and back."""

from __future__ import annotations

import io
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.stacks.fold import FlameTree, FoldOptions, WindowStacks, matching, module_of, tree_of
from analysis.stacks.frames import line_of
from analysis.stacks.tree import WeightedStacks
from analysis.traces.events import read_trace
from analysis.traces.summary import summary_of
from analysis.units import Units
from collectors.records import Event, Frame
from collectors.store.store import Buckets, Series, StackColumns, TooMuch
from dashboard.stacks import perfetto
from dashboard.stacks.flame import to_folded, to_speedscope
from dashboard.stacks.perfetto import Counter, PerfettoWindow, to_perfetto
from tests.support.stacks import Span, columns, drawn, fold

LABEL = re.compile(r"(.*) \((.*):(\d+)\)", re.DOTALL)

names = st.sampled_from(["<module>", "Net.forward", "fetch.<locals>.<listcomp>", "f"])
frames = st.builds(Frame, names, st.sampled_from(["/job/a b.py", "/job/(x).py"]), st.integers(1, 3))
spans = st.tuples(
    st.just(0),
    st.just(7),
    st.integers(1, 9).map(lambda ms: ms / 1000),
    st.lists(frames, min_size=1, max_size=5).map(tuple),
)


def from_folded(text: str) -> WeightedStacks:
    """What `to_folded` wrote."""
    frames: dict[Frame, int] = {}
    rows = [line.rpartition(" ")[::2] for line in text.splitlines()]
    stacks = [tuple(frames.setdefault(frame_of(name), len(frames)) for name in stack.split(";")) for stack, _ in rows]
    return weighed(list(frames), stacks, [int(us) / 1e6 for _, us in rows])


def from_speedscope(file: dict[str, Any]) -> WeightedStacks:
    """The first profile of a file with sampled profiles."""
    (profile, *_) = file["profiles"]
    frames = [Frame(frame["name"], frame.get("file", ""), frame.get("line", 0)) for frame in file["shared"]["frames"]]
    return weighed(frames, [tuple(sample) for sample in profile["samples"]], profile["weights"])


def weighed(frames: list[Frame], stacks: list[tuple[int, ...]], seconds: list[float]) -> WeightedStacks:
    return WeightedStacks(
        frames, stacks, np.array([len(stack) for stack in stacks], np.int64), np.array(seconds, np.float64)
    )


def frame_of(label: str) -> Frame:
    found = LABEL.fullmatch(label)
    return Frame(found[1], found[2], int(found[3])) if found else Frame(label, "", 0)


def again(weighed: WeightedStacks) -> FlameTree:
    """The tree of what was read back: its stacks begin at the root."""
    below = weighed._replace(stacks=[stack[1:] for stack in weighed.stacks], trusted=weighed.trusted - 1)
    return tree_of(WindowStacks(below, "run main thread", [], 0, 100.0), prune=0)


@given(st.lists(spans, max_size=12))
def test_what_is_exported_and_read_again_is_the_same_tree(found: list[Span]) -> None:
    tree = fold(columns(*found), prune=0)
    for read in (from_folded(to_folded(tree)), from_speedscope(json.loads(json.dumps(to_speedscope(tree))))):
        same = again(read)
        assert [same.frames[i] for i in same.frame] == [tree.frames[i] for i in tree.frame]
        assert same.self_s == pytest.approx(tree.self_s, abs=1e-6)
        assert same.parent.tolist() == tree.parent.tolist()


@pytest.fixture(scope="module")
def schema(tmp_path_factory: pytest.TempPathFactory) -> object:
    """As speedscope publishes it, in its npm package."""
    folder = tmp_path_factory.mktemp("speedscope")
    try:
        subprocess.run(
            ["npm", "pack", "--silent", "speedscope@1.25.0"], cwd=folder, check=True, capture_output=True, timeout=60
        )
    except (OSError, subprocess.SubprocessError) as error:
        pytest.skip(f"npm cannot fetch speedscope: {error}")
    (packed,) = folder.glob("*.tgz")
    subprocess.run(["tar", "xzf", packed], cwd=folder, check=True)
    (found,) = Path(folder, "package").rglob("file-format-schema*.json")
    return json.loads(found.read_text())


def test_a_speedscope_file_is_as_its_schema_says(schema: dict[str, object]) -> None:
    stack = (Frame("<module>", "/job/train.py", 9), Frame("step", "/job/train.py", 3))
    exported = to_speedscope(fold(columns((0, 7, 1.5, stack), (0, 7, 0.5, stack[:1]))), "a window")
    jsonschema.validate(json.loads(json.dumps(exported)), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**exported, "profiles": [{"type": "sampled"}]}, schema)


MODULE, NET, CONV = (
    Frame("<module>", "/job/train.py", 9),
    Frame("Net.forward", "/job/model.py", 3),
    Frame("Conv.forward", "/usr/lib/python3.11/site-packages/torch/nn/modules/conv.py", 5),
)


def shaped(shape: FoldOptions) -> list[str]:
    weighed = WeightedStacks(
        [MODULE, NET, CONV], [(0, 1, 2), (0, 2), (0,)], np.array([3, 2, 1]), np.array([2.0, 1.0, 0.5])
    )
    return drawn(tree_of(WindowStacks(weighed, "run", [], 0, 100.0), shape=shape))


def test_focus_keeps_what_stands_below_a_frame_that_matches() -> None:
    assert shaped(FoldOptions(focus="CONV")) == ["run 3", "  Conv.forward 3"]
    assert shaped(FoldOptions(focus="net.*")) == ["run 2", "  Net.forward 2", "    Conv.forward 2"]


def test_without_waits_only_work_is_left(tmp_path: Path) -> None:
    job = tmp_path / "train.py"
    job.write_text("def step():\n    with LOCK:\n        work()\n")
    get = Frame("Queue.get", "/usr/lib/python3.11/queue.py", 171)
    locked, working = Frame("step", str(job), 2), Frame("step", str(job), 3)
    weighed = WeightedStacks(
        [MODULE, get, locked, working], [(0, 1), (0, 2), (0, 3), (0, 1, 3)], np.array([2, 2, 2, 3]), np.ones(4)
    )
    tree = tree_of(WindowStacks(weighed, "run", [], 0, 100.0), shape=FoldOptions(waits=False), line_of=line_of)
    assert drawn(tree) == ["run 2", "  <module> 2", "    Queue.get 1", "      step 1", "    step 1"]


def test_hidden_frames_give_their_callees_to_their_callers() -> None:
    assert shaped(FoldOptions(hide="model.py")) == ["run 3.5", "  <module> 3.5", "    Conv.forward 3"]


def test_an_inverted_tree_begins_with_the_leaves() -> None:
    assert shaped(FoldOptions(invert=True)) == [
        "run 3.5",
        "  <module> 0.5",
        "  Conv.forward 3",
        "    <module> 1",
        "    Net.forward 2",
        "      <module> 2",
    ]


def test_frames_roll_up_into_modules_and_files() -> None:
    assert shaped(FoldOptions(roll="module")) == [
        "run 3.5",
        "  train 3.5",
        "    model 2",
        "      torch.nn.modules.conv 2",
        "    torch.nn.modules.conv 1",
    ]
    assert shaped(FoldOptions(roll="file")) == [
        "run 3.5",
        "  train.py 3.5",
        "    conv.py 1",
        "    model.py 2",
        "      conv.py 2",
    ]
    assert module_of("/venv/lib/python3.11/site-packages/PIL/__init__.py") == "PIL"


def test_a_pattern_is_text_and_no_regular_expression() -> None:
    odd = [Frame("fetch.<locals>.<listcomp>", "/job/a[1].py", 1), Frame("f", "/job/b.py", 1)]
    assert matching(odd, "a[1]") == {0}
    assert matching(odd, ".*") == set()
    assert matching(odd, "F /*") == {1}


# The window in time order, as a trace.

T0 = 1_700_000_000.0
METADATA = ("process_name", "process_sort_index", "thread_name", "thread_sort_index")


def exported(stacks: StackColumns, **more: Any) -> dict[str, Any]:
    stacks = stacks._replace(time_s=stacks.time_s + T0)
    empty = {"counters": [], "steps": {}, "unit": "step", "events": []}
    found: dict[str, Any] = orjson.loads(
        orjson.dumps(to_perfetto(PerfettoWindow("run", (T0, T0 + 100.0), stacks, **{**empty, **more})))
    )
    return found


def as_documented(trace: dict[str, Any]) -> list[dict[str, Any]]:
    """The events, each with the fields that its phase needs; slices of a thread lie in each other or apart, the outer one first."""
    opened: dict[tuple[int, int], list[float]] = {}
    asynchronous: dict[tuple[str, int], float] = {}
    for event in trace["traceEvents"]:
        assert isinstance(event["name"], str) and type(event["pid"]) is int and type(event["tid"]) is int
        match event["ph"]:
            case "M":
                assert event["name"] in METADATA and len(event["args"]) == 1
                continue
            case "X":
                ends = opened.setdefault((event["pid"], event["tid"]), [])
                while ends and ends[-1] <= event["ts"] + 1e-3:
                    ends.pop()
                assert event["dur"] >= 0 and (not ends or event["ts"] + event["dur"] <= ends[-1] + 1e-3)
                ends.append(event["ts"] + event["dur"])
            case "C":
                (value,) = event["args"].values()
                assert isinstance(value, float)
            case "i":
                assert event["s"] in ("g", "p", "t")
            case "b":
                asynchronous[event["cat"], event["id"]] = event["ts"]
            case "e":
                assert asynchronous.pop((event["cat"], event["id"])) <= event["ts"]
            case phase:
                raise AssertionError(phase)
        assert event["ts"] >= 0
    assert not asynchronous
    events: list[dict[str, Any]] = trace["traceEvents"]
    return events


@given(st.lists(spans, max_size=12))
def test_slices_of_a_trace_have_the_time_of_the_stacks_that_they_are_made_of(found: list[Span]) -> None:
    events = as_documented(exported(columns(*found)))
    inclusive: dict[str, float] = {}
    for _, _, seconds, stack in found:
        for frame in stack:
            inclusive[frame.name] = inclusive.get(frame.name, 0.0) + 1e6 * seconds
    slices: dict[str, float] = {}
    for event in events:
        if event["ph"] == "X":
            name = event["name"].rpartition("): ")[2]
            slices[name] = slices.get(name, 0.0) + event["dur"]
    assert slices == pytest.approx(inclusive, abs=15)  # microseconds: a time of today is known to a quarter of one


def test_a_trace_has_a_slice_from_the_first_to_the_last_sample_in_a_function() -> None:
    step, data, model = Frame("step", "train.py", 4), Frame("decode", "data.py", 9), Frame("forward", "model.py", 2)
    stacks = columns(
        (0, 7, 0.02, (step, data)), (0, 7, 0.03, (step, data)), (0, 7, 0.05, (step, model)), (0, 8, 0.01, (model,))
    )
    events = as_documented(exported(stacks))
    slices = [(event["tid"], event["name"], event["ts"], event["dur"]) for event in events if event["ph"] == "X"]
    assert slices == [
        (7, "train.py(4): step", 0, 100_000),
        (7, "data.py(9): decode", 0, 50_000),
        (7, "model.py(2): forward", 50_000, 50_000),
        (8, "model.py(2): forward", 100_000, 10_000),
    ]
    named = {event["tid"]: event["args"]["name"] for event in events if event["name"] == "thread_name"}
    assert (named[7], named[8]) == ("MainThread", "Thread-8")


def test_a_trace_has_counters_steps_and_events_and_our_reader_reads_it() -> None:
    step, data = Frame("step", "train.py", 4), Frame("decode", "data.py", 9)
    series = Series(1, None, "gpu/util_pct", (("gpu", "0"),), 3, T0, T0 + 2, None, None)
    times = np.array([T0, T0 + 1, T0 + 2])
    values = np.array([10.0, np.nan, 30.0])
    empty = np.zeros(3, np.int64)
    buckets = Buckets(times, times, times, empty, values, values, values, values, empty, empty, 3)
    units = Units(np.array([T0, T0 + 1]), np.array([T0 + 1, T0 + 2]), np.ones(2), np.array([12.0, 13.0]))
    happened = [Event("run", "start", T0 + 0.5), Event("run", "checkpoint", T0 + 1.5, seconds=0.4, step=12)]
    trace = exported(
        columns((0, 7, 2.0, (step, data))), counters=[Counter(series, buckets)], steps={0: units}, events=happened
    )
    events = as_documented(trace)
    counts = [(event["name"], event["ts"], event["args"]) for event in events if event["ph"] == "C"]
    assert counts == [("gpu/util_pct gpu 0", 0, {"value": 10.0}), ("gpu/util_pct gpu 0", 2e6, {"value": 30.0})]
    marks = [(event["ph"], event["name"], event["ts"]) for event in events if event.get("cat") == "event"]
    assert marks == [("i", "start", 5e5), ("b", "checkpoint", 1.1e6), ("e", "checkpoint", 1.5e6)]
    read = summary_of(read_trace(io.BytesIO(orjson.dumps(trace))))
    assert [found.number for found in read.steps] == [12, 13] and read.from_s == pytest.approx(T0)
    (kernel,) = [kernel for kernel in read.kernels if kernel.seconds]
    assert [(frame.name, frame.file, frame.line) for frame in kernel.stack] == [tuple(step), tuple(data)]
    assert kernel.seconds == pytest.approx(2.0)


def test_a_window_with_too_many_calls_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(perfetto, "MAX_SLICES", 3)
    one, two = Frame("a", "a.py", 1), Frame("b", "b.py", 1)
    with pytest.raises(TooMuch, match="choose a shorter one"):
        exported(columns(*[(0, 7, 0.1, (frame,)) for frame in (one, two) * 3]))
