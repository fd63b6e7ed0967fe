"""A user that is only a number, as in a container, has no home: the dashboard, its doctor and the queue of jobs work all the same."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.jobs_house import as_user
from tests.support.jobs_house import place as place  # a fixture
from tests.support.running import ROOT

UNKNOWN = 54321  # no user of this host
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become such a user")


def done(*words: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [*as_user(UNKNOWN), sys.executable, *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, cwd="/tmp", timeout=60)


def test_the_queue_is_empty_and_refused_where_it_is_to_be_written() -> None:
    main = str(ROOT / "jobs" / "__main__.py")
    assert done(main, "queue").stdout.startswith("no jobs")
    refused = done(main, "submit", "--log-dir", "/tmp", "--", "true")
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1) and "DEEPSEEK_JOBS_DIR" in refused.stderr, refused


def test_the_dashboard_reads_no_queue() -> None:
    reads = (
        "from pathlib import Path; from dashboard.queries import JobsReader; print(JobsReader(Path('/tmp')).now().jobs)"
    )
    assert done("-c", reads).stdout == "[]\n"


def test_the_doctor_says_what_it_says(place: Path) -> None:
    said = done(str(ROOT / "app.py"), "doctor", "--log-dir", str(place))
    assert said.stdout and "Traceback" not in said.stderr, said.stderr


def test_data_of_a_remote_log_folder_are_kept_on_this_host() -> None:
    where = (
        "from pathlib import Path; from collectors.folders import local_data_dir; print(local_data_dir(Path('/tmp')))"
    )
    assert done("-c", where).stdout.startswith(f"/var/tmp/{UNKNOWN}/deepseek-dashboard/")
