"""Which line a window was lost to: on real programs with a loss planted in each, and by hand where no program can show it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from analysis.blame.verdict import Verdict
from analysis.stacks.spans import Interval
from collectors.message import text_of
from tests.support.recording import Plan, Recording, best_sampler, recorded

LOCK, GIL = "while the main thread waits for its lock", "while the main thread waits for the GIL"
TO_BLAME = {  # program -> function, reason
    "slow_decode": ("decode_image", ""),
    "slow_decode_in_worker": ("decode_image", ""),
    "slow_decode_in_one_worker": ("decode_image", ""),
    "slow_collate": ("pad_batch", ""),
    "gil_pool": ("tokenize", GIL),
    "lock": ("write_cache", LOCK),
    "disk_wait": ("save_activations", ""),
    "logging_in_the_loop": ("log_tensors", ""),
    "one_step_of_twenty": ("rebuild_index", ""),
    "short_steps": ("normalize", ""),
    "collector": ("gc", "garbage collection"),
}
WINDOW_S = {"one_step_of_twenty": 4.0}
IN_PROCESS = ("slow_decode", "gil_pool", "lock", "disk_wait", "one_step_of_twenty", "short_steps", "collector")
WITH_WORKERS = ("slow_decode_in_worker",)
HEALTHY = ("slow_decode", "disk_wait", "slow_decode_in_worker")
RECORDINGS = 3  # at most
COUNT = 2  # windows a target; test_blame_long.py has the full counts
TRUTH = 0.2  # while several programs and other tests share two cores; 0.1 in test_blame_long.py


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Recording]]:
    """All at the same time: most of them wait most of the time. One that the machine's other work slowed is recorded anew."""
    plans = [
        Plan(IN_PROCESS, best_sampler(), seconds=20, healthy_s=6.5, lossy_s=6.5),
        Plan(WITH_WORKERS, "py-spy", seconds=20, healthy_s=6.5, lossy_s=6.5),
    ]
    found: dict[str, Recording] = {}
    with ExitStack() as stack:
        for plan in plans * RECORDINGS:
            wanted = [
                program for program in plan.programs if program not in found or not is_calm(found[program], program)
            ]
            if wanted:
                folder = tmp_path_factory.mktemp("losses")
                found |= stack.enter_context(recorded(folder, plan._replace(programs=wanted)))
        yield found


def is_calm(run: Recording, program: str) -> bool:
    """Whether enough of its windows took as long as the program itself says, and enough went on before them to be their normal."""
    try:
        lossy = run.windows(WINDOW_S.get(program, 3.0), COUNT, lossy=True)
        if program in HEALTHY:
            run.windows(WINDOW_S.get(program, 3.0), COUNT, lossy=False)
    except AssertionError:
        return False
    return all(run.blame(window).baseline for window in lossy)


@pytest.mark.parametrize("program", [*IN_PROCESS, *WITH_WORKERS])
def test_the_planted_function_is_named_with_what_it_cost(runs: dict[str, Recording], program: str) -> None:
    run, (function, reason) = runs[program], TO_BLAME[program]
    for window in run.windows(WINDOW_S.get(program, 3.0), COUNT, lossy=True):
        verdict = run.blame(window)
        assert verdict.verdict == "line", verdict.sentence
        assert named(verdict) == function, verdict.sentence
        assert text_of(verdict.reason) == reason
        assert verdict.excess_s == pytest.approx(truth(run, window, verdict), rel=TRUTH)
        assert verdict.basis == "steps"
        assert 0.5 < (verdict.excess_share or 0) <= 1


@pytest.mark.parametrize("program", HEALTHY)
def test_a_healthy_window_looks_like_normal(runs: dict[str, Recording], program: str) -> None:
    """No line is blamed, unless the program itself was slower than in its baseline, or other programs took the cores: both may be so
    beside other tests. test_blame_long.py counts them at rest."""
    for window in runs[program].windows(3.0, COUNT, lossy=False):
        verdict = runs[program].blame(window)
        innocent = verdict.verdict in ("no_difference", "cpu_taken") or verdict.confidence == "low"
        assert innocent or runs[program].was_slower(window, verdict.baseline), verdict.sentence
        assert verdict.verdict != "no_difference" or "no function is slower than its baseline" in verdict.sentence


def named(verdict: Verdict) -> str:
    return verdict.suspect.frame.name.rpartition(".")[2] if verdict.suspect else ""


def truth(run: Recording, window: Interval, verdict: Verdict) -> float:
    """Seconds a step that the window lost more than normal, as the program itself counts."""
    return run.lost_s([window]) - run.lost_s(verdict.baseline)
