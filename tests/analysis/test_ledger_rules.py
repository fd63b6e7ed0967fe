"""The ledger's rules: what must hold for any input, and how near they come to the truth of simulated jobs.

The counts behind what is promised are those of `benchmarks/ledger_truth.py`.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.ledger.device import CopyShares, DeviceUtilization, communication
from analysis.ledger.evidence import ThreadSamples, phases_around, sign_of, stands_of
from analysis.ledger.idle import LedgerInput, account_of
from analysis.ledger.kinds import KINDS, NUMBER, ChargeTarget
from analysis.ledger.shares import EMPTY, compacted, lane_of, ledger_of, summed
from analysis.ledger.text import lines_of, sentence_of
from analysis.stacks.trust import no_source, trusted_spans
from collectors.message import text_of
from collectors.records import Frame
from tests.ledger_simulator.job import Job
from tests.ledger_simulator.jobs import SCENARIOS
from tests.ledger_simulator.judged import Judged, judged
from tests.ledger_simulator.machine import Machine
from tests.ledger_simulator.observed import known_of
from tests.ledger_simulator.ranks import simulated_ranks
from tests.ledger_simulator.training import simulated
from tests.ledger_simulator.truth import Truth
from tests.support.stacks import columns

SECONDS = 40.0
NEAR = 3.0  # points
CAUSES = {
    "loader in main": "data",
    "loader in workers": "data",
    "GIL": "gil",
    "slow writer after .item()": "log",
    "log and data": "data",
    "garbage collection": "gc",
    "long steps, data": "data",
    "healthy": "",
}


@cache
def job(name: str) -> tuple[Machine, Truth]:
    machine = simulated(replace(SCENARIOS[name], seconds=SECONDS), 1)
    return machine, Truth(machine)


def of_job(name: str, tier: str) -> Judged:
    machine, truth = job(name)
    return judged(known_of(machine, truth, 7, tier), truth, (5.0, SECONDS - 2.0))


@pytest.mark.parametrize("tier", ["A", "B"])
@pytest.mark.parametrize("name", CAUSES)
def test_the_share_of_a_planted_cause_is_near_the_truth(name: str, tier: str) -> None:
    found = of_job(name, tier)
    assert found.error <= NEAR, (found.worst, found.found, found.true)
    assert sum(row.share for row in found.ledger.rows) == pytest.approx(100, abs=0.1)
    losses = [row for row in found.ledger.rows if row.kind != "busy"]
    assert not CAUSES[name] or losses[0].kind == CAUSES[name]
    assert CAUSES[name] or all(row.share < 1 for row in losses), "a healthy job is quiet"


def test_what_made_a_line_cost_time_is_named() -> None:
    """The writer takes 15 ms a step, which cost nothing but for the wait for the GPU before them."""
    (row,) = [row for row in of_job("slow writer after .item()", "A").ledger.rows if row.kind == "log"]
    assert row.exposed_by is not None and row.exposed_by.frame == Frame("loss.item()", "train.py", 118)
    assert row.lines[0].place.frame == Frame("write_log", "train.py", 120)
    assert row.prediction is not None and row.prediction.least <= row.share <= row.prediction.most


def test_copies_are_unexplained_until_the_link_shows_them() -> None:
    machine = simulated(Job(seconds=SECONDS, copy_ms=9), 1)
    truth = Truth(machine)
    known, window = known_of(machine, truth, 7), (5.0, SECONDS - 2)
    edges = np.arange(0.0, SECONDS, 0.5)
    share = np.diff(np.interp(edges, truth.copy_at, truth.copy_sum)) / 0.5
    seen = replace(known, copying=CopyShares(edges[:-1], edges[1:], share))
    rows = {row.kind: row.share for row in ledger_of(account_of(seen, *window), 30, "driver samples", "A").rows}
    copied = truth.shares(*window)[NUMBER["unexplained"]]
    assert copied > 10 and rows["copy"] == pytest.approx(copied, abs=NEAR)


@pytest.mark.parametrize("collectives", ["ddp", "fsdp"])
@pytest.mark.parametrize("straggler", [None, 1])
def test_a_job_of_several_ranks_is_never_called_computing(collectives: str, straggler: int | None) -> None:
    """A collective spins on the GPU, which counts as busy: with more than one rank the row says that the two are not separated."""
    plan = Job(seconds=25, gpu_ms=40, collectives=collectives, collective_ms=15, straggle_ms=250)  # type: ignore[arg-type]
    for rank, machine in enumerate(simulated_ranks(plan, 3, ranks=2, straggler=straggler)):
        truth = Truth(machine)
        found = judged(known_of(machine, truth, 7), truth, (3.0, 20.0))
        assert found.error <= NEAR, (rank, found.worst)
        assert truth.exposed_communication(3.0, 20.0) > 5 or rank == straggler
        several = replace(found.ledger, ranks=2)
        assert text_of(sentence_of(several)).startswith("GPU busy (compute or communication, not separated)")
        assert (truth.shares(3.0, 20.0)[NUMBER["data"]] > 5) == (rank == straggler)


def test_where_the_link_is_busy_and_the_multiprocessors_are_not_it_is_probably_communication() -> None:
    """The truth of simulated collectives lies in the range, and the range of a job that sends nothing is empty."""
    plan = Job(seconds=20, gpu_ms=40, collectives="ddp", collective_ms=15)
    for machine in simulated_ranks(plan, 3, ranks=2):
        truth = Truth(machine)
        edges = np.arange(3.0, 17.0, 0.2)
        idle, exposed = (
            np.diff(np.interp(edges, truth.idle_at, sums)) / 0.2 for sums in (truth.idle_sum, truth.exposed_sum)
        )
        sending = 15.0 * 4 / 1e3 / np.median(np.diff([step.end_s for step in machine.steps]))
        found = communication(1 - idle, 0.9 * (1 - idle - exposed) + 0.1 * exposed, np.full(len(idle), 0.8 * sending))
        assert found.least - 1.5 <= truth.exposed_communication(3.0, 17.0) <= found.most + 1.5
    quiet = communication(np.full(9, 0.9), np.full(9, 0.7), np.zeros(9))
    assert quiet == (0.0, 0.0) == communication(np.zeros(0), np.zeros(0), np.zeros(0))


def some_moments(random: np.random.Generator, count: int) -> ThreadSamples:
    places = [
        ChargeTarget(kind, Frame(f"f{i}", "t.py", i))
        for i, kind in enumerate(("data", "launch", "sync", "python", "log"))
    ]
    place = random.integers(0, len(places), count)
    time_s = np.sort(random.uniform(0, 30, count))
    state = np.array([0, 1, 2, 0, 0])[place]
    seconds = random.uniform(0, 0.05, count)
    return ThreadSamples(
        time_s,
        seconds,
        state,
        place,
        random.integers(0, 3, count),
        random.integers(0, 2, count),
        place < 0,
        places,
        0.01,
    )


def some_busy(random: np.random.Generator, count: int) -> DeviceUtilization:
    edges = np.unique(random.uniform(0, 30, count + 1))
    return DeviceUtilization(edges[:-1], edges[1:], random.uniform(0, 1, len(edges) - 1), "driver samples")


@given(seed=st.integers(0, 2**32 - 1), samples=st.integers(0, 400), values=st.integers(0, 60))
@settings(deadline=None, max_examples=60)
def test_for_any_input_shares_add_up_and_lie_in_their_range(seed: int, samples: int, values: int) -> None:
    random = np.random.default_rng(seed)
    known = LedgerInput(some_moments(random, samples), some_busy(random, values))
    account = account_of(known, 2.0, 28.0)
    ledger = ledger_of(account, 26.0, "driver samples", "A")
    assert not ledger.rows or sum(row.share for row in ledger.rows) == pytest.approx(100, abs=1e-6)
    for row in ledger.rows:
        assert -1e-9 <= row.least <= row.share + 1e-9 <= row.most + 2e-9 <= 100 + 1e-6
        fix = row.prediction
        assert fix is None or 0 <= fix.least <= fix.saves <= fix.most <= 100
        assert sum(line.share for line in row.lines) <= row.share + 1e-6
    assert text_of(sentence_of(ledger)) and len(lines_of(ledger, "run")) <= 10
    lane = lane_of(account, 4)
    assert len(lane.start_s) <= 4 and lane.seconds.shape == (len(lane.start_s), len(KINDS))
    assert float(lane.seconds.sum()) == pytest.approx(account.covered_s, abs=1e-6)


@given(seed=st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=20)
def test_accounts_add_up(seed: int) -> None:
    random = np.random.default_rng(seed)
    known = LedgerInput(some_moments(random, 300), some_busy(random, 50))
    parts = [account_of(known, lo, lo + 10) for lo in (0.0, 10.0, 20.0)]
    total = summed(parts)
    assert sum(total.given.values()) + total.busy_s == pytest.approx(total.covered_s)
    few = compacted(total, 2)
    assert sum(few.given.values()) == pytest.approx(sum(total.given.values()))
    assert len(few.given) <= 2 + len(KINDS)
    assert summed([]) == EMPTY


def test_without_a_counter_or_in_a_short_window_there_are_no_rows_and_a_reason() -> None:
    machine, truth = job("healthy")
    known = known_of(machine, truth, 7)
    blind = replace(known, busy=DeviceUtilization(np.zeros(0), np.zeros(0), np.zeros(0), "none"))
    nothing = ledger_of(account_of(blind, 5, 30), 25.0, "none", "A")
    assert nothing.rows == [] and "GPU counter" in text_of(sentence_of(nothing))
    short = ledger_of(account_of(known, 5, 6), 1.0, "driver samples", "A")
    assert short.rows == [] and "Less than 3 s of the run" in text_of(sentence_of(short))


def test_a_library_that_is_imported_compiles_nothing() -> None:
    """`AdamW(...)` imports PyTorch's compiler at its first call, which takes seconds."""
    run, adamw = Frame("run", "/job/train.py", 101), Frame("AdamW.__init__", "/site-packages/torch/optim/adamw.py", 20)
    compiler = Frame("convert_frame", "/site-packages/torch/_dynamo/convert_frame.py", 7)
    module = Frame("<module>", "/site-packages/torch/_dynamo/__init__.py", 3)
    own = [True, False, False]
    assert sign_of([run, adamw, compiler], own) == "compile"
    importing = Frame("_find_and_load", "<frozen importlib._bootstrap>", 1176)
    assert sign_of([run, importing, module, compiler], [True, False, False, False]) is None
    assert (
        sign_of([Frame("<module>", "/site-packages/torchrun.py", 1), run, compiler], [False, True, False]) == "compile"
    )


HOME, SITE = "/home/ada", "/home/ada/wandb/.venv/lib/python3.11/site-packages"
FIND = Frame("_find_and_load", "<frozen importlib._bootstrap>", 1176)
EXECUTE = Frame("_LoaderBasics.exec_module", "<frozen importlib._bootstrap_external>", 940)
MAIN = Frame("<module>", f"{HOME}/wandb/train.py", 11)
LINEAR = Frame("linear", f"{SITE}/torch/nn/functional.py", 9)
FETCH = Frame("fetch", f"{SITE}/torch/utils/data/_utils/fetch.py", 57)
SAVE_FILE = Frame("save_file", f"{SITE}/safetensors/torch.py", 286)


def test_a_folder_of_the_user_is_no_library() -> None:
    """Also where it has a library's name, and where the libraries themselves lie below it."""
    for folder in (
        "wandb",
        "safetensors",
        "torch/utils/data",
        "torch/distributed/checkpoint",
        "torch/utils/tensorboard",
        "torch",
    ):
        own = Frame("_save", f"{HOME}/{folder}/train.py", 11)
        numpy = Frame("save", f"{HOME}/{folder}/.venv/lib/python3.11/site-packages/numpy/lib/npyio.py", 5)
        stands = stands_of(trusted_spans(columns((0, 7, 1.0, (own,)), (0, 7, 1.0, (own, numpy)))), HOME, no_source)
        assert [(stand.kind, stand.how) for stand in stands] == [("python", "runs")] * 2, folder
    logged = Frame("Run._log", f"{SITE}/wandb/sdk/wandb_run.py", 1700)
    assert sign_of([MAIN, logged], [True, False]) == "log"
    assert sign_of([MAIN, Frame("Logger.info", "/usr/lib/python3.11/logging/__init__.py", 3)], [True, False]) == "log"


@pytest.mark.parametrize(
    ("below", "kind", "how"),
    [
        ((FIND, EXECUTE, Frame("<module>", f"{SITE}/torch/utils/data/__init__.py", 3)), "python", "runs"),
        ((FIND, EXECUTE, Frame("<module>", f"{SITE}/transformers/utils/hub.py", 3), FIND, SAVE_FILE), "python", "runs"),
        ((FIND, EXECUTE, LINEAR), "python", "runs"),
        ((FIND,), "python", "runs"),
        (
            (Frame("import_module", "/usr/lib/python3.11/importlib/__init__.py", 126), FIND, EXECUTE, FETCH),
            "python",
            "runs",
        ),
        (
            (FIND, EXECUTE, Frame("<module>", f"{HOME}/loop.py", 9), FETCH),
            "data",
            "runs",
        ),  # `import loop` is the training
        ((FIND, EXECUTE, Frame("<module>", f"{HOME}/loop.py", 9), FIND, EXECUTE, FETCH), "python", "runs"),
        ((FETCH, FIND, EXECUTE, LINEAR), "data", "runs"),  # what the loader imports when it fetches
        ((FETCH,), "data", "runs"),
        ((SAVE_FILE,), "checkpoint", "runs"),
        ((LINEAR,), "launch", "computes"),
    ],
)
def test_a_library_that_is_imported_is_own_python_at_the_import(below: tuple[Frame, ...], kind: str, how: str) -> None:
    (stand,) = stands_of(trusted_spans(columns((0, 7, 1.0, (MAIN, *below)))), HOME, no_source)
    assert (stand.kind, stand.how) == (kind, how)


SCRIPT = """
for step in range(10):
    with log.phase("data"):
        batch = next(it)
        if batch is None:

            continue
    with torch.no_grad(), log.phase(name="forward"): loss = model(batch)
    with open("x") as file, \\
            other:
        file.write("x")
    time.sleep(1)
    with log.phase("backward"):
        def hook():
            work()
        with torch.autocast("cuda"):
            loss.backward()
# a remark without an indent
            loss.item()
    with log.phase(name): again()
"""


def test_the_phase_of_a_line_is_that_of_the_block_around_it() -> None:
    lines = SCRIPT.splitlines()

    def phase_at(text: str, *below: Frame) -> str:
        number = next(i for i, line in enumerate(lines, 1) if text in line)
        stack = trusted_spans(columns((0, 7, 1.0, (Frame("<module>", "t.py", number), *below))))
        return phases_around(stack, lambda file, line: lines[line - 1] if file == "t.py" else "")[0]

    expected = {
        "next(it)": "data",
        "continue": "data",
        "model(batch)": "forward",
        "file.write": "",
        "time.sleep": "",
        "work()": "",
        "loss.backward()": "backward",
        "loss.item()": "backward",
        "again()": "",
        "for step": "",
    }
    assert {text: phase_at(text) for text in expected} == expected
    assert phase_at("next(it)", Frame("__next__", "/usr/lib/x.py", 9)) == "data"
