"""Which processes are a run's, where its files do not name them: real scripts that know nothing of this project, real shells, real users."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from collectors.process.activity import RunActivity
from collectors.process.appenders import LOOKS, MOST_SEARCHES, Appenders
from collectors.process.claims import processes_of
from collectors.process.finder import Finder
from collectors.process.identity import Identity, identity_of
from collectors.process.launchers import is_launchers_command
from collectors.process.proc import boot_id, command_of, start_ticks, workers_of
from collectors.process.ranks import Gpus, gpus_of, ranges, ranks_of
from collectors.process.states import state_of
from collectors.records import Event
from collectors.rights import whose
from tests.conftest import wait_for

HOST = socket.gethostname()
PLAIN = Path(__file__).parent / "programs" / "plain"
NOBODY = 65534


@contextmanager
def started(*command: str | Path, shell: bool = False, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """In a session of its own; all of it is killed in the end."""
    line = " ".join(map(str, command)) if shell else [*map(str, command)]
    everything = {**os.environ, **environment}
    with subprocess.Popen(
        line,
        shell=shell,
        executable="/bin/bash" if shell else None,
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=everything,
    ) as process:
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):  # it has ended by itself
                os.killpg(process.pid, signal.SIGKILL)


def run_in(folder: Path, name: str = "run", **info: object) -> RunActivity:
    folder.mkdir(parents=True, exist_ok=True)
    return RunActivity(name, folder, info, [], [], time.time(), 0.05)


def found(*runs: RunActivity, finder: Finder | None = None, count: int = 1) -> dict[str, list[int]]:
    """By run, the pids, once so many are found in all."""
    finder = finder or Finder(HOST)

    def look() -> dict[str, list[int]]:
        lately = [run._replace(last_line_s=time.time()) for run in runs]
        pids = {run: [process.pid for process in processes] for run, processes in finder.find(lately).items()}
        return pids if sum(map(len, pids.values())) >= count else {}

    return wait_for(look, because="no process is found")


def prints_is_found(run: RunActivity, finder: Finder | None = None) -> None:
    """It alone is the run, once it has started: until then it may be who will start it."""
    finder = finder or Finder(HOST)

    def look() -> bool:
        pids = found(run, finder=finder)["run"]
        return [command_of(pid)[1:] for pid in pids] == [[str(PLAIN / "prints.py")]]

    wait_for(look, because="it is not the run, or not alone")


def test_a_forked_worker_that_inherits_the_open_file_is_no_main_process(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    with started(sys.executable, PLAIN / "forks_after_opening.py", folder / "metrics.jsonl") as training:
        assert training.stdout is not None
        workers = [int(word) for word in training.stdout.readline().split()[1:]]
        assert found(run_in(folder)) == {"run": [training.pid]}
        assert sorted(workers_of(training.pid)) == sorted(workers)


@pytest.mark.parametrize(
    "line",
    [
        "{python} {prints} | tee {log}",
        "{python} {prints} 2>&1 | grep --line-buffered step | tee {log} > /dev/null",
        "{python} {prints} > {log} 2>&1",
        "( echo begins; bash -c '{python} {prints}; true' ) 2>&1 | tee -a {log}",
        "script -q -f -c '{python} {prints}' {log}",
        "timeout 60 {python} {prints} > {log}",
    ],
)
def test_behind_a_shell_the_run_is_the_python_that_prints(line: str, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    command = line.format(python=sys.executable, prints=PLAIN / "prints.py", log=folder / "train.log")
    with started(command, shell=True):
        prints_is_found(run_in(folder))


STARTS = "import subprocess, sys; sys.exit(subprocess.call(sys.argv[1:]))"
COPIES = (
    "import subprocess, sys\n"
    "with open(sys.argv[1], 'w', buffering=1) as log:\n"
    "    child = subprocess.Popen(sys.argv[2:], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)\n"
    "    [print(line, end='', file=log) for line in child.stdout]\n"
)
PRINTS_ON = COPIES.replace("open(sys.argv[1], 'w', buffering=1)", "sys.stdout").replace("file=log", "flush=True")


@pytest.mark.parametrize(
    "line",
    [
        "{python} -c '{copies}' {log} {python} {prints}",
        "{python} -c '{copies}' {log} bash -c '{python} {prints}; true'",
        "{python} -c '{prints_on}' unused {python} {prints} | tee {log}",
    ],
)
def test_a_python_that_only_copies_the_output_of_another_is_not_the_run(line: str, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    texts = {name: code.replace("'", "'\"'\"'") for name, code in (("copies", COPIES), ("prints_on", PRINTS_ON))}
    with started(line.format(python=sys.executable, prints=PLAIN / "prints.py", log=folder / "train.log", **texts), shell=True):
        prints_is_found(run_in(folder))


def test_who_was_taken_for_the_writer_before_it_started_the_training_is_let_go(tmp_path: Path) -> None:
    run, finder = run_in(tmp_path / "run"), Finder(HOST)
    (tmp_path / "wrapper.py").write_text(COPIES.replace("    child =", "    input()\n    child ="))
    os.mkfifo(tmp_path / "go")
    line = (sys.executable, tmp_path / "wrapper.py", run.folder / "train.log", sys.executable, PLAIN / "prints.py")
    with started(*line, f"<> {tmp_path}/go", shell=True):
        assert found(run, finder=finder)
        (tmp_path / "go").write_text("\n")
        prints_is_found(run, finder)


def test_a_process_instead_of_which_another_writes_is_no_longer_the_runs(tmp_path: Path, sleeper: subprocess.Popen[str]) -> None:
    with started("sleep", "600") as wrapper:
        seen = [start_of(pid)._replace(kind="process") for pid in (wrapper.pid, sleeper.pid)]
        left = start_of(wrapper.pid, writer_pid=sleeper.pid, state="ended")._replace(kind="exit")
        run = run_in(tmp_path / "run")._replace(seen=seen, exits=[left])
        assert [process.pid for process in processes_of(run)] == [sleeper.pid]
        assert state_of(run, time.time()).pid == sleeper.pid
        sleeper.kill()
        sleeper.wait()
        failed = start_of(sleeper.pid, state="failed")._replace(kind="exit", text="ValueError: no")
        ticks = {"pid_start_ticks": seen[1].fields["pid_start_ticks"]}
        failed = failed._replace(fields={**failed.fields, **ticks})
        assert state_of(run._replace(exits=[left, failed]), time.time())[:2] == ("failed", "ValueError: no")


APPENDS = (
    "import sys, time\n"
    "path = [*sys.argv, 'run/metrics.jsonl'][1].removeprefix('--out=')\n"
    "for step in range(1_000_000):\n"
    "    with open(path, 'a') as log:\n"
    "        print({'step': step}, file=log)\n"
    "    time.sleep(0.02)\n"
)
WRITES_LESS = "import os, time\nwhile True: os.write(1, b'.'); time.sleep(0.02)"


@contextmanager
def appending(*words: str | Path, cwd: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A script that opens its file anew for each line; without words it is `run/metrics.jsonl`."""
    with subprocess.Popen([sys.executable, "-c", APPENDS, *map(str, words)], cwd=cwd) as process:
        try:
            yield process
        finally:
            process.kill()


def test_scripts_that_open_their_files_anew_for_each_line_are_found_by_what_they_write(tmp_path: Path) -> None:
    runs, finder = [run_in(tmp_path / name, name) for name in ("a", "b", "c")], Finder(HOST)
    finder._appenders = Appenders(every_s=0.1)
    with (
        appending("a/metrics.jsonl", cwd=tmp_path) as first,
        appending(f"--out={runs[1].folder / 'metrics.jsonl'}", cwd=Path("/")) as second,
        started(sys.executable, "-c", WRITES_LESS),
    ):
        assert found(*runs, finder=finder, count=2) == {"a": [first.pid], "b": [second.pid]}


def test_one_that_writes_is_found_among_many_that_do_not_and_few_are_looked_for_at_a_time(tmp_path: Path) -> None:
    runs, appenders = [run_in(tmp_path / name, name) for name in [*"abcdefghij", "run"]], Appenders(every_s=0.05)

    def look() -> dict[str, int]:
        pids = {run.run: appenders.find(run, others) for run in runs}
        assert len(appenders._searches) <= MOST_SEARCHES
        return {run: pid for run, pid in pids.items() if pid is not None}

    with appending("run/metrics.jsonl", cwd=tmp_path) as training:
        others = all_but(training.pid)
        assert wait_for(look) == {"run": training.pid}


def all_but(*pids: int) -> set[int]:
    """The processes of this machine, which may write what they like."""
    return {int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal()} - {*pids}


def test_a_script_that_names_no_file_is_found_where_it_works_above_and_is_alone(tmp_path: Path) -> None:
    run, appenders = run_in(tmp_path / "run"), Appenders(every_s=0.1)
    with started(sys.executable, "-c", WRITES_LESS) as other, appending(cwd=tmp_path) as training:
        assert wait_for(lambda: appenders.find(run, all_but(training.pid, other.pid))) == training.pid


def test_who_only_may_be_the_writer_is_not_taken_for_it(tmp_path: Path) -> None:
    run, appenders = run_in(tmp_path / "run"), Appenders(every_s=0.0)
    log = run.folder / "metrics.jsonl"
    with (
        appending(tmp_path / "elsewhere", cwd=tmp_path),
        appending(tmp_path / "too", cwd=tmp_path),
        appending("/dev/null", cwd=Path("/")),
    ):
        for _ in range(4 * LOOKS):
            with log.open("a") as file:  # the tests' own process writes
                file.write(".")
            assert appenders.find(run, {os.getpid()}) is None
            time.sleep(0.1)


def test_a_helper_that_is_asked_through_a_pipe_does_not_make_the_training_a_copier(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    training = COPIES.replace("stdout=", "stdin=subprocess.PIPE, stdout=").replace(
        "in child.stdout", "in [child.stdout.readline()] * 10**9"
    )
    command = (sys.executable, "-c", training, folder / "train.log", sys.executable, PLAIN / "prints.py")
    with started(*command) as process:
        assert found(run_in(folder)) == {"run": [process.pid]}


def test_a_script_that_starts_several_trainings_is_none_of_their_runs(tmp_path: Path) -> None:
    sweep = (
        "import subprocess, sys\n"
        "logs = [open(path, 'w') for path in sys.argv[3:]]\n"
        "children = [subprocess.Popen(sys.argv[1:3], stdout=log, stderr=log) for log in logs]\n"
        "print(*[child.pid for child in children], flush=True)\n"
        "[child.wait() for child in children]\n"
    )
    runs = [run_in(tmp_path / name, name) for name in ("a", "b", "c")]
    logs = [run.folder / "train.log" for run in runs]
    with started(sys.executable, "-c", sweep, sys.executable, PLAIN / "prints.py", *logs) as process:
        assert process.stdout is not None
        trainings = map(int, process.stdout.readline().split())
        assert found(*runs, count=3) == {name: [pid] for name, pid in zip("abc", trainings, strict=True)}


def test_a_training_in_a_container_that_has_another_path_for_the_log_is_found(tmp_path: Path) -> None:
    run, inside = run_in(tmp_path / "logs" / "run"), tmp_path / "workspace"
    inside.mkdir()
    training = (sys.executable, PLAIN / "forks_after_opening.py", inside / "run" / "metrics.jsonl")
    mounted = ("mount", "--bind", tmp_path / "logs", inside, "&&", "exec", *training)
    with started("unshare", "--mount", "bash", "-c", f"'{' '.join(map(str, mounted))}'", shell=True) as process:
        assert process.stdout is not None
        if not process.stdout.readline():
            pytest.skip("another mount namespace needs root")
        ((pid,),) = found(run).values()
        assert command_of(pid)[1:] == [str(word) for word in training[1:]]


def test_where_run_json_names_the_shell_the_run_is_the_python_that_it_starts(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with started("echo", "$$;", sys.executable, PLAIN / "prints.py", ">", "/dev/null;", "true", shell=True) as shell:
        run = run_in(folder, pid=shell.pid, started_s=time.time())
        (folder / "run.json").write_text("{}")
        prints_is_found(run)


def test_two_files_in_the_log_folder_itself_are_two_runs_each_with_its_own_process(tmp_path: Path) -> None:
    commands = [(sys.executable, PLAIN / "forks_after_opening.py", tmp_path / f"{name}.jsonl") for name in ("a", "b")]
    with started(*commands[0]) as first, started(*commands[1]) as second:
        runs = [run_in(tmp_path, name)._replace(single_file=True) for name in ("a", "b")]
        assert found(*runs, count=2) == {"a": [first.pid], "b": [second.pid]}


def test_the_ranks_that_write_nothing_are_found_beside_the_one_that_does_and_the_launcher_is_none(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    launcher = (
        "import os, subprocess, sys\n"
        "each = [{**os.environ, 'RANK': str(rank), 'LOCAL_RANK': str(rank), 'WORLD_SIZE': '2', 'MASTER_PORT': '29500'} for rank in (0, 1)]\n"
        "log = open(sys.argv[2] + '.out', 'w')\n"
        "ranks = [subprocess.Popen([sys.executable, *sys.argv[1:]], env=env, stdout=log) for env in each]\n"
        "[rank.wait() for rank in ranks]\n"
    )
    with started(sys.executable, "-c", launcher, PLAIN / "rank_zero_writes.py", folder / "metrics.jsonl") as agent:
        (pids,) = found(run_in(folder), count=2).values()
        assert agent.pid not in pids
        assert [identity_of(environment(pid)).rank for pid in pids] == [0, 1]


RANKS = (
    "import os, subprocess, sys\n"
    "each = [{**os.environ, 'RANK': str(rank), 'LOCAL_RANK': str(rank), 'WORLD_SIZE': '2', 'MASTER_PORT': '29500'} for rank in (0, 1)]\n"
    "ranks = [subprocess.Popen([sys.executable, *sys.argv[1:]], env=env) for env in each]\n"
    "[rank.wait() for rank in ranks]\n"
)


def test_a_script_that_calls_a_launcher_is_no_rank_either(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (tmp_path / "launch.py").write_text(RANKS)
    command = (sys.executable, "-c", f'"{STARTS}"', sys.executable, tmp_path / "launch.py", PLAIN / "prints.py", "|", "tee")
    with started(*command, folder / "train.log", shell=True):
        (pids,) = found(run_in(folder), count=2).values()
        assert [identity_of(environment(pid)).rank for pid in pids] == [0, 1]


def test_a_training_that_has_set_its_rank_itself_is_no_launcher_of_its_helper(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    training = (
        "import os, subprocess, sys, time\n"
        "os.environ.update(RANK='0', WORLD_SIZE='1')\n"
        "log = open(sys.argv[1], 'a')\n"
        "helper = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "print(helper.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    with started(sys.executable, "-c", training, folder / "metrics.jsonl") as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert found(run_in(folder)) == {"run": [process.pid]}


def environment(pid: int) -> dict[str, str]:
    words = Path(f"/proc/{pid}/environ").read_text().split("\0")
    return dict(word.split("=", 1) for word in words if "=" in word)


def start_of(pid: int, run: str = "run", **changed: object) -> Event:
    fields = {"pid": pid, "pid_start_ticks": start_ticks(pid), "boot_id": boot_id(), "host": HOST, **changed}
    return Event(run, "start", time.time(), fields=fields)


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[str]]:
    with started("sleep", "600") as process:
        yield process


def test_run_json_without_a_host_is_of_this_one_where_its_pid_lives_and_started_before_the_run(
    sleeper: subprocess.Popen[str], tmp_path: Path
) -> None:
    (tmp_path / "run.json").write_text("{}")
    now_s = time.time()
    assert found(run_in(tmp_path, pid=sleeper.pid, started_s=now_s)) == {"run": [sleeper.pid]}
    assert found(run_in(tmp_path, pid=sleeper.pid)) == {"run": [sleeper.pid]}, "then it is the time at which run.json was written"
    assert Finder(HOST).find([run_in(tmp_path, pid=sleeper.pid, started_s=now_s - 30)]) == {}, "the process is younger than the run"


@pytest.mark.parametrize("field", ["pid", "started_s", "host", "world_size", "cwd"])
@pytest.mark.parametrize("value", ["2026-11-25T10:00:00", None, [], {}, True, -1, 1e400, 1 << 127, "\ud800", float("nan")])
def test_a_field_of_a_wrong_type_fails_nothing(field: str, value: object, sleeper: subprocess.Popen[str], tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{}")
    info = {"pid": sleeper.pid, "host": HOST, "started_s": time.time(), field: value}
    healthy = tmp_path / "healthy"
    healthy.mkdir()
    (healthy / "events.jsonl").touch()
    odd = run_in(tmp_path, "odd", **info)._replace(
        starts=[Event("odd", "start", 1.0, fields={"pid": value, "boot_id": value, "host": value})]
    )
    both = [odd, odd._replace(run="odder", starts=[]), run_in(healthy, "healthy")._replace(starts=[start_of(os.getpid())])]
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
        whose.look_at_others()
        assert found(run_in(tmp_path, pid=theirs.pid, host=HOST, started_s=time.time())) == {"run": [theirs.pid]}
        whose.look_at_others(False)


def test_a_process_that_two_runs_claim_is_the_one_with_the_better_claims(sleeper: subprocess.Popen[str], tmp_path: Path) -> None:
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


@pytest.mark.parametrize(
    ("environment", "identity"),
    [
        (
            {"RANK": "3", "LOCAL_RANK": "1", "WORLD_SIZE": "16", "TORCHELASTIC_RUN_ID": "j", "TORCHELASTIC_RESTART_COUNT": "2"},
            Identity(3, 1, 16, "j", 2),
        ),
        (
            {"SLURM_PROCID": "5", "SLURM_LOCALID": "1", "SLURM_NTASKS": "8", "SLURM_JOB_ID": "4127", "SLURM_STEP_ID": "0"},
            Identity(5, 1, 8, "4127", None),
        ),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "8", "SLURM_JOB_ID": "4127"}, Identity(job_id="4127")),
        (
            {"RANK": "9", "LOCAL_RANK": "1", "WORLD_SIZE": "16", "SLURM_PROCID": "1", "SLURM_STEP_ID": "0", "SLURM_NTASKS": "2"},
            Identity(9, 1, 16),
        ),
        ({"OMPI_COMM_WORLD_RANK": "2", "OMPI_COMM_WORLD_LOCAL_RANK": "0", "OMPI_COMM_WORLD_SIZE": "4"}, Identity(2, 0, 4)),
        ({"PMI_RANK": "1", "PMI_SIZE": "2", "MPI_LOCALRANKID": "1"}, Identity(1, 1, 2)),
        ({"RANK": "first", "WORLD_SIZE": "2"}, Identity()),
        ({"RANK": "7", "WORLD_SIZE": "2"}, Identity()),
        ({"RANK": "٣"}, Identity()),
        ({}, Identity()),
    ],
)
def test_a_rank_is_what_its_launcher_has_written_into_its_environment(environment: dict[str, str], identity: Identity) -> None:
    assert identity_of(environment) == identity


@pytest.mark.parametrize(
    ("words", "launches"),
    [
        (["python", "/opt/venv/bin/torchrun", "--nproc-per-node", "8", "train.py"], True),
        (["python", "-m", "torch.distributed.run", "train.py"], True),
        (["python", "-um", "torch.distributed.launch", "train.py"], True),
        (["python3", "-W", "ignore", "/usr/bin/accelerate", "launch", "train.py"], True),
        (["/usr/bin/python3.11", "-u", "/opt/bin/deepspeed", "train.py"], True),
        (["python", "-u", "-m", "deepspeed.launcher.launch", "--world_info=x", "train.py"], True),
        (["python", "/opt/conda/bin/conda", "run", "-n", "torch", "python", "train.py"], True),
        (["python", "train.py", "torchrun"], False),
        (["python", "-m", "train", "accelerate"], False),
        (["python", "-c", "import torchrun"], False),
        (["python"], False),
        ([], False),
    ],
)
def test_launchers_are_known_by_what_they_start_as(words: list[str], launches: bool) -> None:
    assert is_launchers_command(words) == launches


GPUS = [
    {"index": 0, "uuid": "GPU-aa11", "name": "H100", "mig": None, "processes": [{"pid": 7}]},
    {"index": 1, "uuid": "GPU-bb22", "name": "H100", "mig": None, "processes": []},
    {"index": 2, "uuid": "GPU-ab33", "name": "H100", "mig": None, "processes": []},
]
MIXED = [GPUS[0], {**GPUS[1], "name": "A10"}]


@pytest.mark.parametrize(
    ("pids", "environment", "gpus", "expected"),
    [
        ({7, 8}, {"CUDA_VISIBLE_DEVICES": "1"}, GPUS, Gpus([0], "driver")),
        ({8}, {"CUDA_VISIBLE_DEVICES": "2,1"}, GPUS, Gpus([1, 2], "CUDA_VISIBLE_DEVICES")),
        ({8}, {"CUDA_VISIBLE_DEVICES": "1,-1,2"}, GPUS, Gpus([1], "CUDA_VISIBLE_DEVICES")),
        ({8}, {"CUDA_VISIBLE_DEVICES": "GPU-bb"}, GPUS, Gpus([1], "CUDA_VISIBLE_DEVICES")),
        ({8}, {"CUDA_VISIBLE_DEVICES": "GPU-a"}, GPUS, Gpus([], "")),
        ({8}, {"CUDA_VISIBLE_DEVICES": ""}, GPUS, Gpus([], "")),
        ({8}, {}, GPUS, Gpus([], "")),
        ({8}, {"CUDA_VISIBLE_DEVICES": "1"}, MIXED, Gpus([], "")),
        ({8}, {"CUDA_VISIBLE_DEVICES": "1", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}, MIXED, Gpus([1], "CUDA_VISIBLE_DEVICES")),
    ],
)
def test_a_processes_gpus_are_the_drivers_word_else_what_is_visible_and_never_assumed(
    pids: set[int], environment: dict[str, str], gpus: list[dict[str, object]], expected: Gpus
) -> None:
    assert gpus_of(pids, environment, gpus) == expected


def test_what_is_seen_of_the_ranks_is_said(tmp_path: Path) -> None:
    seen = [Event("run", "process", 1.0, rank, fields={"world_size": 16}) for rank in range(8)]
    run = run_in(tmp_path)._replace(seen=seen)
    assert ranks_of(run, HOST) == ([*range(8)], 16, "8 of 16 ranks; 8-15 are not on this host")
    away = [Event("run", "start", 1.0, rank, fields={"host": "node2"}) for rank in range(8, 16)]
    assert ranks_of(run._replace(starts=away), HOST).note == "8 of 16 ranks; 8-15 are on node2"
    assert ranks_of(run._replace(seen=seen[:1]), HOST).note == "1 of 16 ranks; 1-15 are not on this host"
    assert ranks_of(run_in(tmp_path), HOST) == ([0], None, "")
    assert ranks_of(run_in(tmp_path, world_size=1), HOST).note == ""
    assert ranges([5, 1, 2, 0, 7, 8]) == "0-2, 5, 7-8"
