"""A queue that an earlier version wrote keeps its jobs: seen as it is, and upgraded by the next daemon.

`tests/data/recorded/jobs/queue-1.sql` is a file of version 1: job 1 runs on this host; 2 waits at Slurm, which requeued 3; 4 has ended there, and 5 was never sent.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from jobs.queue import UPGRADES, VERSION, JobQueue
from jobs.state_folder import QUEUE
from jobs.view import QueueView
from tests.conftest import ROOT

FIRST = (ROOT / "tests/data/recorded/jobs/queue-1.sql").read_text()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tmp_path.chmod(0o700)
    with sqlite3.connect(tmp_path / QUEUE) as db:
        db.executescript(FIRST)
    db.close()
    return tmp_path


def test_open_attempts_keep_their_process_or_their_number_at_slurm(folder: Path) -> None:
    queue = JobQueue(folder / QUEUE)
    found = {each.job: (each.pid, each.start_ticks, each.slurm_id, each.slurm_restarts) for each in queue.intended()}
    queue.close()
    assert found == {
        1: (4711, 99, None, 0),
        2: (None, None, 100, 0),
        3: (None, None, 101, 1),
        5: (None, None, None, 0),
    }


def test_who_only_reads_sees_the_same_before_and_after(folder: Path) -> None:
    view = QueueView(folder)
    before = view.attempts(), view.jobs(), view.history(limit=10)
    assert {(each.job, each.number): each.slurm for each in before[0]} == {
        (1, 1): None,
        (2, 1): 100,
        (3, 1): 101,
        (3, 2): 101,
        (4, 1): 102,
        (5, 1): None,
    }
    JobQueue(folder / QUEUE).close()
    assert (view.attempts(), view.jobs(), view.history(limit=10)) == before


def test_an_upgraded_queue_has_the_columns_of_a_new_one(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    new = tmp_path_factory.mktemp("new") / QUEUE
    for path in (new, folder / QUEUE):
        JobQueue(path).close()
    upgraded, made = (columns(path) for path in (folder / QUEUE, new))
    assert upgraded == made
    assert set(UPGRADES) == set(range(1, VERSION))


def columns(path: Path) -> dict[str, set[tuple[object, ...]]]:
    """By table: name, type, whether it may be null, default and place in the key of each column."""
    with sqlite3.connect(path) as db:
        tables = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        found = {table: {row[1:] for row in db.execute(f"PRAGMA table_info({table})")} for table in tables}
    db.close()
    return found
