"""Which cause a verdict names where several things take longer at once, or where little is known of the run."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from analysis.blame.suspect import Suspect
from analysis.blame.verdict import HostComparison, Verdict, with_sentence
from analysis.stacks.frames import kinds_of
from analysis.stacks.trust import trusted_spans
from analysis.stacks.wait_joins import is_waiting, join
from collectors.message import text_of
from collectors.records import Frame, Points, StackRecording, StackSpan, labels_of
from collectors.sampler.report import lines as report_lines
from collectors.store.store import Store
from dashboard.commands.profile import what_waits
from tests.support.stacks import columns
from tests.support.stretches import T0, TORCH, Part, blame, machine, run
from tests.support.stretches import store as store  # a fixture

MODULE, MAIN = Frame("<module>", "/job/train.py", 90), Frame("main", "/job/train.py", 60)
READ, FORWARD, UPDATE = (
    Frame("read_shard", "/job/data.py", 30),
    Frame("forward", "/job/model.py", 7),
    Frame("update", "/job/optim.py", 12),
)
DRAW = Frame("draw", "/job/plot.py", 9)
BACKWARD = Frame("_engine_run_backward", f"{TORCH}/autograd/graph.py", 829)
BACK = Frame("main", "/job/train.py", 64)
NORMAL: tuple[Part, ...] = (
    (5, (MODULE, MAIN, READ)),
    (40, (MODULE, MAIN, FORWARD)),
    (35, (MODULE, BACK, BACKWARD)),
    (20, (MODULE, MAIN, UPDATE)),
)


def slower(parts: tuple[Part, ...], times: float, **more: float) -> tuple[Part, ...]:
    """All parts so many times as long, some by milliseconds more, by the name of their last function."""
    return tuple((ms * times + more.get(stack[-1].name, 0.0), stack) for ms, stack in parts)


@pytest.mark.parametrize("times", [1.0, 1.2, 1.5])
def test_a_culprit_with_half_of_the_loss_is_named_while_all_else_slows(store: Store, times: float) -> None:
    run(store, (80, NORMAL), (12, slower(NORMAL, times, read_shard=60)))
    verdict = blame(store, 82, 90)
    assert verdict.suspect and verdict.suspect.frame.name == "read_shard", verdict.sentence


def test_main_is_not_named_where_a_function_below_it_has_a_quarter(store: Store) -> None:
    more = {"read_shard": 40.0, "forward": 30.0, "update": 30.0}
    run(store, (80, NORMAL), (12, slower(NORMAL, 1.0, **more)))
    machine(store, 94, 81, 27.0, 100.0)
    verdict = blame(store, 82, 90)
    assert verdict.suspect and verdict.suspect.frame.name == "read_shard", verdict.sentence
    assert verdict.second and verdict.second.frame.name in ("forward", "update"), verdict.sentence
    assert verdict.confidence != "high"
    assert "40% of the slowdown" in verdict.sentence


def test_a_second_cause_is_told_with_its_own_part(store: Store) -> None:
    slow = (*slower(NORMAL, 1.0, read_shard=60), (30.0, (MODULE, MAIN, DRAW)))
    run(store, (80, NORMAL), (12, slow))
    said = r"read_shard \(data.py:30\) takes \+60 ms per step, 6[67]% of the slowdown; draw \(plot.py:9\) takes 30 ms more \(33%\)\."
    assert re.fullmatch(said, blame(store, 82, 90).sentence)


TEST, CALLS_TEST = Frame("test", "/job/train.py", 80), MAIN._replace(line=66)
EPOCH, CALLS_EPOCH = Frame("run_epoch", "/job/train.py", 30), MAIN._replace(line=62)
CALL = Frame("Module._call_impl", f"{TORCH}/nn/modules/module.py", 1784)
BLOCK = Frame("Block.forward", "/job/model.py", 22)


@pytest.mark.parametrize("inner", [(FORWARD,), (FORWARD, CALL, BLOCK)], ids=["one", "nested"])
@pytest.mark.parametrize("test_ms", [40.0, 400.0])
def test_a_call_that_is_new_is_named_and_not_the_usual_work_that_it_calls(
    store: Store, inner: tuple[Frame, ...], test_ms: float
) -> None:
    """A validation calls the model, whose own steps take as long as ever, or less."""
    usual = (*NORMAL[:1], (40.0, (MODULE, MAIN, CALL, *inner)), *NORMAL[2:])
    validating = (
        *slower(usual, 0.9),
        (test_ms, (MODULE, CALLS_TEST, TEST, CALL, *inner)),
        (2.0, (MODULE, CALLS_TEST, TEST)),
    )
    run(store, (80, usual), (12, validating))
    verdict = blame(store, 82, 90)
    assert verdict.place == "test (train.py:80)", verdict.sentence
    assert verdict.suspect and [frame.name for frame in verdict.suspect.path] == ["<module>", "main", "test"]
    assert verdict.suspect.path[1].line == CALLS_TEST.line
    assert verdict.confidence == "high"
    assert not verdict.contradiction


def test_what_a_new_call_waits_for_is_told_with_it(store: Store) -> None:
    """A model that runs in another mode is compiled again."""
    compiles = (FORWARD, Frame("ConvertFrame.__call__", f"{TORCH}/_dynamo/convert_frame.py", 1))
    run(store, (80, NORMAL), (12, (*NORMAL, (90.0, (MODULE, CALLS_TEST, TEST, CALL, *compiles)))))
    said = r"test \(train.py:80\) takes \+\d+ ms per step, (99|100)% of the slowdown \(recompiling\)\."
    assert re.fullmatch(said, blame(store, 82, 90).sentence)


@pytest.mark.parametrize("more_ms", [30.0, 60.0])
def test_a_function_that_is_slower_wherever_it_is_called_is_named_beside_a_call_that_is_new(
    store: Store, more_ms: float
) -> None:
    validating = (*slower(NORMAL, 1.0, forward=more_ms), (90.0, (MODULE, CALLS_TEST, TEST, CALL, FORWARD)))
    run(store, (80, NORMAL), (12, validating))
    assert blame(store, 82, 90).place == "forward (model.py:7)"


def test_a_function_that_only_the_new_call_has_is_named(store: Store) -> None:
    """It is the deepest that the baseline does not have."""
    validating = (*NORMAL, (90.0, (MODULE, CALLS_TEST, TEST, DRAW)), (6.0, (MODULE, CALLS_TEST, TEST, CALL, FORWARD)))
    run(store, (80, NORMAL), (12, validating))
    assert blame(store, 82, 90).place == "draw (plot.py:9)"


def test_a_new_call_of_a_function_that_is_always_there_is_named_by_its_line(store: Store) -> None:
    """One function for the epochs of training and of validation."""
    usual = tuple((ms, (MODULE, CALLS_EPOCH, EPOCH, *stack[2:])) for ms, stack in NORMAL)
    run(store, (80, usual), (12, (*usual, (90.0, (MODULE, CALLS_TEST, EPOCH, FORWARD)))))
    verdict = blame(store, 82, 90)
    assert verdict.place == "forward (model.py:7)"
    assert verdict.sentence.startswith("forward (model.py:7), called at train.py:66, takes +90 ms per step"), (
        verdict.sentence
    )


@pytest.mark.parametrize("saved", [0.0, 10.0, 25.0, 40.0])
def test_shares_of_two_causes_add_up_to_all_at_most(store: Store, saved: float) -> None:
    """Also where other work takes less meanwhile."""
    slow = (*slower(NORMAL, 1.0, read_shard=40, forward=-saved), (35.0, (MODULE, MAIN, DRAW)))
    run(store, (80, NORMAL), (12, slow))
    verdict = blame(store, 82, 90)
    assert verdict.second, verdict.sentence
    shares = [int(share) for share in re.findall(r"(\d+)%", verdict.sentence)]
    assert len(shares) == 2 and sum(shares) in (99, 100, 101), verdict.sentence
    assert verdict.excess_share == pytest.approx(shares[0] / 100, abs=0.01)
    assert ("other work got faster, so the step takes +" in verdict.sentence) == (saved >= 20), verdict.sentence


def test_the_larger_one_of_two_causes_comes_first(store: Store) -> None:
    deep = (MODULE, MAIN, CALL, *(Frame(name, "/job/other.py", 5) for name in ("outer", "middle", "inner")))
    run(store, (80, (*NORMAL, (1.0, deep))), (12, (*slower(NORMAL, 1.0, read_shard=40), (51.0, deep))))
    verdict = blame(store, 82, 90)
    assert verdict.place == "inner (other.py:5)" and verdict.second and verdict.second.frame.name == "read_shard", (
        verdict.sentence
    )


def test_a_window_in_which_a_step_takes_less_blames_nothing(store: Store) -> None:
    line = (6.0, (MODULE, MAIN._replace(line=71)))
    run(store, (80, NORMAL), (12, (*slower(NORMAL, 1.0, read_shard=12, forward=-25), line)))
    verdict = blame(store, 82, 90)
    assert verdict.verdict == "no_difference", verdict.sentence


def test_what_is_before_the_first_step_has_no_step_to_be_compared_with(store: Store) -> None:
    run(store, (6, ((50, (MODULE._replace(line=3), *importing("torch"))),)), steps=False)
    run(store, (80, NORMAL), begun_s=6)
    verdict = blame(store, 1, 5)
    assert (
        verdict.sentence
        == "train.py:3 takes 100% of this window (importing torch); there is no baseline to compare it with."
    )


def importing(name: str) -> tuple[Frame, ...]:
    """What is on the stack while Python runs a library's module for the first time."""
    path = f"{TORCH.removesuffix('/torch')}/{name.replace('.', '/')}/__init__.py"
    return (
        *(Frame(called, "<frozen importlib._bootstrap>", 1) for called in ("_find_and_load", "_load_unlocked")),
        Frame("SourceLoader.exec_module", "<frozen importlib._bootstrap_external>", 940),
        Frame("<module>", path, 12),
    )


OPTIMIZER = Frame("Optimizer.__init__", f"{TORCH}/optim/optimizer.py", 400)
CONVERT = Frame("<module>", f"{TORCH}/_dynamo/convert_frame.py", 60)
COMPILES = (
    Frame("OptimizedModule.__call__", f"{TORCH}/_dynamo/eval_frame.py", 400),
    CONVERT._replace(name="ConvertFrame.__call__"),
)
SAVES = (Frame("save", f"{TORCH}/serialization.py", 900), Frame("_save", f"{TORCH}/serialization.py", 1200))


@pytest.mark.parametrize(
    ("below", "reason"),
    [
        ((OPTIMIZER, *importing("torch._dynamo"), *importing("torch._dynamo"), CONVERT), "importing torch._dynamo"),
        ((OPTIMIZER, *importing("torch._dynamo"), CONVERT._replace(name="ConvertFrame")), "importing torch._dynamo"),
        (
            (*importing("torch.distributed.checkpoint"), Frame("<module>", f"{TORCH}/serialization.py", 9)),
            "importing torch.distributed.checkpoint",
        ),
        (importing("torch")[:2], "importing a module"),
        ((*COMPILES, *importing("torch._inductor")), "recompiling"),
        (SAVES, "checkpoint"),
        ((*SAVES, *importing("pickle")), "checkpoint"),
        (COMPILES[:1], ""),
    ],
)
def test_an_import_is_a_reason_of_its_own_and_not_what_is_imported(
    store: Store, below: tuple[Frame, ...], reason: str
) -> None:
    run(store, (80, NORMAL), (12, (*NORMAL, (80, (MODULE, MAIN._replace(line=71), *below)))))
    verdict = blame(store, 82, 90)
    assert text_of(verdict.reason) == reason, verdict.sentence
    assert "_find_and_load" not in verdict.sentence and "_load_unlocked" not in verdict.sentence, verdict.sentence


def test_lines_of_main_are_named_with_their_own_part_and_not_with_all_of_the_loss(store: Store) -> None:
    slow = (*slower(NORMAL, 1.0, read_shard=25), (60.0, (MODULE, Frame("main", "/job/train.py", 71))))
    run(store, (80, NORMAL), (12, slow))
    verdict = blame(store, 82, 90)
    said = r"main \(train.py:71\) takes \+(59|60) ms per step, 7[01]% of the slowdown; read_shard \(data.py:30\) takes 25 ms more \((29|30)%\)\."
    assert re.fullmatch(said, verdict.sentence), verdict.sentence


def test_a_function_whose_line_has_only_a_part_of_its_loss_tells_that_part(store: Store) -> None:
    slow = (*NORMAL, (30.0, (MODULE, MAIN, READ._replace(line=31))), (20.0, (MODULE, MAIN, READ._replace(line=35))))
    run(store, (80, NORMAL), (12, slow))
    said = r"read_shard \(data.py:31\) takes \+50 ms per step, (99|100)% of the slowdown \(60% of it on line 31\)\."
    assert re.fullmatch(said, blame(store, 82, 90).sentence)


def test_a_lambda_of_a_module_is_named_by_its_own_line(store: Store) -> None:
    late = Frame("<lambda>", "/job/train.py", 19)
    run(store, (80, (*NORMAL, (2, (MODULE, MAIN, late)))), (12, (*NORMAL, (82, (MODULE, MAIN, late)))))
    verdict = blame(store, 82, 90)
    assert verdict.place == "lambda (train.py:19)", verdict.sentence
    assert verdict.suspect and (verdict.suspect.frame.name, verdict.suspect.frame.line) == ("<lambda>", 19)


def test_code_at_the_top_of_a_file_is_named_by_its_line_alone(store: Store) -> None:
    top = tuple((ms, stack[:1] if len(stack) < 3 else (stack[0], *stack[2:])) for ms, stack in NORMAL)
    run(store, (80, top), (12, (*top, (80, (MODULE._replace(line=33),)))))
    assert blame(store, 82, 90).place == "train.py:33"


@pytest.mark.parametrize("culprit_ms", [0.0, 70.0])
def test_where_cores_are_short_that_is_the_verdict_and_a_backward_pass_counts(store: Store, culprit_ms: float) -> None:
    """All of a CPU training takes twice as long for half of a core."""
    run(store, (80, NORMAL), (12, slower(NORMAL, 2.0, read_shard=2 * culprit_ms)), on_core=[1.0, 0.5])
    machine(store, 94, 81, 98.0, 50.0)
    verdict = blame(store, 82, 90)
    assert verdict.verdict == "cpu_taken", verdict.sentence
    assert (verdict.second is not None) == (culprit_ms > 0), verdict.sentence


def test_a_large_culprit_is_named_where_cores_are_short_and_never_with_high(store: Store) -> None:
    run(store, (80, NORMAL), (12, slower(NORMAL, 1.6, read_shard=320)), on_core=[1.0, 1 / 1.6])
    machine(store, 94, 81, 98.0, 50.0)
    verdict = blame(store, 82, 90)
    assert verdict.suspect and verdict.suspect.frame.name == "read_shard", verdict.sentence
    assert verdict.confidence != "high"
    shares = [int(share) for share in re.findall(r"(\d+)%", verdict.sentence)]
    assert "CPU taken by other processes" in verdict.sentence
    assert sum(shares) <= 100 or "partly in this function" in verdict.sentence, verdict.sentence


def told(taken_s: float, second_s: float | None = None, kind: str = "line", excess_s: float = 0.075) -> str:
    """A verdict of 100 ms per step, of which a function has 75 ms."""
    function = Frame("read", "/job/data.py", 7)
    other = (
        Suspect(Frame("draw", "/job/plot.py", 9), "", second_s, [], [], stands_out_s=second_s)
        if second_s is not None
        else None
    )
    of_line = kind == "line"
    verdict = Verdict(
        verdict=kind,  # type: ignore[arg-type]
        baseline=[(0.0, 9.0)],
        units=10.0,
        window_unit_s=0.2,
        baseline_unit_s=0.1,
        slowdown_s=0.1,
        suspect=Suspect(function, "", excess_s, [], []) if of_line else None,
        excess_s=excess_s if of_line else None,
        excess_share=min(1.0, excess_s / 0.1) if of_line else None,
        second=other,
        taken_s=taken_s,
    )
    return with_sentence(verdict, host=HostComparison(2, (98.0, 50.0), (0.1, 1.9), (1.9, 0.1))).sentence


@pytest.mark.parametrize(
    ("taken_s", "second_s", "ending"),
    [
        (0.025, None, "75% of the slowdown; CPU taken by other processes accounts for 25%."),
        (
            0.046,
            None,
            "75% of the slowdown; 46% of the slowdown, partly in this function, is CPU taken by other processes.",
        ),
        (
            0.030,
            0.02,
            "takes 20 ms more (20%); 30% of the slowdown, partly in these functions, is CPU taken by other processes.",
        ),
        (0.02, None, "75% of the slowdown."),
    ],
)
def test_parts_of_a_slowdown_that_are_told_beside_each_other_do_not_overlap(
    taken_s: float, second_s: float | None, ending: str
) -> None:
    assert told(taken_s, second_s).endswith(ending)


def test_a_function_beside_taken_cores_has_at_most_the_rest() -> None:
    assert told(0.07, 0.035, "cpu_taken").endswith("draw (plot.py:9) takes 30 ms more (30%).")


@pytest.mark.parametrize("times", [1.05, 1.2, 1.6])
@pytest.mark.parametrize("seed", range(3))
def test_neighbours_make_no_healthy_window_a_verdict_on_a_line(store: Store, times: float, seed: int) -> None:
    """Work of different kinds suffers differently from the same want of cores."""
    uneven = np.random.default_rng(seed).uniform(0.85, 1.15, len(NORMAL))
    slow = tuple((1 + (times - 1) * float(by)) * ms for (ms, _), by in zip(NORMAL, uneven, strict=True))
    run(
        store,
        (80, NORMAL),
        (12, tuple((ms, stack) for ms, (_, stack) in zip(slow, NORMAL, strict=True))),
        on_core=[1.0, 1 / times],
    )
    machine(store, 94, 81, 98.0, 50.0)
    verdict = blame(store, 82, 90)
    assert verdict.suspect is None or verdict.verdict == "cpu_taken", verdict.sentence


def test_a_backward_pass_on_the_cpu_is_no_wait_and_on_a_gpu_it_is() -> None:
    stored = columns((0, 7, 1.0, (MODULE, MAIN, FORWARD)), (0, 7, 3.0, (MODULE, BACK, BACKWARD)))
    for share, waits in ((0.9, False), (0.4, False), (0.01, True)):
        spans = trusted_spans(stored._replace(cpu_s=share * stored.duration_s, gil=np.zeros(2, np.int8)))
        assert is_waiting(join(spans)).any() == waits
        assert (kinds_of([BACKWARD], "/job", spans.computes_backward) == ["wait"]) == waits


@pytest.mark.parametrize("share", [0.95, 0.5])
def test_the_parts_of_a_profile_add_up(share: float) -> None:
    second = 1_000_000_000
    samples = [
        StackSpan(0, 4 * second, 7, (MODULE, BACK, BACKWARD), False, round(share * 4 * second)),
        StackSpan(4 * second, 6 * second, 7, (MODULE, MAIN, FORWARD), True, round(share * 6 * second)),
    ]
    profile = StackRecording(
        "run", 0, 7, "main", "box", "native", 100.0, T0, 0, 10 * second, {7: "MainThread"}, samples, 1000
    )
    said = next(line for line in report_lines([profile], 7, what_waits) if "MainThread" in line)
    numbers = [int(word) for word in said.replace("%", " ").split() if word.isdigit()]
    assert "0% waiting" in said and sum(numbers) == 100, said


def test_a_lock_is_known_by_what_is_assigned_to_it(tmp_path: Path) -> None:
    (tmp_path / "cache.py").write_text(
        "class Cache:\n    def __init__(self):\n        self.guard = threading.RLock()\n"
    )
    (tmp_path / "job.py").write_text("with cache.guard:\n    write()\nother()\nwith cache.rows:\n    pass\n")
    names = (("take", 1), ("write", 2), ("other", 3), ("rows", 4))
    take, write, other, rows = (Frame(name, str(tmp_path / "job.py"), line) for name, line in names)
    known = Frame("__init__", str(tmp_path / "cache.py"), 3)
    lines = {str(path): path.read_text().splitlines() for path in tmp_path.glob("*.py")}

    def line_of(file: str, line: int) -> str:
        return lines[file][line - 1] if file in lines and line <= len(lines[file]) else ""

    stored = columns((0, 7, 2.0, (MODULE, take)), (0, 70, 2.0, (known, write)), (0, 71, 2.0, (MODULE, other)))
    joined = join(trusted_spans(stored._replace(time_s=np.zeros(3))), line_of)
    assert {joined.frames[joined.stacks[stack][-1]].name for stack in joined.stack[joined.main]} == {"write"}
    no_lock = trusted_spans(columns((0, 7, 2.0, (MODULE, rows)), (0, 7, 2.0, (MODULE, known))))
    assert not is_waiting(no_lock, line_of).any()


def test_without_steps_a_window_inside_a_long_slow_stretch_is_compared_with_outside_of_it(store: Store) -> None:
    """The slow stretch is longer than the others, and more even."""
    draw = np.random.default_rng(0)
    healthy = [(1.0, tuple((ms * float(draw.uniform(0.7, 1.3)), stack) for ms, stack in NORMAL)) for _ in range(40)]
    slow = slower(NORMAL, 1.0, read_shard=300)
    run(store, *healthy, (60, slow), *healthy[:15], steps=False)
    for lo, hi in ((60, 64), (42, 98), (75, 76.5)):
        verdict = blame(store, lo, hi)
        assert verdict.suspect and verdict.suspect.frame.name == "read_shard", verdict.sentence
        assert "in the baseline" in verdict.sentence and "no steps are logged" in verdict.sentence
    for lo, hi in ((20, 24), (103, 110)):
        assert blame(store, lo, hi).verdict == "no_difference"


def test_without_steps_nothing_unusual_says_what_can_be_seen(store: Store) -> None:
    run(store, (60, NORMAL), (20, slower(NORMAL, 3.0)), steps=False)
    assert "only a change in what the program does can be seen" in blame(store, 62, 70).sentence


def test_without_steps_the_lines_of_a_log_are_units(store: Store) -> None:
    """`inertia 1.5`: all of the work takes three times as long, which the stacks alone cannot show, and one function more so."""
    slow = slower(NORMAL, 1.0, read_shard=200)
    run(store, (60, NORMAL), (20, slow), steps=False)
    lined(store, [*np.arange(0.5, 60, 0.5), *np.arange(61.5, 80, 1.5)])
    verdict = blame(store, 64, 78)
    assert re.match(
        r"read_shard \(data.py:30\) takes \+(99|100)\d+ ms per logged line, 100% of the slowdown", verdict.sentence
    ), verdict.sentence


def test_a_line_of_the_log_may_stand_for_more_work_than_before(store: Store) -> None:
    """Ten episodes a line, which get longer as the policy learns: all of the work of a line does, nearly all of it in `learn`."""
    learn = Frame("learn", "/job/agent.py", 50)
    work = ((86, (MODULE, learn)), (14, (MODULE, Frame("act", "/job/agent.py", 20))))
    run(store, (80, work), steps=False)
    lined(store, [*np.arange(0.5, 60, 0.5), *np.arange(61.5, 80, 1.5)])
    verdict = blame(store, 64, 78)
    assert (verdict.verdict, verdict.suspect) == ("unknown", None), verdict.sentence


def test_lines_that_come_too_unsteadily_to_have_a_usual_pace_are_no_units(store: Store) -> None:
    """Each stands for more work than the one before; what the program does differs in the window alone."""
    run(store, (60, NORMAL), (10, slower(NORMAL, 1.0, read_shard=200)), (10, NORMAL), steps=False)
    times = np.cumsum(0.1 * 1.25 ** np.arange(24))
    lined(store, times[times < 80].tolist())
    verdict = blame(store, 61, 69)
    assert verdict.suspect and verdict.suspect.frame.name == "read_shard", verdict.sentence
    assert verdict.basis == "stacks", verdict.sentence
    assert blame(store, 40, 48).verdict == "no_difference"


def lined(store: Store, times_s: Sequence[float]) -> None:
    """A log without steps, with a line at each of these times."""
    store.append(
        [Points("run", labels_of(host="box"), ("inertia",), (1.0,), T0 + float(at_s), None) for at_s in times_s]
    )
