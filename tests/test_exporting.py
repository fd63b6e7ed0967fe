"""Flame trees as files for other programs, and back."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.stacks.fold import FlameTree, FoldOptions, WindowStacks, matching, module_of, tree_of
from analysis.stacks.frames import line_of
from analysis.stacks.tree import WeightedStacks
from collectors.records import Frame
from dashboard.stacks.flame import from_folded, from_speedscope, to_folded, to_speedscope
from tests.stacks import Span, columns, drawn, fold

names = st.sampled_from(["<module>", "Net.forward", "fetch.<locals>.<listcomp>", "f"])
frames = st.builds(Frame, names, st.sampled_from(["/job/a b.py", "/job/(x).py"]), st.integers(1, 3))
spans = st.tuples(
    st.just(0),
    st.just(7),
    st.integers(1, 9).map(lambda ms: ms / 1000),
    st.lists(frames, min_size=1, max_size=5).map(tuple),
)


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
