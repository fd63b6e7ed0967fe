"""The real trainer with validations, checkpoints, SIGTERM, SIGSTOP, kill -9 and two resumes: goodput beside what its files say. About two minutes."""

from __future__ import annotations

import itertools
import signal
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from collectors.logs.tail import Tail
from collectors.message import text_of
from collectors.store.engines import open_store
from dashboard.commands import main
from dashboard.queries import Queries
from tests.conftest import wait_for
from tests.support.trainings import events_of, lines_of, train, training

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]

RUN = "parts"
FLAGS = ("--run", RUN, "--batch", "4")
NEAR = 2.0  # points
STEPS = 80  # of each attempt
HZ = 100
HELD_S = 36.0  # by SIGSTOP: longer than a silence that is a stall


def test_each_share_is_what_the_step_log_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_in_parts(tmp_path)
    true = truth(tmp_path)
    logs = tmp_path / "logs"
    with_store(logs)
    queries = Queries(open_store(logs / ".deepseek", write=False), logs, logs / ".deepseek")
    answer = queries.run_ledgers.account(RUN)
    queries.close()
    assert answer.ledger is not None
    shares = {row.kind: row.share for row in answer.ledger.rows}
    assert sum(shares.values()) == pytest.approx(100, abs=0.1)
    for kind, share in true.items():
        assert shares.get(kind, 0.0) == pytest.approx(share, abs=NEAR), kind  # type: ignore[call-overload]
    first, killed, last = answer.ledger.attempts
    assert (first.redone_steps, killed.redone_steps, last.redone_steps) == (0, true_redone(tmp_path), 0)
    assert answer.ledger.steps == 3 * STEPS and answer.ledger.redone_steps == killed.redone_steps > 0
    assert [row.span.ended_by for row in answer.ledger.attempts] == ["end event", "last line", "end event"]
    with capsys.disabled():
        print(text_of(answer.message), rounded(shares), rounded(true))
    assert main(["why", RUN, "--log-dir", str(logs)]) == 0
    assert f"Whole run: {text_of(answer.message)[:10].lower()}" in capsys.readouterr().out


def rounded(shares: Mapping[Any, float]) -> dict[Any, float]:
    return {kind: round(share, 2) for kind, share in shares.items()}


def run_in_parts(folder: Path) -> None:
    """SIGTERM after some steps; from its checkpoint, held for a while, and killed after more; from the same checkpoint, until the end."""
    with training(folder, *FLAGS, "--steps", str(3 * STEPS)) as process:
        wait_for(lambda: steps_in(folder) >= STEPS, 120)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    before = steps_in(folder)
    with training(folder, *FLAGS, "--steps", str(3 * STEPS), "--resume") as process:
        wait_for(lambda: steps_in(folder) >= before + STEPS // 4, 120)
        process.send_signal(signal.SIGSTOP)
        time.sleep(HELD_S)
        process.send_signal(signal.SIGCONT)
        wait_for(lambda: steps_in(folder) >= before + STEPS // 2, 120)
        process.kill()
        process.wait(30)
    train(folder, *FLAGS, "--steps", str(3 * STEPS), "--resume")


def steps_in(folder: Path) -> int:
    return len([line for line in whole_lines(folder) if "train/loss" in line])


def whole_lines(folder: Path) -> list[dict[str, Any]]:
    try:
        return lines_of(folder, RUN)
    except ValueError:  # its last line is being written
        return []


def with_store(logs: Path) -> None:
    store = open_store(logs / ".deepseek", write=True)
    tail = Tail(logs, "box", {}, threading.Event())
    while batch := tail.collect():
        store.append(batch)
    tail.close()
    store.close()


def attempts(folder: Path) -> list[tuple[float, float, list[dict[str, Any]]]]:
    """Of each the start of its process, its end, and its lines of steps, from the files alone."""
    starts, ends = events_of(folder, RUN, "start"), events_of(folder, RUN, "end")
    lines = [line for line in lines_of(folder, RUN) if "train/loss" in line]
    begun = [start["time_s"] - (start["mono_s"] - start["pid_start_ticks"] / HZ) for start in starts]
    edges = [*(start["time_s"] for start in starts), float("inf")]
    mine = [[line for line in lines if lo <= line["time_s"] < hi] for lo, hi in itertools.pairwise(edges)]
    ended = [[end["time_s"] for end in ends if lo <= end["time_s"] < hi] for lo, hi in itertools.pairwise(edges)]
    return [(lo, end[0] if end else own[-1]["time_s"], own) for lo, end, own in zip(begun, ended, mine, strict=True)]


def true_redone(folder: Path) -> int:
    _, killed, last = attempts(folder)
    return len([line for line in killed[2] if line["step"] >= last[2][0]["step"]])


def truth(folder: Path) -> dict[str, float]:
    """Percent of the wall time, by the phases of each line. The loop's own bookkeeping belongs to its steps."""
    found = dict.fromkeys(
        ("training", "initialisation", "validation", "checkpoint", "redone", "stalled", "between", "ending"), 0.0
    )
    parts = attempts(folder)
    resumed = parts[2][2][0]["step"]
    for number, (begun_s, end_s, lines) in enumerate(parts):
        before_s = None
        for line in lines:
            aside = {name: line.get(f"phase/{name}_s", 0.0) for name in ("validation", "checkpoint")}
            phases_s = sum(value for name, value in line.items() if name.startswith("phase/") and name != "phase/log_s")
            whole_s = phases_s if before_s is None else line["time_s"] - before_s
            found["initialisation"] += line["time_s"] - begun_s - phases_s if before_s is None else 0.0
            for name, seconds in aside.items():
                found[name] += seconds
            if before_s is not None and whole_s > HELD_S:
                found["stalled"] += HELD_S
                whole_s -= HELD_S
            found["redone" if number == 1 and line["step"] >= resumed else "training"] += whole_s - sum(aside.values())
            before_s = line["time_s"]
        assert before_s is not None
        found["ending"] += end_s - before_s
        found["between"] += parts[number + 1][0] - end_s if number < 2 else 0.0
    wall_s = parts[-1][1] - parts[0][0]
    return {kind: 100 * seconds / wall_s for kind, seconds in found.items()}
