"""The audit of verdicts: its table says of each program where it is slow, and its judgement of an answer is by function and file."""

from __future__ import annotations

import ast
import itertools
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.audit.catalogue import PROGRAMS, ROWS, Row, folder_of, plan_of, set_of
from benchmarks.audit.evaluation import judge, names
from collectors.records import Frame

ROW = Row("sorting", "", "", True, ("sorting.py:Sorter.sort",), ("sorting.py:load",), outer=("epoch",))


def qualified_names(source: str) -> set[str]:
    found = set()

    def walk(node: ast.AST, prefix: str) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                found.add(prefix + child.name)
                walk(child, f"{prefix}{child.name}.<locals>.")
            elif isinstance(child, ast.ClassDef):
                walk(child, f"{prefix}{child.name}.")
            else:
                walk(child, prefix)

    walk(ast.parse(source), "")
    return found


@pytest.mark.parametrize("row", ROWS.values(), ids=lambda row: row.name)
def test_each_place_is_in_its_program(row: Row) -> None:
    folder = folder_of(row.name)
    assert (folder / f"{row.name}.py").exists()
    for place in row.accepted:
        file, _, function = place.partition(":")
        assert function in qualified_names((folder / file).read_text())
    assert row.accepted or row.right in ("others", "healthy")


def test_halves_are_equal() -> None:
    sets = [set_of(row.name) for row in PROGRAMS]
    assert sets.count("fit") == sets.count("held_out") == len(PROGRAMS) / 2


@pytest.mark.parametrize("row", ROWS.values(), ids=lambda row: row.name)
def test_slow_phases_have_the_factors_of_the_row(row: Row) -> None:
    plan = plan_of(row)
    assert all(before[1] == after[0] for before, after in itertools.pairwise(plan))
    slow = [factor for _, _, factor in plan if factor != 1]
    assert slow == ([] if row.right == "healthy" else [factor for factor in row.factors if factor != 1])
    assert (plan[0][2] > 1) == row.from_start


@pytest.mark.parametrize(
    ("place", "file", "function", "same"),
    [
        ("a.py:sort", "a.py", "sort", True),
        ("a.py:sort", "/project/a.py", "Sorter.sort", True),
        ("a.py:Sorter.sort", "a.py", "Sorter.sort", True),
        ("a.py:Sorter.sort", "a.py", "Other.sort", False),
        ("a.py:Sorter.sort", "b.py", "Sorter.sort", False),
        ("a.py:Sorter.sort", "a.py", "sort", True),  # a sampler that knows no classes
        ("a.py:sort", "a.py", "sort.<locals>.<lambda>", True),
        ("a.py:make.<locals>.weigh", "a.py", "make.<locals>.weigh.<locals>.<genexpr>", True),
        ("a.py:make.<locals>.weigh", "a.py", "make.<locals>.other", False),
        ("a.py:sort", "a.py", "<lambda>", False),
    ],
)
def test_a_frame_is_compared_by_function_and_file(place: str, file: str, function: str, same: bool) -> None:
    assert names(place, Frame(function, file, 3)) is same


@pytest.mark.parametrize(
    ("function", "judgement"),
    [("Sorter.sort", "right"), ("load", "right"), ("epoch", "vague"), ("main", "vague"), ("Sorter.show", "wrong")],
)
def test_an_answer_is_right_vague_or_wrong(function: str, judgement: str) -> None:
    assert judge(ROW, False, _naming(function)) == judgement
    assert judge(ROW, True, _naming(function)) == "blamed"


def test_a_loop_is_right_only_at_the_line_that_calls_what_is_slow() -> None:
    row = ROWS["kmeans_np"]
    lines = (folder_of(row.name) / "kmeans_np.py").read_text().splitlines()
    calling, other = [
        1 + next(i for i, line in enumerate(lines) if text in line) for text in ("= assign(", "= update(")
    ]
    assert judge(row, False, _naming("run", "kmeans_np.py", calling)) == "right"
    assert judge(row, False, _naming("run", "kmeans_np.py", other)) == "vague"


def _naming(function: str, file: str = "sorting.py", line: int = 3) -> Any:
    return SimpleNamespace(verdict="line", reason="", suspect=SimpleNamespace(frame=Frame(function, file, line)))
