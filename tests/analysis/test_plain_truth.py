"""The judge of blame is itself judged: what counts as a right answer on the plain programs."""

from __future__ import annotations

import itertools
import subprocess
import sys
import time
from pathlib import Path

import pytest

from analysis.blame.suspect import Suspect
from analysis.blame.verdict import Verdict
from collectors.records import Frame
from tests.support.plain import PROGRAMS, SOURCES, long_stretches, stretches
from tests.support.plain_truth import Expected, expected_of, is_right

DECODE = PROGRAMS["jsonl_timed"]
FILE = "/home/user/project/jsonl_timed.py"


def naming(name: str, file: str = FILE) -> Verdict:
    frame = Frame(name, file, 20)
    return Verdict("line", suspect=Suspect(frame, "", 0.1, [frame], []))


@pytest.mark.parametrize("name", ["decode_image", "Images.decode_image", "decode_image.<locals>.<listcomp>"])
def test_the_slow_function_is_named_by_itself_or_by_what_stands_in_it(name: str) -> None:
    assert is_right(DECODE, "line", naming(name))


@pytest.mark.parametrize(
    "verdict", [naming("main"), naming("decode_image", "/lib/images.py"), Verdict("no_difference"), Verdict("unknown")]
)
def test_a_caller_another_file_and_silence_are_wrong_where_a_line_is_due(verdict: Verdict) -> None:
    assert not is_right(DECODE, "line", verdict)


def test_in_a_healthy_window_only_silence_is_right_and_across_an_edge_both_are() -> None:
    assert is_right(DECODE, "nothing", Verdict("no_difference"))
    assert not is_right(DECODE, "nothing", naming("decode_image"))
    assert is_right(DECODE, "either", Verdict("no_difference"))
    assert is_right(DECODE, "either", naming("decode_image"))
    assert not is_right(DECODE, "either", naming("main"))


@pytest.mark.parametrize(
    ("factor", "around", "expected"),
    [(1.3, 1.3, "line"), (1.0, 1.0, "nothing"), (1.1, 1.3, "either"), (1.0, 1.9, "either")],
)
def test_what_is_expected_follows_the_units_of_the_window_and_around_it(
    factor: float, around: float, expected: Expected
) -> None:
    assert expected_of(factor, around) == expected


def test_plans_begin_and_end_healthy_and_leave_no_gap() -> None:
    for plan in (
        *(stretches(turn, 32.0) for turn in range(5)),
        *(long_stretches(unit_s) for unit_s in (2.0, 20.0, 60.0)),
    ):
        assert plan[0][0] == 0
        assert all(before[1] == after[0] for before, after in itertools.pairwise(plan))
        assert [factor > 1 for _, _, factor in plan] == [bool(i % 2) for i in range(len(plan))]


def test_half_of_the_programs_are_held_out_of_choosing_thresholds() -> None:
    held_out = sum(program.held_out for program in PROGRAMS.values())
    assert 0.4 <= held_out / len(PROGRAMS) <= 0.6


def test_a_part_is_slow_while_the_plan_says_so_and_notes_it(tmp_path: Path) -> None:
    plan = tmp_path / "plan.json"
    now_s = time.time()
    plan.write_text(f"[[{now_s - 60}, {now_s + 60}, 3.0]]")
    code = "from slowdown import slowed\nwith slowed(0.05) as extra_s: print(round(extra_s, 6))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=SOURCES,
        env={"SLOWDOWN": str(plan)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "0.1\n"
    (notes,) = tmp_path.glob("plan.json.*")
    begun_s, ended_s, extra_s = map(float, notes.read_text().split())
    assert now_s <= begun_s <= ended_s <= time.time()
    assert extra_s == 0.1
