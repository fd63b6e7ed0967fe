"""What run.json and start events claim of a process, and when it is believed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from collectors import rights
from collectors.machine import finder
from collectors.machine.finder import Finder, ranks_of
from collectors.records import Event
from tests.conftest import wait_for
from tests.support.plain_scripts import HOST, NOBODY, PLAIN, found, prints_is_found, run_in, start_of, started
from tests.support.plain_scripts import sleeper as sleeper  # a fixture


def test_where_run_json_names_the_shell_the_run_is_the_python_that_it_starts(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with started("echo", "$$;", sys.executable, PLAIN / "prints.py", ">", "/dev/null;", "true", shell=True) as shell:
        run = run_in(folder, pid=shell.pid, started_s=time.time())
        (folder / "run.json").write_text("{}")
        prints_is_found(run)


def test_run_json_without_a_host_is_of_this_one_where_its_pid_lives_and_started_before_the_run(
    sleeper: subprocess.Popen[str], tmp_path: Path
) -> None:
    (tmp_path / "run.json").write_text("{}")
    now_s = time.time()
    assert found(run_in(tmp_path, pid=sleeper.pid, started_s=now_s)) == {"run": [sleeper.pid]}
    assert found(run_in(tmp_path, pid=sleeper.pid)) == {"run": [sleeper.pid]}, (
        "then it is the time at which run.json was written"
    )
    assert Finder(HOST).find([run_in(tmp_path, pid=sleeper.pid, started_s=now_s - 30)]) == {}, (
        "the process is younger than the run"
    )


@pytest.mark.parametrize("field", ["pid", "started_s", "host", "world_size", "cwd"])
@pytest.mark.parametrize(
    "value", ["2026-11-25T10:00:00", None, [], {}, True, -1, 1e400, 1 << 127, "\ud800", float("nan")]
)
def test_a_field_of_a_wrong_type_fails_nothing(
    field: str, value: object, sleeper: subprocess.Popen[str], tmp_path: Path
) -> None:
    (tmp_path / "run.json").write_text("{}")
    info = {"pid": sleeper.pid, "host": HOST, "started_s": time.time(), field: value}
    healthy = tmp_path / "healthy"
    healthy.mkdir()
    (healthy / "events.jsonl").touch()
    odd = run_in(tmp_path, "odd", **info)._replace(
        starts=[Event("odd", "start", 1.0, fields={"pid": value, "boot_id": value, "host": value})]
    )
    both = [
        odd,
        odd._replace(run="odder", starts=[]),
        run_in(healthy, "healthy")._replace(starts=[start_of(os.getpid())]),
    ]
    assert [process.pid for process in Finder(HOST).find(both)["healthy"]] == [os.getpid()]
    assert ranks_of(odd, HOST).seen


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files of another user")
@pytest.mark.parametrize("file", ["run.json", "events.jsonl", "events.rank0.jsonl"])
def test_another_users_file_may_not_name_our_process(file: str, sleeper: subprocess.Popen[str], tmp_path: Path) -> None:
    (tmp_path / file).write_text("{}")
    run = run_in(tmp_path, pid=sleeper.pid, host=HOST, started_s=time.time())
    if file != "run.json":
        run = run._replace(info={}, starts=[start_of(sleeper.pid)])
    assert found(run) == {"run": [sleeper.pid]}, "ours may"
    other = tmp_path / "other"
    other.mkdir()
    (other / file).write_text("{}")
    os.chown(other / file, NOBODY, NOBODY)
    assert Finder(HOST).find([run._replace(folder=other)]) == {}
    (other / file).unlink()
    (other / file).symlink_to(tmp_path / file)
    os.chown(other / file, NOBODY, NOBODY, follow_symlinks=False)
    assert Finder(HOST).find([run._replace(folder=other)]) == {}, "nor a link of theirs to a file of ours"
    (other / file).unlink()
    if file != "run.json":
        assert Finder(HOST).find([run._replace(folder=other)]) == {}, "nor a file that is gone"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_the_file_of_a_user_may_name_that_users_process(tmp_path: Path) -> None:
    with started("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "sleep", "600") as theirs:
        wait_for(lambda: Path(f"/proc/{theirs.pid}").stat().st_uid == NOBODY)
        (tmp_path / "run.json").write_text("{}")
        for path in (tmp_path, tmp_path / "run.json"):
            os.chown(path, NOBODY, NOBODY)
        rights.look_at_others()
        try:
            assert found(run_in(tmp_path, pid=theirs.pid, host=HOST, started_s=time.time())) == {"run": [theirs.pid]}
        finally:
            rights.look_at_others(False)


def test_a_process_that_two_runs_claim_is_the_one_with_the_better_claims(
    sleeper: subprocess.Popen[str], tmp_path: Path
) -> None:
    for name in ("named", "started"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.json").write_text("{}")
        (tmp_path / name / "events.jsonl").touch()
    named = run_in(tmp_path / "named", "named", pid=sleeper.pid, started_s=time.time())
    begun = run_in(tmp_path / "started", "started")._replace(starts=[start_of(sleeper.pid)])
    for order in ([named, begun], [begun, named]):
        assert found(*order) == {"started": [sleeper.pid]}
    later = begun._replace(run="later", starts=[start_of(sleeper.pid)])
    assert found(later, begun) == {"later": [sleeper.pid]}, "of two runs in one process the one that began last"


def test_a_start_event_takes_no_process_from_the_run_whose_files_it_writes(tmp_path: Path) -> None:
    """It may be copied with its folder, or written by anybody."""
    victims = {name: tmp_path / name for name in ("started", "plain")}
    writes = "import sys, time; files = [open(path, 'a') for path in sys.argv[1:]]; print('open', flush=True); time.sleep(600)"
    for folder in victims.values():
        folder.mkdir()
        (folder / "events.jsonl").touch()
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / "events.jsonl").touch()
    for name, folder in victims.items():
        with subprocess.Popen(
            [sys.executable, "-c", writes, str(folder / "metrics.jsonl")], stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None and process.stdout.readline() == "open\n"
            try:
                mine = run_in(folder, name)
                if name == "started":
                    mine = mine._replace(starts=[start_of(process.pid)])
                false = run_in(copy, "copy")._replace(starts=[start_of(process.pid)._replace(time_s=time.time() + 60)])
                for order in ([mine, false], [false, mine]):
                    assert found(*order) == {name: [process.pid]}
                (copy / "metrics.jsonl").hardlink_to(folder / "metrics.jsonl")
                assert found(mine, false) == {"copy": [process.pid], name: [process.pid]}, (
                    "it writes both, and began the copy last"
                )
                (copy / "metrics.jsonl").unlink()
            finally:
                process.kill()


def test_what_a_process_has_started_is_looked_for_once_for_all_runs_that_name_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[int] = []
    real = finder.workers_of
    monkeypatch.setattr(finder, "workers_of", lambda pid, proc: looks.append(pid) or real(pid, proc))
    with started("echo", "$$;", sys.executable, PLAIN / "prints.py", ">", "/dev/null;", "true", shell=True) as shell:
        runs = []
        for number in range(300):
            folder = tmp_path / str(number)
            folder.mkdir()
            (folder / "run.json").write_text("{}")
            runs.append(run_in(folder, f"run-{number}", pid=shell.pid, started_s=time.time() + number / 1e3, host=HOST))
        who = Finder(HOST)
        wait_for(lambda: (looks.clear(), who.find(runs))[1], 30, "the training below the shell is found")
        assert looks == [shell.pid] and list(who.found()) == ["run-299"], "the newest of them has it"
