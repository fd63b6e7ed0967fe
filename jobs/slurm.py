"""Slurm: submits, follows and cancels jobs by its own programs."""

from __future__ import annotations

import fcntl
import json
import math
import os
import re
import secrets
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import deepseek.log
from deepseek.log.endings import SAVED

from .request import JobRequest, request_from
from .state_folder import QueueError, bytes_of, open_plain

# Call a program of Slurm: without a shell, for a limited time, with a limited answer.

MAX_BYTES = 64 << 20  # of an answer: about 6,000 jobs, as Slurm 24.11 prints them
MAX_ERROR_BYTES = 1 << 16
AT_ONCE_BYTES = 1 << 16
PING_S = 2.0
NO_CLUSTER = "configuration source"  # what Slurm's programs say on a host that belongs to none
OF_A_JOB = (
    "SLURM_",
    "SQUEUE_",
    "SCONTROL_",
)  # variables of a job in which we may be, and of formats for a reader's eyes
KEPT = ("SLURM_CONF", "SLURM_CONF_SERVER", "SLURM_CLUSTERS")


class SlurmError(QueueError):
    """A sentence for the user."""


class CommandOutput(NamedTuple):
    """What a program printed, and how it ended."""

    output: bytes
    errors: str
    code: int

    def sentence(self) -> str:
        """What Slurm says is wrong: `sbatch: error: invalid partition specified: x` -> `invalid partition specified: x`"""
        lines = [line.strip() for line in self.errors.splitlines() if line.strip()]
        said = [line.partition("error: ")[2] or line for line in lines]
        final = next((line for line in said if "failed: " in line), said[-1] if said else "")
        return final.rpartition("failed: ")[2][:300] or f"exit code {self.code}"


def has_no_cluster(scontrol: str) -> bool:
    """Whether this host knows of no cluster at all; one that does not answer is one. At most two seconds."""
    try:
        return NO_CLUSTER in call([scontrol, "ping"], PING_S).errors
    except SlurmError:
        return False


def call(argv: Sequence[str], within_s: float, most_bytes: int = MAX_BYTES) -> CommandOutput:
    """Raises SlurmError where the program is missing, takes too long, or prints more than `most_bytes`."""
    name = Path(argv[0]).name
    try:
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=surroundings(os.environ)
        )
    except OSError as error:
        raise SlurmError(
            f"Slurm's program {name} cannot be run ({error.strerror}); install slurm-client, or submit from a host of the cluster"
        ) from None
    with process:
        try:
            output, errors = _read(process, time.monotonic() + within_s, most_bytes)
            return CommandOutput(output, errors.decode("utf-8", "replace"), process.wait(1))
        except (TimeoutError, subprocess.TimeoutExpired):
            raise SlurmError(
                f"{name} did not answer within {within_s:g} s; is slurmctld up? `scontrol ping` says so"
            ) from None
        except OverflowError:
            raise SlurmError(f"{name} printed more than {most_bytes >> 20} MiB; that is not read") from None
        finally:
            process.kill()


def surroundings(environment: Mapping[str, str]) -> dict[str, str]:
    """Without the variables of a job that we may run in: Slurm would hand them on to the new one."""
    return {name: value for name, value in environment.items() if name in KEPT or not name.startswith(OF_A_JOB)}


def _read(process: subprocess.Popen[bytes], until_s: float, most_bytes: int) -> tuple[bytes, bytes]:
    """Both streams to their ends. Raises TimeoutError, OverflowError."""
    assert process.stdout and process.stderr
    found: dict[int, list[bytes]] = {process.stdout.fileno(): [], process.stderr.fileno(): []}
    left = {process.stdout.fileno(): most_bytes, process.stderr.fileno(): MAX_ERROR_BYTES}
    with selectors.DefaultSelector() as selector:
        for descriptor in found:
            selector.register(descriptor, selectors.EVENT_READ)
        while selector.get_map():
            ready = selector.select(max(0.0, until_s - time.monotonic()))
            if not ready:
                raise TimeoutError
            for key, _ in ready:
                data = os.read(key.fd, AT_ONCE_BYTES)
                left[key.fd] -= len(data)
                if not data:
                    selector.unregister(key.fd)
                elif left[key.fd] >= 0:
                    found[key.fd].append(data)
                elif key.fd == process.stdout.fileno():
                    raise OverflowError
    output, errors = (b"".join(parts) for parts in found.values())
    return output, errors


# What is particular to a cluster: its partition, account, QOS, and what a slot is there.

SlotKind: TypeAlias = Literal["gpus", "cores"]
NAME = re.compile(r"[\w.@:+,-]{1,200}")
TIME = re.compile(r"(\d+-)?\d{1,6}(:\d{1,2}){0,2}")
NAMES = ("partition", "high_partition", "account", "qos", "high_qos", "gpu_type")
NUMBERS = ("nice", "cores_per_slot", "memory_mib_per_slot")


class SlurmSite(NamedTuple):
    """How jobs are asked for. The defaults are right where users need no more than `sbatch script`."""

    slots: SlotKind = "gpus"  # what a job's slots are
    partition: str = ""
    high_partition: str = ""  # of jobs with --priority high, where the site has one
    account: str = ""
    qos: str = ""
    high_qos: str = ""  # of jobs with --priority high, where the site has one
    nice: int = (
        100  # by how much other jobs step behind, where high ones have neither a partition nor a QOS of their own
    )
    gpu_type: str = ""  # `a100`; "" for any
    cores_per_slot: int = 0  # with each GPU; 0: as the site has it
    memory_mib_per_slot: int = 0  # of the host, with each GPU; 0: as the site has it
    time_limit: str = ""  # `2-00:00:00`; "": the partition's
    options: tuple[str, ...] = ()  # further ones of sbatch, each one word: `--constraint=nvlink`
    programs: Path | None = None  # the folder of sbatch; None: where PATH has it

    def asks(self, request: JobRequest) -> list[str]:
        """Options of sbatch for what the job needs and how urgent it is."""
        return [*self._resources(request), *self._priority(request), *self.options]

    def as_json(self) -> dict[str, object]:
        """What `site_of` takes."""
        return self._asdict() | {"programs": str(self.programs) if self.programs else None}

    def _resources(self, request: JobRequest) -> list[str]:
        """Memory that was declared is a GPU's, which Slurm does not give out, and the host's where slots are cores."""
        memory_mib: float = self.memory_mib_per_slot * request.slots
        if self.slots == "gpus":
            cores = self.cores_per_slot * request.slots
            found = [f"--gpus-per-node={self.gpu_type}{':' if self.gpu_type else ''}{request.slots}"]
        else:
            cores = request.slots
            memory_mib = request.declared_mib or memory_mib
            found = []
        found += [f"--cpus-per-task={cores}"] if cores else []
        found += [f"--mem={int(memory_mib + 0.999)}M"] if memory_mib else []
        return found + ([f"--time={self.time_limit}"] if self.time_limit else [])

    def _priority(self, request: JobRequest) -> list[str]:
        partition = (self.high_partition if request.high else "") or self.partition
        qos = (self.high_qos if request.high else "") or self.qos
        named = {"partition": partition, "qos": qos, "account": self.account}
        found = [f"--{name}={value}" for name, value in named.items() if value]
        steps_behind = not request.high and self.nice and not (self.high_partition or self.high_qos)
        return [*found, *([f"--nice={self.nice}"] if steps_behind else [])]


def site_of(settings: Mapping[str, object]) -> SlurmSite:
    """Of what a user has written, by the names above. Raises SlurmError with the name of the setting."""
    if unknown := sorted(settings.keys() - set(SlurmSite._fields)):
        raise SlurmError(f"slurm: there is no setting {unknown[0]!r}; there are {', '.join(SlurmSite._fields)}")
    return SlurmSite(
        **{name: _checked(name, value) for name, value in settings.items() if (name, value) != ("programs", None)}
    )


def _checked(name: str, value: object) -> Any:
    if name == "slots" and value in get_args(SlotKind):
        return value
    if name in NAMES and isinstance(value, str) and (not value or NAME.fullmatch(value)):
        return value
    if name in NUMBERS and isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 31:
        return value
    if name == "time_limit" and isinstance(value, str) and (not value or TIME.fullmatch(value)):
        return value
    if (
        name == "options"
        and isinstance(value, list | tuple)
        and all(isinstance(each, str) and each.startswith("--") for each in value)
    ):
        if any("\0" in each for each in value):
            raise SlurmError("slurm: options cannot have NUL bytes")
        return tuple(value)
    if name == "programs" and isinstance(value, str) and value.startswith("/"):
        return Path(value)
    examples = {
        "slots": "gpus or cores",
        "time_limit": "a time such as 2-00:00:00",
        "options": 'a list of options such as ["--constraint=nvlink"]',
        "programs": "the path of a folder",
        **dict.fromkeys(NUMBERS, "a whole number, at least 0"),
    }
    raise SlurmError(f"slurm: {name} is {examples.get(name, 'a name as Slurm has it')}, not {value!r:.100}")


# Slurm's reasons in words: why a job waits, how it ended.

WAITING = {
    "None": "waits for Slurm to look at it",
    "Priority": "waits behind jobs with a higher priority",
    "Resources": "waits for nodes to be free",
    "Dependency": "waits for a job that it depends on",
    "BeginTime": "waits for its earliest start; after a requeue Slurm lets two minutes pass, or what the site has set",
    "JobHeldUser": "held; `deepseek-jobs release` lets it go",
    "JobHeldAdmin": "held by an administrator of the cluster",
    "Licenses": "waits for a licence",
    "ReqNodeNotAvail": "waits for a node that is down, drained or reserved",
    "Reservation": "waits for its reservation",
    "PartitionDown": "waits: its partition is down",
    "PartitionInactive": "waits: its partition is inactive",
    "PartitionNodeLimit": "asks for more nodes than its partition allows",
    "PartitionTimeLimit": "asks for more time than its partition allows",
    "NodeDown": "waits for a node that is down",
    "Cleaning": "waits for the end of its last attempt",
    "Prolog": "waits for the prolog of the node",
    "BadConstraints": "asks for what no node has",
    "JobHoldMaxRequeue": "held: it was requeued too often; `deepseek-jobs release` lets it go",
    "SystemFailure": "waits: Slurm has failed",
    "launch_failed_requeued_held": "held: it could not be started on its node; `deepseek-jobs release` tries again",
}
UNMOVED = frozenset(
    WAITING[name]
    for name in (
        "JobHeldAdmin", "ReqNodeNotAvail", "PartitionDown", "PartitionInactive", "PartitionNodeLimit", "PartitionTimeLimit", "NodeDown",
        "BadConstraints", "JobHoldMaxRequeue", "SystemFailure", "launch_failed_requeued_held",
    )
)  # fmt: skip
LIMITS = ("QOS", "Assoc", "Max", "AccountingPolicy")  # how names of limits begin
ENDED = {
    "TIMEOUT": "Slurm ended it: its time limit was reached",
    "DEADLINE": "Slurm ended it: its deadline was reached",
    "OUT_OF_MEMORY": "its host's memory ran out: it used more than it had asked Slurm for",
    "CANCELLED": "cancelled",
    "PREEMPTED": "Slurm gave its place to another job, and does not start it again",
    "NODE_FAIL": "its node failed",
    "BOOT_FAIL": "its node could not be started",
    "LAUNCH_FAILED": "it could not be started on its node",
    "REVOKED": "another cluster has started it",
}


def of_waiting(state: str, reason: str, states: str) -> str:
    """`("queued", "Resources", "PENDING") -> "waits for nodes to be free"`; "" for a job that runs."""
    if state == "running":
        return ""
    if state == "unknown":
        return f"Slurm says {states}, which this version does not know"
    if state in ("starting", "suspended", "stopping"):
        return {
            "starting": "its node is being started",
            "suspended": "Slurm has suspended it",
            "stopping": "it is ending",
        }[state]
    if said := WAITING.get(reason):
        return said
    if reason.startswith(LIMITS):
        return f"waits: a limit of its user, account or QOS is reached ({reason})"
    if reason:
        return f"waits; Slurm says: {reason}"
    return WAITING["None"] if state == "queued" else WAITING["JobHeldUser"]


def of_end(states: frozenset[str], code: int | None) -> str:
    """`({"FAILED"}, 137) -> "ended by SIGKILL"`; "" for a job that finished."""
    if said := next((ENDED[name] for name in ENDED if name in states), ""):
        return said
    return of_code(code) if "COMPLETED" not in states else ""


def of_code(code: int | None) -> str:
    if code is None:
        return ""
    with suppress(ValueError):
        return f"ended by {signal.Signals(code - 128).name}" if code > 128 else f"ended with exit code {code}"
    return f"ended with exit code {code}"


# Read the JSON of `squeue` and `scontrol`, as Slurm 21.08 to 25.11 print it: one `SlurmJob` a job.
#
# Numbers are plain, or `{"set": true, "infinite": false, "number": 7}`; the state is a word or a list of words; exit codes have three forms.

SlurmState: TypeAlias = Literal[
    "queued",
    "held",
    "starting",
    "running",
    "suspended",
    "stopping",
    "unknown",
    "finished",
    "failed",
    "cancelled",
    "preempted",
    "lost",
]
MAX_CHARACTERS = 1000  # of a text: a list of nodes, a path
HELD = {"JobHeldUser", "JobHeldAdmin", "job_held_user", "job_held_admin"}
ENDS: dict[str, SlurmState] = {  # `lost`: it did not end by itself, and Slurm does not start it again
    "COMPLETED": "finished",
    "FAILED": "failed",
    "TIMEOUT": "failed",
    "DEADLINE": "failed",
    "OUT_OF_MEMORY": "failed",
    "CANCELLED": "cancelled",
    "PREEMPTED": "preempted",
    "NODE_FAIL": "lost",
    "BOOT_FAIL": "lost",
    "LAUNCH_FAILED": "lost",
    "REVOKED": "lost",
}
OVER = frozenset(ENDS.values())


class SlurmJob(NamedTuple):
    """A job as Slurm knows it. Times are Unix seconds."""

    id: int
    state: SlurmState
    reason: str  # why it waits, or how it ended, in words; "" where the state says it all
    nodes: str = ""  # as Slurm writes them: `node[03-04]`
    start_s: float | None = (
        None  # of the newest start; of a job that waits, the expected one, where Slurm has planned it
    )
    end_s: float | None = None  # of its end; of a job that runs, its time limit
    exit_code: int | None = None  # 128 + N for signal N; None before the end, or where it did not end by itself
    restarts: int = 0  # how often Slurm has started it again
    folder: str = ""  # the run's

    @property
    def is_over(self) -> bool:
        """Whether it will not go on by itself."""
        return self.state in OVER


def jobs_of(output: bytes) -> dict[int, SlurmJob]:
    """Of the answer to `squeue --json`. Raises SlurmError where it is none."""
    found = [job_of(row) for row in rows_of(output)]
    return {job.id: job for job in found if job}


def rows_of(output: bytes) -> list[dict[str, Any]]:
    """Of the answer to `squeue --json` or `scontrol --json show job`. Raises SlurmError."""
    try:
        answer = json.loads(output)
    except (ValueError, RecursionError):
        raise SlurmError(
            "Slurm's answer is not JSON; squeue --json needs Slurm 21.08 or newer with its JSON plugin"
        ) from None
    rows = answer.get("jobs") if isinstance(answer, dict) else None
    if not isinstance(rows, list):
        raise SlurmError('Slurm\'s answer has no list "jobs"; this version of Slurm is not known')
    found = [row for row in rows if isinstance(row, dict)]
    if answer.get("errors") and not found:  # not the same as no jobs
        raise SlurmError(f"Slurm's answer has errors: {json.dumps(answer['errors'])[:300]}")
    return found


def first_row(output: bytes) -> dict[str, Any]:
    """Raises SlurmError where the answer has none."""
    if not (rows := rows_of(output)):
        raise SlurmError("Slurm does not know the job")
    return rows[0]


def job_of(row: Mapping[str, Any]) -> SlurmJob | None:
    """None for what has no number or no state that is known."""
    number, states = whole(row.get("job_id")), words(row.get("job_state"))
    reason = word(row.get("state_reason"))
    state = state_of(states, reason)
    if number is None or state is None:
        return None
    code = exit_code_of(row.get("exit_code")) if state in ("finished", "failed", "cancelled") else None
    said = of_end(states, code) if state in OVER else of_waiting(state, reason, " ".join(sorted(states)))
    return SlurmJob(
        number,
        state,
        said,
        word(row.get("nodes")),
        time_of(row.get("start_time")),
        time_of(row.get("end_time")),
        code,
        whole(row.get("restart_cnt")) or 0,
        word(row.get("current_working_directory")),
    )


def state_of(states: frozenset[str], reason: str) -> SlurmState | None:
    """`{"RUNNING", "COMPLETING"} -> "stopping"`; None where there is no word. A word of a newer Slurm is no end."""
    if "COMPLETING" in states:
        return "stopping"
    if "PENDING" in states or states & {"REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "SPECIAL_EXIT"}:
        return "held" if reason in HELD or states & {"REQUEUE_HOLD", "SPECIAL_EXIT"} else "queued"
    if "CONFIGURING" in states:
        return "starting"
    if states & {"SUSPENDED", "STOPPED"}:
        return "suspended"
    if states & {"RUNNING", "SIGNALING", "RESIZING", "STAGE_OUT"}:
        return "running"
    return next((state for name, state in ENDS.items() if name in states), "unknown") if states else None


def exit_code_of(value: object) -> int | None:
    """`{"return_code": {"set": true, "number": 3}, ...} -> 3`; of older versions `3`, or the wait status 768."""
    if not isinstance(value, dict):
        status = whole(value)
        return None if status is None else _of_status(status)
    signal = value.get("signal")
    number = whole(signal.get("id", signal.get("signal_id"))) if isinstance(signal, dict) else whole(signal)
    return 128 + number if number else whole(value.get("return_code"))


def _of_status(status: int) -> int:
    """Slurm 21.08 and 22.05 print the status of `wait`, whose low byte is a signal."""
    return 128 + (status & 0x7F) if status & 0x7F else os.WEXITSTATUS(status & 0xFFFF)


def number_of(value: object) -> float | None:
    """`7 -> 7`, `{"set": true, "infinite": false, "number": 7} -> 7`; None where it is not set, or no number."""
    if isinstance(value, dict):
        value = value.get("number") if value.get("set", True) is True and not value.get("infinite") else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if -(2**63) < value < 2**63 else None  # NaN is not


def whole(value: object) -> int | None:
    number = number_of(value)
    return None if number is None or number < 0 or math.isnan(number) else int(number)


def time_of(value: object) -> float | None:
    """Unix seconds; Slurm writes 0 where it knows no time."""
    number = number_of(value)
    return float(number) if number and 0 < number < 2**40 else None


def word(value: object) -> str:
    return "".join(filter(str.isprintable, value[:MAX_CHARACTERS])) if isinstance(value, str) else ""


def words(value: object) -> frozenset[str]:
    """`"RUNNING" -> {"RUNNING"}`, `["PENDING", "REQUEUED"] -> {"PENDING", "REQUEUED"}`"""
    found = value if isinstance(value, list) else [value]
    return frozenset(word(each).upper() for each in found[:64] if isinstance(each, str))


# What lies in the run's folder for the node: the commands, their folder and environment, in a file of the user's alone.
#
#     .job.json          {"token": ..., "argv": [...], "resume_argv": null or [...], "cwd": ..., "environment": {...}, "log_dir": ...}
#     .job-<token>       the number of the job of Slurm that runs it: no second one does
#
# JSON keeps every argument as it is: quotes, newlines, and bytes that are not UTF-8, as surrogates.

FILE = ".job.json"
CLAIM = ".job-{token}"
TEXT = "slurm.log"  # what Slurm itself says of the job, and the node's part of us
ENDED_FILE = "exit.json"  # of the keeper
STARTED = "started.json"  # of the keeper
MAX_HANDED_BYTES = 16 << 20  # a command line and an environment have 2 MB at most


class SlurmJobSpecError(Exception):
    """A sentence for the log of the job."""


class SlurmJobSpec(NamedTuple):
    """What a job runs."""

    token: str  # of the submission: one that was repeated has another one
    argv: tuple[str, ...]
    resume_argv: tuple[str, ...] | None
    cwd: str
    environment: Mapping[str, str]
    log_dir: str


def new_token() -> str:
    return secrets.token_hex(8)


def hand_over(folder: Path, handed: SlurmJobSpec) -> None:
    """Written whole, readable for its user alone. What an earlier submission has left is void then. Raises OSError."""
    path = folder / FILE
    part = path.with_name(f"{FILE}.part")
    part.unlink(missing_ok=True)
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "w") as file:
        json.dump(handed._asdict(), file)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    for claim in folder.glob(CLAIM.format(token="*")):
        if claim.name != CLAIM.format(token=handed.token):
            claim.unlink(missing_ok=True)


def take(folder: Path, token: str) -> SlurmJobSpec:
    """Raises SlurmJobSpecError, also where the job was submitted anew meanwhile."""
    try:
        with open_plain(folder / FILE) as file:
            fields: Any = json.loads(file.read(MAX_HANDED_BYTES))
        handed = SlurmJobSpec(**{name: fields[name] for name in SlurmJobSpec._fields})
    except FileNotFoundError:
        raise SlurmJobSpecError(
            f"{folder / FILE} is not there: the log folder must be on a file system that the nodes share"
        ) from None
    except (OSError, ValueError, RecursionError, TypeError, KeyError) as error:
        raise SlurmJobSpecError(f"{folder / FILE} cannot be read ({type(error).__name__})") from None
    if handed.token != token:
        raise SlurmJobSpecError("this job was submitted again; the newer one runs")
    return handed


def claim(folder: Path, token: str, job: str) -> None:
    """For this job of Slurm, also when it is started again. Raises SlurmJobSpecError where another one has it."""
    path = folder / CLAIM.format(token=token)
    part = path.with_name(f"{path.name}.{job}")
    try:
        part.write_text(job)
        with suppress(FileExistsError):
            os.link(part, path)  # whole, or not at all, also over NFS
        part.unlink()
        other = path.read_text()
    except OSError as error:
        raise SlurmJobSpecError(f"cannot write to {folder} on this node ({error.strerror})") from None
    if other != job:
        raise SlurmJobSpecError(f"job {other} of Slurm runs this already")


def claimed_by(folder: Path) -> int | None:
    """The number of the job of Slurm that has run, or runs, what was handed over last."""
    try:
        token = json.loads(bytes_of(folder / FILE, MAX_HANDED_BYTES))["token"]
        return int(bytes_of(folder / CLAIM.format(token=token), MAX_HANDED_BYTES))
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None


def forget(folder: Path) -> None:
    """A job that is over leaves its run, without the environment that it was given."""
    for name in (FILE, CLAIM.format(token="*")):
        for path in folder.glob(name):
            with suppress(OSError):
                path.unlink()


# Submit jobs to Slurm, ask what became of them, hold, release, requeue and cancel them.
#
# Every call is a list of arguments, none goes through a shell. What the user wrote (commands, environment) does not pass through Slurm at all:
# it lies in the run's folder, and the batch script starts `slurm_node.py` there.

ASK_S, CHANGE_S = 30.0, 60.0
PACKAGES = Path(__file__).parents[1], Path(deepseek.log.__file__).parents[2]  # the folders of `jobs` and `deepseek.log`
SCRIPT = Path(__file__).with_name("slurm_batch.sh")
START = (
    "import sys; sys.path.insert(0, sys.argv[1]); sys.path.append(sys.argv[2]); "
    "from jobs.slurm_node import main; sys.exit(main(sys.argv[3:]))"
)
REFUSED = "Slurm refused the job"  # how a sentence begins
UNKNOWN = "invalid job id"
MAX_EXIT_BYTES = 1 << 16
REMEDIES = {  # of what sbatch says
    "partition": "choose one that `sinfo` lists",
    "account": "`sacctmgr show associations user=$USER` lists yours",
    "qos": "`sacctmgr show qos` lists them",
    "gres": "this cluster has no such GPUs; `sinfo -o %G` lists what it has",
    "node configuration": "no node has so many GPUs or cores, GPUs of this type, or so much memory; `sinfo -N -l` lists what they have",
    "time limit": "ask for less time, or for another partition",
    "memory": "ask for less memory; `sinfo -N -l` lists what nodes have",
}


class Slurm:
    """The cluster that `sbatch` of this host submits to. All methods raise SlurmError: a sentence for the user."""

    def __init__(self, site: SlurmSite | None = None) -> None:
        self._site = site or SlurmSite()

    def submit(self, request: JobRequest, name: str, folder: Path, log_dir: Path | None = None) -> int:
        """The number that Slurm gives the job, whose run is `folder`; `log_dir` is the folder above it if not given.

        Where the number does not arrive (a timeout, the end of this process), `find` says whether Slurm has the job. Submitted again, an
        earlier submission of the same folder ends without running anything.
        """
        folder = self._checked(request, name, folder)
        token = new_token()
        logs = str((log_dir or folder.parent).resolve())
        handed = SlurmJobSpec(token, request.argv, request.resume_argv, request.cwd, dict(request.environment), logs)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            hand_over(folder, handed)
        except OSError as error:
            raise SlurmError(
                f"cannot write to {folder} ({error.strerror}); choose another log folder with --log-dir"
            ) from None
        printed = self._call(
            "sbatch", *self._options(request, name, folder), *started_on_node(folder, token), within_s=CHANGE_S
        )
        number = printed.output.decode(errors="replace").strip().partition(";")[0]
        if printed.code or not number.isdecimal():
            raise SlurmError(refusal(printed))
        return int(number)

    def look(self, jobs: Mapping[int, Path]) -> dict[int, SlurmJob]:
        """Of these jobs with their runs' folders, in one call: as Slurm knows them, else as their runs ended.

        A job that Slurm has forgotten (it does five minutes after the end) and that has written no end is `lost`.
        """
        if not jobs:
            return {}
        known = self._squeue("--jobs=" + ",".join(map(str, sorted(jobs))))
        return {number: known.get(number) or forgotten(number, folder) for number, folder in jobs.items()}

    def find(self, folder: Path) -> SlurmJob | None:
        """The newest job of the user that was submitted for this run and is not over, else the one that ran it: whose number was not kept."""
        there = str(folder.resolve())
        known = self._squeue()
        found = [job for job in known.values() if job.folder == there and not job.is_over]
        if not found and (number := claimed_by(folder)):
            return known.get(number) or forgotten(number, folder)
        return max(found, key=lambda job: job.id, default=None)

    def cancel(self, job: int) -> None:
        """Slurm sends SIGTERM, and SIGKILL after its `KillWait` (30 s). One that is over stays as it is."""
        self._change(job, "cancel", "scancel", str(job))

    def hold(self, job: int) -> None:
        """A job that waits does so until `release`, also where its user is root."""
        self._change(job, "hold", "scontrol", "uhold", str(job))

    def release(self, job: int) -> None:
        self._change(job, "release", "scontrol", "release", str(job))

    def requeue(self, job: int) -> None:
        """Ended as by `cancel`, and started again; of a job with a resume command only."""
        self._change(job, "requeue", "scontrol", "requeue", str(job))

    def forget(self, folder: Path) -> None:
        """To be called once for a job that is over: the environment that it was given is removed from its run."""
        forget(folder)

    def _checked(self, request: JobRequest, name: str, folder: Path) -> Path:
        if not Path(request.cwd).is_dir():
            raise SlurmError(f"the folder {request.cwd} does not exist")
        folder = folder.resolve()
        if not f"{folder}{name}".isprintable():
            raise SlurmError(
                f"{str(folder)!r} cannot be the folder of {name!r} for Slurm; choose a name that can be printed"
            )
        return folder

    def _options(self, request: JobRequest, name: str, folder: Path) -> list[str]:
        """Of sbatch."""
        return [
            "--parsable",
            f"--job-name={name}",
            f"--chdir={folder}",
            f"--output={as_pattern(folder / TEXT)}",
            "--open-mode=append",
            "--export=NIL",  # the environment lies in the folder; with names, Slurm would run the user's login scripts
            "--nodes=1",
            "--ntasks=1",
            *self._site.asks(request),
            *(["--requeue", "--signal=B:USR2@120"] if request.resume_argv is not None else ["--no-requeue"]),
        ]

    def _squeue(self, *words: str) -> dict[int, SlurmJob]:
        printed = self._call("squeue", "--json", "--me", "--states=all", *words, within_s=ASK_S)
        if printed.code and UNKNOWN in (printed.errors + printed.output[-4096:].decode(errors="replace")).lower():
            return {}  # a single job that Slurm has forgotten
        if printed.code:
            raise SlurmError(f"squeue failed: {printed.sentence()}")
        return jobs_of(printed.output)

    def _change(self, job: int, purpose: str, program: str, *words: str) -> None:
        printed = self._call(program, *words, within_s=CHANGE_S)
        said = printed.errors.lower()
        over = UNKNOWN in said or "already completing or completed" in said
        if (printed.code or "error:" in said) and not (program == "scancel" and over):
            why = "it is over" if over else printed.sentence()
            raise SlurmError(f"job {job} of Slurm: cannot {purpose} it: {why}")

    def _call(self, program: str, *words: str, within_s: float) -> CommandOutput:
        return call([str(self._site.programs / program) if self._site.programs else program, *words], within_s)


def started_on_node(folder: Path, token: str) -> list[str]:
    """The batch script and its arguments: this Python, with our packages."""
    python = [sys.executable, "-X", "utf8", "-P", "-c", START, *map(str, PACKAGES)]
    return [str(SCRIPT), *python, str(folder), token]


def as_pattern(path: Path) -> str:
    """A path for `--output`, of which Slurm replaces `%j` and its like, or none of them where there is a backslash."""
    text = str(path)
    return text.replace("\\", "\\\\") if "\\" in text else text.replace("%", "%%")


def refusal(printed: CommandOutput) -> str:
    said = printed.sentence()
    remedy = next((remedy for name, remedy in REMEDIES.items() if name in said.lower()), "")
    return f"{REFUSED}: {said}{f'; {remedy}' if remedy else ''}"


def forgotten(number: int, folder: Path) -> SlurmJob:
    """Of a job that Slurm does not know any more, by what its keeper wrote."""
    fields: object = None
    with suppress(OSError, ValueError, RecursionError), open_plain(folder / ENDED_FILE) as file:
        fields = json.loads(file.read(MAX_EXIT_BYTES))
    end_s = number_of(fields.get("ended_s")) if isinstance(fields, dict) else None
    if not isinstance(fields, dict) or end_s is None:
        return SlurmJob(number, "lost", "Slurm does not know it any more, and it has written no end")
    signal = whole(fields.get("signal"))
    code = 128 + signal if signal else whole(fields.get("code"))
    if code in (0, SAVED) and fields.get("stopped_by"):
        return SlurmJob(
            number, "preempted", "it made room, and Slurm does not know it any more", end_s=end_s, exit_code=code
        )
    return SlurmJob(
        number, "finished" if code == 0 else "failed", of_code(code) if code else "", end_s=end_s, exit_code=code
    )


# What a daemon asks of Slurm in one go, answered by a process of its own: a cluster that does not answer holds up nothing else.
#
#     python jobs/__main__.py slurm FOLDER      orders as JSON on standard input, answers on standard output
#
# FOLDER is the queue's. Its lock keeps the process of a daemon that was killed and that of its successor from submitting at the same time.

SlurmWish: TypeAlias = Literal["hold", "release", "cancel"]
LOCK = "slurm.lock"
MAX_S = 60.0  # after which what is left waits for the next time


class SlurmOrder(NamedTuple):
    """Of one attempt: what has become of it, after what is asked for is done."""

    job: int  # ours
    attempt: int
    number: int | None  # Slurm's; None: not known yet
    folder: Path  # of the run
    name: str
    request: JobRequest | None  # to submit it
    may_be_there: bool = False  # it was submitted before, perhaps: then Slurm is asked first
    wish: SlurmWish | None = None


class SlurmAnswer(NamedTuple):
    """Of one order."""

    job: int
    attempt: int
    number: int | None
    seen: SlurmJob | None = None
    done: SlurmWish | None = None
    error: str = ""  # a sentence


def main(folder: Path) -> int:
    asked = json.load(sys.stdin)
    orders = [order_from(fields) for fields in asked["orders"]]
    lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    json.dump([answer._asdict() for answer in answers(Slurm(site_of(asked["site"])), orders)], sys.stdout)
    return 0


def answers(slurm: Slurm, orders: Sequence[SlurmOrder]) -> Iterator[SlurmAnswer]:
    """One call of `squeue` for all; what there was no time for has no answer."""
    until_s = time.monotonic() + MAX_S
    try:
        seen = slurm.look({order.number: order.folder for order in orders if order.number is not None})
    except SlurmError as error:
        yield from (SlurmAnswer(order.job, order.attempt, order.number, error=str(error)) for order in orders)
        return
    for order in orders:
        if time.monotonic() < until_s:
            yield _answer(slurm, order, None if order.number is None else seen.get(order.number))


def _answer(slurm: Slurm, order: SlurmOrder, seen: SlurmJob | None) -> SlurmAnswer:
    answer = SlurmAnswer(order.job, order.attempt, order.number, seen)
    try:
        if answer.number is None and order.may_be_there and (found := slurm.find(order.folder)):
            answer = answer._replace(number=found.id, seen=found)
        if answer.number is None and order.wish == "cancel":
            return answer._replace(done="cancel")
        if answer.number is None and order.request:
            number = slurm.submit(order.request, order.name, order.folder, Path(order.request.log_dir))
            answer = answer._replace(number=number)
        if order.wish and answer.number is not None:
            {"hold": slurm.hold, "release": slurm.release, "cancel": slurm.cancel}[order.wish](answer.number)
            answer = answer._replace(done=order.wish)
    except SlurmError as error:
        if order.wish == "cancel" and order.number is None and NO_CLUSTER in str(error):
            return answer._replace(done="cancel")  # nothing can have been submitted from here
        return answer._replace(error=str(error))
    return answer


def as_json(site: Mapping[str, object], orders: Sequence[SlurmOrder]) -> str:
    """For standard input."""
    rows = [
        order._asdict() | {"folder": str(order.folder), "request": order.request.as_json() if order.request else None}
        for order in orders
    ]
    return json.dumps({"site": dict(site), "orders": rows})


def order_from(fields: Mapping[str, Any]) -> SlurmOrder:
    request = request_from(fields["request"]) if fields["request"] else None
    return SlurmOrder(**{**fields, "folder": Path(fields["folder"]), "request": request})


def answers_from(text: bytes) -> list[SlurmAnswer]:
    """Of standard output. Raises ValueError where the process did not come to its end."""
    rows = json.loads(text)
    return [SlurmAnswer(**{**row, "seen": SlurmJob(*row["seen"]) if row["seen"] else None}) for row in rows]
