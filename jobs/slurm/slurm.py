"""Submit jobs to Slurm, ask what became of them, hold, release, requeue and cancel them.

Every call is a list of arguments, none goes through a shell. What the user wrote (commands, environment) does not pass through Slurm at all:
it lies in the run's folder (`handed.py`), and the batch script starts `node.py` there.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from ..measuring.plain_file import open_plain
from ..request import JobRequest
from . import handed as handed_over
from .answers import SlurmJob, jobs_of, number_of, whole
from .handed import ENDED, TEXT, Handed, hand_over, new_token
from .programs import Printed, SlurmError, call
from .reasons import of_code
from .site import SlurmSite

ASK_S, CHANGE_S = 30.0, 60.0
SCRIPT = Path(__file__).with_name("batch.sh")
ROOT = Path(__file__).parents[2]  # holds the packages, in a checkout as in site-packages
START = "import sys; sys.path.insert(0, sys.argv[1]); from jobs.slurm.node import main; sys.exit(main(sys.argv[2:]))"
REFUSED = "Slurm refused the job"  # how a sentence begins
UNKNOWN = "invalid job id"
SAVED = 75  # exit code of a program that saved because it was asked to make room
MOST_EXIT_BYTES = 1 << 16
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
        handed = Handed(token, request.argv, request.resume_argv, request.cwd, dict(request.environment), logs)
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
        if not found and (number := handed_over.claimed_by(folder)):
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
        handed_over.forget(folder)

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

    def _call(self, program: str, *words: str, within_s: float) -> Printed:
        return call([str(self._site.programs / program) if self._site.programs else program, *words], within_s)


def started_on_node(folder: Path, token: str) -> list[str]:
    """The batch script and its arguments: this Python, with this package."""
    python = [sys.executable, "-X", "utf8", "-P", "-c", START, str(ROOT)]
    return [str(SCRIPT), *python, str(folder), token]


def as_pattern(path: Path) -> str:
    """A path for `--output`, of which Slurm replaces `%j` and its like, or none of them where there is a backslash."""
    text = str(path)
    return text.replace("\\", "\\\\") if "\\" in text else text.replace("%", "%%")


def refusal(printed: Printed) -> str:
    said = printed.sentence()
    remedy = next((remedy for name, remedy in REMEDIES.items() if name in said.lower()), "")
    return f"{REFUSED}: {said}{f'; {remedy}' if remedy else ''}"


def forgotten(number: int, folder: Path) -> SlurmJob:
    """Of a job that Slurm does not know any more, by what its keeper wrote."""
    fields: object = None
    with suppress(OSError, ValueError, RecursionError), open_plain(folder / ENDED) as file:
        fields = json.loads(file.read(MOST_EXIT_BYTES))
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
