"""A Trainer that logs through our callback writes its own history, too: what both say is counted once, also where a name is rare."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deepseek.log import RunLog
from tests.support.following import Follower, series_of, until

STEPS, RARE = 3000, 1500


@pytest.mark.parametrize("restarted", [False, True])
def test_a_trainers_own_history_beside_ours_adds_no_point(tmp_path: Path, restarted: bool) -> None:
    history = []
    with RunLog(tmp_path, "run") as log:
        for step in range(1, STEPS + 1):
            log.scalars(step, {"phase/forward_backward_s": 0.0123456, "phase/data_s": 0.00123})
            if step % 100 == 0:
                log.scalars(step, {"train/loss": 1 / step, "train/epoch": step / 100})
                history.append({"step": step, "loss": 1 / step, "epoch": step / 100})
            if step == RARE:
                log.scalars(step, {"eval/loss": 0.5})
                history.append({"step": step, "eval_loss": 0.5})
    follower = Follower(tmp_path)
    if restarted:
        follower.values(2 * STEPS)
        follower.restart()
    (tmp_path / "run" / "trainer_state.json").write_text(json.dumps({"global_step": STEPS, "log_history": history}))
    until(follower, lambda: "run/trainer_state.json" in follower.offsets)
    found = series_of(follower.records)
    follower.tail.close()
    assert found["eval/loss"] == [(RARE, 0.5)]
    assert [step for step, _ in found["train/loss"]] == list(range(100, STEPS + 1, 100))


def test_the_history_waits_for_a_log_that_is_longer_than_a_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a busy machine, where a turn ends sooner: both files are new at the same moment."""
    monkeypatch.setattr("collectors.logs.file.BATCH_BYTES", 64 << 10)
    monkeypatch.setattr("collectors.logs.tail.TURN_S", 0.0)
    test_a_trainers_own_history_beside_ours_adds_no_point(tmp_path, False)
