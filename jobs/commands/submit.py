"""`deepseek-jobs submit --gpus 2 -- python train.py`: queue a command."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from pathlib import Path

from access.program import Command, count

from ..state_folder import NoDaemon, QueueError


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--gpus", type=count, default=1, metavar="N", help="GPUs, or core slots on a host without GPUs (default: 1)"
    )
    parser.add_argument(
        "--memory",
        metavar="SIZE",
        help="GPU memory needed on each, e.g. 20GiB (default: unknown until measured)",
    )
    parser.add_argument(
        "--priority",
        choices=("high", "normal"),
        default="normal",
        help="high has 70%% of the slots while both wait (default: normal)",
    )
    parser.add_argument(
        "--share",
        action="store_true",
        help="share the slot with one other job that also has --share; for jobs that log their steps",
    )
    parser.add_argument(
        "--resume-with",
        metavar="COMMAND",
        help="command that resumes from the checkpoint; only jobs with one can be preempted",
    )
    parser.add_argument("--name", metavar="NAME", help="name of the run (default: script name and job number)")
    parser.add_argument(
        "--log-dir",
        type=Path,
        default=Path("logs"),
        metavar="DIR",
        help="folder in which the run's folder is created (default: logs)",
    )
    parser.add_argument(
        "--env",
        action="append",
        default=[],
        metavar="NAME",
        help="also pass on this environment variable, or set NAME=VALUE; may be repeated",
    )
    parser.add_argument(
        "--place",
        choices=("local", "slurm"),
        default="local",
        help="this host, or its Slurm cluster (default: local)",
    )
    parser.add_argument(
        "--force", action="store_true", help="queue it even if it looks like shell syntax or its script is missing"
    )
    parser.add_argument(
        "words", nargs=argparse.REMAINDER, metavar="-- PROGRAM ...", help="the program and its arguments"
    )


def run(parsed: argparse.Namespace) -> int:
    from ..client import QueueClient
    from ..request import request_of
    from ..state_folder import LOG, kept_flags, state_folder

    words: list[str] = parsed.words[1:] if parsed.words[:1] == ["--"] else parsed.words
    if not words:
        raise QueueError("name the program to run, as in: deepseek-jobs submit -- python train.py")
    request = request_of(
        words, cwd=working_folder(), environment=os.environ, gpus=parsed.gpus, memory=parsed.memory, priority=parsed.priority, share=parsed.share,
        resume_with=parsed.resume_with, name=parsed.name or "", log_dir=parsed.log_dir, env=parsed.env, place=parsed.place,
        force=parsed.force,
    )  # fmt: skip
    folder = state_folder()
    asking = QueueClient(folder)
    try:
        submitted = asking.submit(request)
    except NoDaemon:
        from .. import background

        pid = background.start(folder)
        flags = kept_flags(folder)
        how = f" with the flags of the last one, {shlex.join(flags)}" if flags else ""
        print(f"deepseek-jobs: no daemon ran; started one{how} (pid {pid}, log {folder / LOG})", file=sys.stderr)
        submitted = asking.submit(request)
    print(f"job {submitted.job}, run {submitted.run} in {request.log_dir}")
    if os.geteuid() == 0 and os.environ.get("SUDO_USER", "root") != "root":
        print(
            f"deepseek-jobs: the job runs as root; without sudo it runs as {os.environ['SUDO_USER']}", file=sys.stderr
        )
    if sys.stdout.isatty():
        print(
            f"see what it prints with: deepseek-jobs logs -f {submitted.job}; a dashboard shows it that was started with --log-dir {request.log_dir}"
        )
    return 0


def working_folder() -> Path:
    """Raises QueueError where it was removed."""
    try:
        return Path.cwd()
    except FileNotFoundError:
        raise QueueError("the folder that this was called from is not there any more; cd into one that is") from None


COMMAND = Command("submit", "Queue a command.", arguments, run)
