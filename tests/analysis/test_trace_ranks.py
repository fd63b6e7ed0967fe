"""Traces of several ranks of one job: which rank the others waited for, and what cannot be said."""

from __future__ import annotations

from pathlib import Path

import pytest

from analysis.traces.ranks import RankComparison, compare_ranks
from analysis.traces.steps import StepTrace
from analysis.traces.summary import step_trace_of
from tests.support.torch_traces import TraceWriter, recorded

ALL_REDUCE = "ncclDevKernel_AllReduce_Sum_f32_RING_LL"
GROUP = {"Collective name": "allreduce", "Process Group Name": "0", "Process Group Ranks": "[0, 1]"}
SECOND = 1e6


def rank_trace(
    folder: Path,
    rank: int | None,
    arrivals: list[float],
    *,
    clock_s: float = 0.0,
    numbered: bool = True,
    world_size: int = 2,
) -> StepTrace:
    """Of one rank, that comes to the collectives at these times, in us; each ends 10,000 us after the one before."""
    about = {} if rank is None else {"distributedInfo": {"rank": rank, "world_size": world_size}}
    writer = TraceWriter(baseTimeNanoseconds=int((1_700_000_000 + clock_s) * 1e9), **about)
    for number, at in enumerate(arrivals):
        end = 10_000 * (number + 1)
        args = {**GROUP, "Seq": 40 + number} if numbered else {}
        writer.launch(at - 10, at, end - at, ALL_REDUCE)
        writer.events[-1]["args"].update(args)
    path = folder / f"{'host_4711' if rank is None else f'model_rank{rank}'}.pt.trace.json"
    path.write_bytes(writer.data())
    return step_trace_of(path, folder)


def compared(*traces: StepTrace) -> RankComparison:
    found = compare_ranks(traces)
    assert found is not None
    return found


@pytest.mark.parametrize("numbered", [True, False])
def test_the_rank_whose_kernel_is_shortest_was_last_and_the_others_waited_for_it(
    numbered: bool, tmp_path: Path
) -> None:
    traces = [
        rank_trace(tmp_path, 0, [2_000, 12_000, 22_000], numbered=numbered),
        rank_trace(tmp_path, 1, [9_000, 18_000, 22_000], numbered=numbered),
    ]
    found = compared(*traces)
    assert (found.by, found.matched) == ("sequence" if numbered else "end", 3)
    first, second = found.rows
    assert (first.last, second.last) == (0, 2)
    assert second.waited_for_s == pytest.approx(0.013) == first.waited_s
    assert second.waited_s == pytest.approx(0) == first.waited_for_s
    assert any("do not number" in sentence for sentence in found.said) is not numbered


def test_numbered_collectives_are_compared_though_clocks_differ_and_that_is_said(tmp_path: Path) -> None:
    found = compared(rank_trace(tmp_path, 0, [2_000, 12_000]), rank_trace(tmp_path, 1, [9_000, 18_000], clock_s=7))
    assert (found.by, found.rows[1].last) == ("sequence", 2)
    assert found.rows[1].waited_for_s == pytest.approx(0.013)
    assert [sentence for sentence in found.said if "clocks of the ranks differ by 7 s" in sentence]


def test_without_numbers_and_with_two_clocks_nobody_is_called_late(tmp_path: Path) -> None:
    arrivals = [10_000.0 * number + 3_000 for number in range(20)]
    found = compared(
        rank_trace(tmp_path, 0, arrivals, numbered=False),
        rank_trace(tmp_path, 1, arrivals, numbered=False, clock_s=0.3047),
    )
    assert found.by is None and found.matched == 0 and all(row.last == 0 for row in found.rows)
    assert "Which rank came last is not known" in found.said[-1]


def test_groups_of_other_ranks_with_the_same_name_are_others(tmp_path: Path) -> None:
    traces = []
    for rank in (0, 1):
        writer = TraceWriter(distributedInfo={"rank": rank, "world_size": 4})
        writer.launch(0, 10, 100 * (rank + 1), ALL_REDUCE)
        writer.events[-1]["args"].update({**GROUP, "Process Group Ranks": f"[{rank}, {rank + 2}]", "Seq": 1})
        path = tmp_path / f"{rank}.json"
        path.write_bytes(writer.data())
        traces.append(step_trace_of(path, tmp_path))
    assert compared(*traces).matched == 0


def test_operators_name_the_collective_of_a_kernel_that_does_not(tmp_path: Path) -> None:
    traces = []
    for rank, arrival in ((0, 100), (1, 700)):
        writer = TraceWriter(distributedInfo={"rank": rank, "world_size": 2})
        writer.add("cpu_op", "record_param_comms", 0, 50, **GROUP, Seq=9)
        writer.launch(10, arrival, 1_000 - arrival, ALL_REDUCE)
        path = tmp_path / f"{rank}.json"
        path.write_bytes(writer.data())
        traces.append(step_trace_of(path, tmp_path))
    found = compared(*traces)
    assert (found.by, found.matched, found.rows[1].last) == ("sequence", 1, 1)


def test_the_rank_is_in_the_name_of_a_file_that_does_not_say_it(tmp_path: Path) -> None:
    assert rank_trace(tmp_path, None, [100]).is_ranked is False
    writer = TraceWriter()
    writer.launch(0, 10, 100)
    for name, rank in (("gpt_rank-12.json", 12), ("rank3.pt.trace.json", 3), ("crank7.json", None)):
        (tmp_path / name).write_bytes(writer.data())
        found = step_trace_of(tmp_path / name, tmp_path)
        assert (found.rank if found.is_ranked else None) == rank


def test_traces_without_a_rank_or_of_one_rank_are_not_compared(tmp_path: Path) -> None:
    one = rank_trace(tmp_path, 0, [100])
    assert compare_ranks([one, one, rank_trace(tmp_path, None, [100])]) is None


def test_jobs_of_two_sizes_are_not_one_job(tmp_path: Path) -> None:
    found = compared(rank_trace(tmp_path, 0, [100], world_size=2), rank_trace(tmp_path, 1, [100], world_size=8))
    assert found.matched == 0 and "jobs with 2 and 8 ranks" in found.said[0]


def test_two_ranks_of_a_real_job_are_matched_where_their_kernels_end_together() -> None:
    files = [recorded("nccl128_rank0"), recorded("nccl128_rank1")]
    found = compared(*(step_trace_of(file, file.parent) for file in files))
    assert (found.by, found.matched) == ("end", 5)  # of the ten of each
    assert [row.last for row in found.rows] == [1, 4]
    assert found.rows[1].waited_for_s == pytest.approx(0.0320, abs=1e-4)
    assert any("2 of 128 ranks" in sentence for sentence in found.said)
