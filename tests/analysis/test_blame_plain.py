"""Blame on programs that know nothing of the dashboard: the part that was slow is named, whatever starts the program and however it logs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from analysis.stacks.threads import ThreadSelection
from benchmarks.calibration import evaluate, plans_of
from tests.support.plain import PROGRAMS, record
from tests.support.plain_truth import PlainRecording, names

SOME = 20
SOON = [(0.0, 8.0, 1.0), (8.0, 13.0, 4.0)]
TOGETHER = (  # recorded at the same time: no more than two of them need much of a core while they are slow
    ("forked_workers", "spawned_workers", "forkserver_workers"),
    ("jsonl_untimed", "child_process"),
    ("teed", "two_ranks"),
    ("jsonl_timed", "fsdp2_gloo"),
    ("hf_trainer", "two_runs"),
    ("ddp_gloo", "accumulated"),
    ("compiled", "print_only"),
    ("lightning_fit", "varying_length"),
    ("notebook", "editable_install"),
    ("inline_main", "inline_module"),
    ("steps_of_60s", "steps_of_20s", "rl_phases"),
)


def test_all_programs_are_recorded() -> None:
    assert sorted(name for names in TOGETHER for name in names) == sorted(PROGRAMS)


def test_a_worker_that_inherited_the_open_log_is_no_main_process(tmp_path: Path) -> None:
    """The JSONL was opened before the loader forked: its workers hold it open, too."""
    record(tmp_path / "recording", {"forked_workers": SOON})
    recording = PlainRecording(tmp_path / "recording", "forked_workers")
    try:
        begun_s = recording.plan[1][0]
        window = (begun_s + 0.8, begun_s + 4.4)
        verdict = recording.queries.stacks.blame(recording.run, window)
        assert names(recording.program, verdict), verdict.sentence
        main = recording.queries.stacks.fold(recording.run, window, ThreadSelection("main")).tree
        assert 0.9 * (window[1] - window[0]) < main.seconds < 1.02 * (window[1] - window[0])
    finally:
        recording.close()


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("programs", TOGETHER, ids="-".join)
def test_the_slow_part_of_a_plain_program_is_named_in_19_of_20_windows(tmp_path: Path, programs: Sequence[str]) -> None:
    record(tmp_path / "recording", plans_of(programs))
    rows = evaluate([tmp_path / "recording"], 2 * SOME)  # half of them slow, half healthy
    for name in programs:
        for slow in (True, False):
            mine = [row for row in rows if row["program"] == name and (row["planned_factor"] > 1) == slow]
            right = sum(row["right"] for row in mine)
            assert right >= 0.95 * len(mine), f"{name}, {'slow' if slow else 'healthy'}: {right} of {len(mine)}"
    assert not [row["sentence"] for row in rows if row["contradictions"]]
    assert not [row["sentence"] for row in rows if row["main_s"] > 1.02 * row["seconds"]]
