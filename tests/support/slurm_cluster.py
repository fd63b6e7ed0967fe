"""A cluster of Slurm on loopback: its controller and one node as processes of this test, everything in one folder, without munge or cgroups."""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.support.running import wait_for

PROGRAMS = ("slurmctld", "slurmd", "sbatch", "squeue", "scontrol", "scancel")
MISSING = [name for name in PROGRAMS if not shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")]
SOCKETS = [
    Path("/run/slurm/sack.socket"),
    Path("/run/slurmctld/sack.socket"),
]  # of the daemons, whatever their configuration says
ALONE = Path(tempfile.gettempdir()) / "deepseek-slurm-tests.lock"
OWN = (Path("/etc/slurm/slurm.conf"), Path("/run/slurm/conf"))


def _why_not() -> str:
    if MISSING:
        return f"Slurm's programs are missing: {', '.join(MISSING)} (make slurm)"
    if os.geteuid() != 0:
        return "Slurm's daemons are started as root"
    return "this host has a Slurm of its own" if any(path.exists() for path in OWN) else ""


needs_slurm = pytest.mark.skipif(bool(_why_not()), reason=_why_not())
GPU_MAJOR = 195  # of NVIDIA's devices; nothing answers at minors so high
CONF = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/slurm
CredType=cred/slurm
AuthInfo=cred_expire=5
SlurmctldPort={controller_port}
SlurmdPort={node_port}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0,sched_min_interval=0
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
PreemptParameters=send_user_signal
KillWait=4
MinJobAge=2
ReturnToService=2
SlurmdParameters=config_overrides
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs=4 RealMemory=4000 Gres=gpu:2 State=UNKNOWN
PartitionName=low Nodes={host} Default=YES PriorityTier=1 PreemptMode=REQUEUE OverSubscribe=NO
PartitionName=patient Nodes={host} PriorityTier=1 PreemptMode=REQUEUE GraceTime=20 OverSubscribe=NO
PartitionName=urgent Nodes={host} PriorityTier=10 PreemptMode=OFF OverSubscribe=NO
"""


@contextmanager
def cluster() -> Iterator[Path]:
    """The folder of a cluster that takes jobs; `SLURM_CONF` names its configuration meanwhile. All of its processes end with it.

    One at a time on a machine: the sockets by which its programs prove who they are have fixed names.
    """
    with ALONE.open("w") as alone:
        fcntl.flock(alone, fcntl.LOCK_EX)
        yield from _cluster()


def _cluster() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))
    folder.chmod(0o755)  # for jobs of other users
    host = socket.gethostname().partition(".")[0]
    _write(folder, host)
    before, path = os.environ.get("SLURM_CONF"), os.environ.get("PATH", "")
    os.environ["SLURM_CONF"] = str(folder / "slurm.conf")
    os.environ["PATH"] = f"{path}:/usr/sbin:/sbin"
    daemons = []
    try:
        for argv in (["slurmctld", "-D", "-i"], ["slurmd", "-D", "-N", host]):
            with (folder / f"{argv[0]}.out").open("wb") as output:
                daemons.append(
                    subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=folder)
                )
        wait_for(lambda: _is_idle(), 30, f"the cluster does not start: {_logs(folder)}")
        yield folder
    finally:
        for job in _output("squeue", "--noheader", "--format=%i").split():
            subprocess.run(["scancel", "--signal=KILL", "--full", job], check=False, capture_output=True)
        for daemon in reversed(daemons):
            daemon.terminate()
            with suppress(subprocess.TimeoutExpired):
                daemon.wait(60)
            daemon.kill()
            daemon.wait()
        _end_all_below(folder)
        os.environ["PATH"] = path
        os.environ.pop("SLURM_CONF")
        if before is not None:
            os.environ["SLURM_CONF"] = before
        shutil.rmtree(folder, ignore_errors=True)
        for left in SOCKETS:
            with suppress(OSError):
                left.unlink()
                left.parent.rmdir()


def _write(folder: Path, host: str) -> None:
    for name in ("state", "spool"):
        (folder / name).mkdir()
    devices = []
    for minor in (240, 241):  # nobody opens them: Slurm reads their numbers alone
        device = folder / f"nvidia{minor - 240}"
        os.mknod(device, 0o600 | 0o020000, os.makedev(GPU_MAJOR, minor))
        devices.append(f"Name=gpu File={device} Flags=nvidia_gpu_env")
    (folder / "gres.conf").write_text("\n".join(devices) + "\n")
    key = folder / "slurm.key"
    key.write_bytes(secrets.token_bytes(1024))
    key.chmod(0o600)
    ports = [_free_port() for _ in range(2)]
    conf = CONF.format(folder=folder, host=host, controller_port=ports[0], node_port=ports[1])
    (folder / "slurm.conf").write_text(conf)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _is_idle() -> bool:
    return _output("sinfo", "--noheader", "--partition=low", "--format=%t").strip() == "idle"


def _output(*argv: str) -> str:
    with suppress(subprocess.TimeoutExpired):
        return subprocess.run(argv, capture_output=True, text=True, timeout=10, check=False).stdout
    return ""


def _logs(folder: Path) -> str:
    return " ".join(path.read_text(errors="replace")[-1500:] for path in folder.glob("*.log"))


def _end_all_below(folder: Path) -> None:
    """What a step daemon has left: its command line or environment names the folder."""
    for path in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if f"SLURM_CONF={folder}/".encode() in path.read_bytes() and int(path.parent.name) != os.getpid():
                os.kill(int(path.parent.name), 9)
