"""Real programs that are silent for good reasons, none of which hangs; and two ranks that hang for the five minutes of the rule."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.e2e.test_findings_end_to_end import PROGRAMS, ROOT, found_in, free_port, ranks_of, running
from tests.programs.silent_runs import KINDS

SILENT_FOR_S = 45.0  # where the rules wait for 12 s, and for 8 s in which nothing moves
BATCH = 8  # programs at once

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]


def test_twenty_programs_that_are_silent_for_good_reasons_do_not_hang(tmp_path: Path) -> None:
    """And one that does, to see that the collector would have found it."""
    assert len(KINDS) >= 20
    seen: set[str] = set()
    controls = 0
    for first in range(0, len(KINDS), BATCH):
        kinds = KINDS[first : first + BATCH]
        folder = tmp_path / str(first)
        (folder / "logs").mkdir(parents=True)
        collector = [
            sys.executable,
            str(PROGRAMS / "hasty_collector.py"),
            "--log-dir",
            str(folder / "logs"),
            "--data-dir",
            str(folder / "data"),
        ]
        with ExitStack() as stack:
            stack.enter_context(running(collector))
            for kind in kinds:
                for environment in two_ranks() if kind == "rank_computes" else [{}]:
                    command = [sys.executable, str(PROGRAMS / "silent_runs.py"), str(folder / "logs"), kind]
                    everything = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **environment}
                    process = stack.enter_context(
                        subprocess.Popen(
                            command,
                            env=everything,
                            stdin=subprocess.PIPE,
                            stdout=subprocess.DEVNULL,
                            start_new_session=True,
                        )
                    )
                    stack.callback(end_group, process)
            for environment in ranks_of("hang"):
                stack.enter_context(
                    running(
                        [sys.executable, str(PROGRAMS / "ill_runs.py"), str(folder / "logs"), "hang"], **environment
                    )
                )
            until_s = time.monotonic() + SILENT_FOR_S + 30
            while time.monotonic() < until_s:
                time.sleep(1.0)
            found = found_in(folder / "data")
        hung = {str(each.run): each.sentence for each in found if each.rule == "hung"}
        silent = {str(each.run) for each in found if each.rule == "silent"}
        seen |= silent
        assert set(hung) <= {"hang"}, hung
        controls += len(hung)
    assert controls, "the program that does hang was not found, so that nothing is shown"
    assert len(seen) >= 20, f"said to be silent: {sorted(seen)}"


def two_ranks() -> list[dict[str, str]]:
    port = str(free_port())
    return [
        {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port} for rank in range(2)
    ]


def end_group(process: subprocess.Popen[bytes]) -> None:
    os.killpg(process.pid, 9)  # it is the first of a session of its own


def test_two_ranks_hang_after_five_minutes(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    collector = [
        sys.executable,
        "-m",
        "collector",
        "--log-dir",
        str(tmp_path / "logs"),
        "--data-dir",
        str(tmp_path / "data"),
    ]
    with ExitStack() as stack:
        stack.enter_context(running(collector))
        for environment in ranks_of("hang"):
            stack.enter_context(
                running([sys.executable, str(PROGRAMS / "ill_runs.py"), str(tmp_path / "logs"), "hang"], **environment)
            )
        until_s = time.monotonic() + 480
        hung = []
        while not hung and time.monotonic() < until_s:
            time.sleep(2.0)
            hung = [found for found in found_in(tmp_path / "data") if found.rule == "hung"]
    assert [found.rank for found in hung] == [1]
    assert 300 <= hung[0].fields["numbers"]["silent_s"] <= 330
