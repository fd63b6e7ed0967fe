"""Stacks folded into a tree: small ones by hand, any ones by law, and that three hours of them are fast."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.stacks.fold import FlameTree
from analysis.stacks.waits import WAITS, wait_of
from collectors.records import Frame
from dashboard.api.answers import dumps
from dashboard.api.stacks import tree_answer
from dashboard.stacks.flame import to_folded, to_speedscope
from tests.support.cost import times
from tests.support.stacks import MAIN, Span, columns, drawn, fold

MODULE, TRAIN, STEP = (
    Frame("<module>", "/job/train.py", 90),
    Frame("train", "/job/train.py", 40),
    Frame("step", "/job/train.py", 7),
)
FORWARD = Frame("Module._call_impl", "/usr/lib/python3/dist-packages/torch/nn/modules/module.py", 1787)
SELECT = Frame("_PollLikeSelector.select", "/usr/lib/python3.11/selectors.py", 415)


def test_stacks_become_nodes_with_self_and_total() -> None:
    tree = fold(columns((0, 7, 1.0, (MODULE, TRAIN)), (0, 7, 2.0, (MODULE, TRAIN, STEP)), (0, 7, 0.5, (MODULE,))))
    assert drawn(tree) == ["run main thread 3.5", "  <module> 3.5", "    train 3", "      step 2"]
    assert tree.self_s.tolist() == [0, 0.5, 1, 2]
    assert tree.parent.tolist() == [-1, 0, 1, 2]
    assert (tree.samples, tree.seconds) == (350, 3.5)


def test_lines_of_one_function_merge_and_the_hottest_is_shown() -> None:
    hot, cold = STEP._replace(line=12), STEP._replace(line=9)
    tree = fold(columns((0, 7, 1.0, (MODULE, cold)), (0, 7, 3.0, (MODULE, hot)), (0, 7, 1.0, (MODULE, cold))))
    assert drawn(tree) == ["run main thread 5", "  <module> 5", "    step 5"]
    assert tree.frames[tree.frame[2]].line == 12


def test_a_node_s_lines_are_counted_as_its_time_is() -> None:
    """Most of the time below `train` passes in `step`, which line 40 calls; most of its own in the library that line 41 calls."""
    own, self_line = TRAIN._replace(line=41), TRAIN._replace(line=42)
    spans = columns(
        (0, 7, 5.0, (MODULE, TRAIN, STEP)),
        (0, 7, 1.0, (MODULE, TRAIN, FORWARD)),
        (0, 7, 3.0, (MODULE, own, FORWARD, SELECT)),
        (0, 7, 0.5, (MODULE, own, FORWARD._replace(line=3))),
        (0, 7, 0.4, (MODULE, own)),
        (0, 7, 0.6, (MODULE, self_line)),
    )
    tree = fold(spans, own_folder="/job", prune=0.1)
    names = [tree.frames[frame].name for frame in tree.frame]
    assert names == ["run main thread", "<module>", "train", "Module._call_impl", "_PollLikeSelector.select", "step"]
    assert [tree.frames[frame].line for frame in tree.frame][2] == 40
    assert tree.own_line.tolist() == [0, 90, 41, FORWARD.line, 415, 7]
    assert tree.self_line.tolist() == [0, 90, 42, FORWARD.line, 415, 7]
    assert tree_answer(tree)["nodes"]["own_line"].tolist() == tree.own_line.tolist()


def test_the_default_view_is_the_main_thread_of_the_main_process() -> None:
    worker = ("run", 0, 8, "worker")
    spans = columns((0, 7, 1.0, (MODULE,)), (0, 70, 2.0, (TRAIN,)), (1, 8, 4.0, (STEP,)), processes=(MAIN, worker))
    assert drawn(fold(spans)) == ["run main thread 1", "  <module> 1"]
    assert drawn(fold(spans, pid=8)) == ["run main thread 4", "  step 4"]
    assert drawn(fold(spans, thread="Thread-70")) == ["run 2", "  rank 0 Thread-70 2", "    train 2"]
    assert drawn(fold(spans, thread="70")) == drawn(fold(spans, thread="Thread-70"))
    assert [(one.pid, one.tid, one.name, one.role, one.seconds) for one in fold(spans).threads] == [
        (7, 7, "MainThread", "main", 1.0),
        (7, 70, "Thread-70", "main", 2.0),
        (8, 8, "MainThread", "worker", 4.0),
    ]
    assert fold(spans).samples == 100


def test_the_threads_view_has_a_node_for_each_thread() -> None:
    worker = ("run", 0, 8, "worker")
    spans = columns((0, 7, 1.0, (MODULE,)), (0, 70, 2.0, (TRAIN,)), (1, 8, 4.0, (STEP,)), processes=(MAIN, worker))
    nodes = [line for line in drawn(fold(spans, view="threads")) if not line.startswith("    ")]
    assert nodes == ["run 7", "  rank 0 MainThread 1", "  rank 0 Thread-70 2", "  worker 8 MainThread 4"]


def test_several_ranks_stand_beside_each_other() -> None:
    second = ("run", 1, 8, "main")
    spans = columns((0, 7, 1.0, (MODULE,)), (1, 8, 2.0, (MODULE,)), processes=(MAIN, second))
    assert drawn(fold(spans)) == ["run main thread 3", "  rank 0 1", "    <module> 1", "  rank 1 2", "    <module> 2"]
    assert drawn(fold(spans, rank=1)) == ["run main thread 2", "  rank 1 2", "    <module> 2"]


def test_a_baseline_stands_beside_the_window_whatever_only_one_of_them_has() -> None:
    window = columns((0, 7, 1.0, (MODULE, TRAIN)), (0, 7, 3.0, (MODULE, STEP)))
    normal = columns((0, 7, 8.0, (MODULE, TRAIN._replace(line=44))), (0, 7, 2.0, (SELECT,)))
    tree = fold(window, baseline=normal)
    assert drawn(tree) == [
        "run main thread 4",
        "  <module> 4",
        "    step 3",
        "    train 1",
        "  _PollLikeSelector.select 0",
    ]
    assert tree.base_total_s is not None
    assert tree.base_total_s.tolist() == [10, 8, 0, 8, 2]
    assert (tree.baseline_seconds, tree.baseline_samples) == (10, 1000)
    assert tree.frames[tree.frame[3]].line == TRAIN.line, "the line of the window, not of the baseline"
    assert fold(window).base_self_s is None


def test_small_nodes_are_cut_but_their_time_stays_in_their_parents() -> None:
    spans = columns((0, 7, 0.0005, (MODULE, TRAIN, STEP)), (0, 7, 0.9995, (MODULE, TRAIN)))
    assert drawn(fold(spans, prune=0.001)) == ["run main thread 1", "  <module> 1", "    train 1"]
    assert len(fold(spans, prune=0).frame) == 4


def test_frames_are_own_library_or_waits() -> None:
    spans = columns((0, 7, 1.0, (MODULE, FORWARD, Frame("mine", "/else/where.py", 3), SELECT)))
    assert fold(spans).kind == ["library", "own", "library", "own", "wait"], "what is not Python's"
    assert fold(spans, own_folder="/job").kind == fold(spans).kind, "an editable install lies elsewhere"


def test_a_wait_is_recognised_by_function_and_file() -> None:
    loader = Frame(
        "_MultiProcessingDataLoaderIter._try_get_data", "/x/site-packages/torch/utils/data/dataloader.py", 1291
    )
    wait = wait_of(loader)
    assert wait is not None
    assert (wait.what, wait.joined) == ("data loader", "workers")
    assert wait_of(Frame("get", "/usr/lib/python3.10/queue.py", 171)) == wait_of(
        Frame("Queue.get", "/usr/lib/python3.11/queue.py", 171)
    )
    assert wait_of(Frame("get", "/job/train.py", 1)) is None
    assert len(WAITS) == len({(row.function, row.file) for row in WAITS})


def test_an_empty_window_is_a_root_alone() -> None:
    tree = fold(columns(processes=()))
    assert drawn(tree) == ["no samples 0"]
    assert (tree.samples, tree.seconds, tree.threads) == (0, 0.0, [])
    assert to_folded(tree) == ""
    assert drawn(fold(columns(processes=()), view="threads", baseline=columns())) == ["no samples 0"]


def test_an_answer_is_plain_json() -> None:
    spans = columns((0, 7, 1.0, (MODULE, TRAIN)))
    answer = orjson.loads(dumps(tree_answer(fold(spans))))
    assert answer["nodes"] == {
        "frame": [0, 1, 2],
        "parent": [-1, 0, 1],
        "self_s": [0, 0, 1],
        "total_s": [1, 1, 1],
        "untrusted_s": [0, 0, 0],
        "base_self_s": None,
        "base_total_s": None,
        "kind": ["library", "own", "own"],
        "self_line": [0, 90, 40],
        "own_line": [0, 90, 40],
    }
    assert answer["frames"][1] == {"name": "<module>", "file": "/job/train.py", "line": 90}
    assert answer["threads"] == [{"pid": 7, "tid": 7, "name": "MainThread", "rank": 0, "role": "main", "seconds": 1.0}]


def test_folded_text_has_a_line_a_stack_in_microseconds() -> None:
    odd = Frame("a;b\nc", "/job/x.py", 1)
    text = to_folded(fold(columns((0, 7, 1.5, (MODULE, TRAIN)), (0, 7, 0.25, (odd,)))))
    assert text.splitlines() == [
        "run main thread;<module> (/job/train.py:90);train (/job/train.py:40) 1500000",
        "run main thread;a:b:c (/job/x.py:1) 250000",
    ]


def test_a_speedscope_profile_has_every_second_once() -> None:
    tree = fold(columns((0, 7, 1.5, (MODULE, TRAIN)), (0, 7, 0.25, (MODULE,))))
    exported = to_speedscope(tree, "a window")
    (profile,) = exported["profiles"]
    names = [[exported["shared"]["frames"][frame]["name"] for frame in stack] for stack in profile["samples"]]
    assert names == [["run main thread", "<module>"], ["run main thread", "<module>", "train"]]
    assert profile["weights"] == [0.25, 1.5]
    assert (profile["type"], profile["unit"], profile["endValue"], profile["name"]) == (
        "sampled",
        "seconds",
        1.75,
        "a window",
    )


frames = st.builds(Frame, st.sampled_from("abc"), st.sampled_from(["/x.py", "/y.py"]), st.integers(1, 3))
stacks = st.lists(frames, min_size=1, max_size=5).map(tuple)
windows = st.lists(st.tuples(st.just(0), st.just(7), st.integers(1, 9).map(float), stacks), max_size=12)


@given(windows, windows)
def test_any_stacks_give_a_tree_whose_parts_add_up(window: list[Span], normal: list[Span]) -> None:
    tree = fold(columns(*window), baseline=columns(*normal), prune=0)
    assert tree.base_self_s is not None
    assert tree.base_total_s is not None
    children = np.zeros(len(tree.frame))
    for node in range(1, len(tree.frame)):
        children[tree.parent[node]] += tree.total_s[node]
        assert 0 <= tree.parent[node] < node
    assert tree.self_s + children == pytest.approx(tree.total_s)
    assert paths(tree, tree.self_s) == by_function(window)
    assert paths(tree, tree.base_self_s) == by_function(normal)


def paths(tree: FlameTree, seconds: np.ndarray) -> dict[tuple[tuple[str, str], ...], float]:
    """Self seconds by path of functions, as they can be read off the tree."""
    found: list[tuple[tuple[str, str], ...]] = [()]
    for frame, parent in zip(tree.frame.tolist()[1:], tree.parent.tolist()[1:], strict=True):
        found.append((*found[parent], tree.frames[frame][:2]))
    assert len(set(found)) == len(found), "a path is one node"
    return {path: time_s for path, time_s in zip(found, seconds.tolist(), strict=True) if time_s > 0}


def by_function(spans: list[Span]) -> dict[tuple[tuple[str, str], ...], float]:
    """The same, added up span by span."""
    found: dict[tuple[tuple[str, str], ...], float] = defaultdict(float)
    for _, _, seconds, stack in spans:
        found[tuple(frame[:2] for frame in stack)] += seconds
    return dict(found)


def test_three_hours_of_a_varied_job_fold_in_a_blink() -> None:
    random = np.random.default_rng(0)
    many = 1_080_000
    known = [Frame(f"f{i}", f"/job/{i % 50}.py", i) for i in range(3000)]
    stems = [tuple(random.integers(0, 300, 12).tolist()) for _ in range(60)]
    rows = [stems[i % 60] + tuple(random.integers(0, 3000, 3 + i % 17).tolist()) for i in range(20_000)]
    spans = columns((0, 7, 0.01, (MODULE,)))._replace(
        frames=known,
        stacks=rows,
        time_s=np.linspace(0, many * 0.01, many),
        duration_s=np.full(many, 0.01),
        process=np.zeros(many, np.int32),
        tid=np.full(many, 7),
        stack=random.integers(0, len(rows), many).astype(np.int32),
        resolved=np.ones(many, bool),
        gil=np.zeros(many, np.int8),
        cpu_s=np.full(many, np.nan),
    )
    assert times(lambda: fold(spans), lambda: np.sort(spans.stack, kind="stable")) < 30
