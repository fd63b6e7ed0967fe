"""Which processes are ranks, which only launch them, and which GPUs each uses."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from collectors.machine.finder import Gpus, gpus_of, ranges, ranks_of
from collectors.machine.ranks import RankIdentity, identity_of, is_launchers_command
from collectors.records import Event
from tests.support.plain_scripts import HOST, PLAIN, STARTS, environment, found, run_in, started


def test_the_ranks_that_write_nothing_are_found_beside_the_one_that_does_and_the_launcher_is_none(
    tmp_path: Path,
) -> None:
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
    command = (
        sys.executable,
        "-c",
        f'"{STARTS}"',
        sys.executable,
        tmp_path / "launch.py",
        PLAIN / "prints.py",
        "|",
        "tee",
    )
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


@pytest.mark.parametrize(
    ("environment", "identity"),
    [
        (
            {
                "RANK": "3",
                "LOCAL_RANK": "1",
                "WORLD_SIZE": "16",
                "TORCHELASTIC_RUN_ID": "j",
                "TORCHELASTIC_RESTART_COUNT": "2",
            },
            RankIdentity(3, 1, 16, "j", 2),
        ),
        (
            {
                "SLURM_PROCID": "5",
                "SLURM_LOCALID": "1",
                "SLURM_NTASKS": "8",
                "SLURM_JOB_ID": "4127",
                "SLURM_STEP_ID": "0",
            },
            RankIdentity(5, 1, 8, "4127", None),
        ),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "8", "SLURM_JOB_ID": "4127"}, RankIdentity(job_id="4127")),
        (
            {
                "RANK": "9",
                "LOCAL_RANK": "1",
                "WORLD_SIZE": "16",
                "SLURM_PROCID": "1",
                "SLURM_STEP_ID": "0",
                "SLURM_NTASKS": "2",
            },
            RankIdentity(9, 1, 16),
        ),
        (
            {"OMPI_COMM_WORLD_RANK": "2", "OMPI_COMM_WORLD_LOCAL_RANK": "0", "OMPI_COMM_WORLD_SIZE": "4"},
            RankIdentity(2, 0, 4),
        ),
        ({"PMI_RANK": "1", "PMI_SIZE": "2", "MPI_LOCALRANKID": "1"}, RankIdentity(1, 1, 2)),
        ({"RANK": "first", "WORLD_SIZE": "2"}, RankIdentity()),
        ({"RANK": "7", "WORLD_SIZE": "2"}, RankIdentity()),
        ({"RANK": "٣"}, RankIdentity()),
        ({}, RankIdentity()),
    ],
)
def test_a_rank_is_what_its_launcher_has_written_into_its_environment(
    environment: dict[str, str], identity: RankIdentity
) -> None:
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
        (
            {8},
            {"CUDA_VISIBLE_DEVICES": "1", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"},
            MIXED,
            Gpus([1], "CUDA_VISIBLE_DEVICES"),
        ),
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
