"""No alert is lost, and a receiver that looks at ids sees each once, through kill -9 of the delivering process at any moment."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.support.alerting import receiving

PROGRAM = ROOT / "tests" / "programs" / "alerting_until_killed.py"
RATE = "group_s: 0\nrate: 9999/min\n"


@pytest.mark.parametrize("kills", [5, pytest.param(40, marks=pytest.mark.long)])
def test_each_finding_is_in_one_message_however_often_the_process_is_killed(tmp_path: Path, kills: int) -> None:
    chance, most = random.Random(kills), 8 * kills
    with receiving() as receiver:
        (tmp_path / "alerts.yaml").write_text(
            f"receivers:\n- {{name: hook, kind: webhook, url: '{receiver.url}'}}\n{RATE}"
        )
        receiver.delay_s = 0.003
        for _ in range(kills):
            process = started(tmp_path, most)
            time.sleep(chance.uniform(0.0, 0.8))
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            assert process.stdout
            process.stdout.close()
        process = started(tmp_path, most)
        assert process.wait(60) == 0
        assert process.stdout
        process.stdout.close()
        words: dict[str, set[str]] = {}
        for got in receiver.got:
            words.setdefault(got.headers["idempotency-key"], set()).add(got.body.decode())
            assert got.json["id"] == got.headers["idempotency-key"]
        assert all(len(bodies) == 1 for bodies in words.values()), "a repetition has the same words"
        once = {got.json["id"]: got.json for got in receiver.got}
        begun = Counter(finding for said in once.values() if said["state"] == "firing" for finding in said["findings"])
        ended = Counter(
            finding for said in once.values() if said["state"] == "resolved" for finding in said["findings"]
        )
        assert set(begun.values()) == {1}
        assert {f"crash-{number}" for number in range(most)} <= begun.keys() | unstored(tmp_path, most)
        assert set(ended.values()) <= {1}
        assert len(receiver.got) - len(once) <= kills, "at most one repetition a kill"
        print(f"{kills} kills, {len(once)} messages, {len(receiver.got) - len(once)} repetitions")


def started(data_dir: Path, most: int) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, PROGRAM, data_dir, str(most)], stdout=subprocess.PIPE, text=True, env=environment
    )
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    return process


def unstored(data_dir: Path, most: int) -> set[str]:
    """What a kill kept from being stored was no finding yet."""
    from collectors.store.engines import open_store

    store = open_store(data_dir, write=False)
    try:
        known = {found.id for found in store.findings()}
        return {f"crash-{number}" for number in range(most)} - known
    finally:
        store.close()
