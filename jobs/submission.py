"""From what a user writes to a request: words, sizes and folders are checked here, before the queue knows of them."""

from __future__ import annotations

import argparse
import errno
import fnmatch
import os
import re
import shlex
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from collectors.amounts import size_bytes

from .errors import QueueError
from .measuring.naming import family_of
from .request import LOCAL, JobRequest, check
from .words import require_no_shell, require_script

NAME = re.compile(r"[A-Za-z0-9._/-]{1,100}")
PASSED_ON = (  # of the submitter's environment; the queue's file keeps them, so nothing that is usually secret is among them
    "PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "LC_*", "TZ", "TMPDIR", "XDG_*", "LD_LIBRARY_PATH", "VIRTUAL_ENV",
    "CONDA_PREFIX", "CONDA_DEFAULT_ENV", "PYTHONPATH", "PYTHONHOME", "PYTHONUNBUFFERED", "PYTHONHASHSEED", "PYTORCH_*", "TORCH_*",
    "CUDA_HOME", "CUDA_PATH", "CUDA_LAUNCH_BLOCKING", "CUBLAS_*", "NCCL_*", "OMP_*", "MKL_*", "OPENBLAS_*", "NUMEXPR_*", "KMP_*",
    "HF_HOME", "HF_DATASETS_CACHE", "HF_HUB_OFFLINE", "TRANSFORMERS_*", "WANDB_MODE", "WANDB_DIR", "WANDB_PROJECT", "MPLBACKEND",
    "TOKENIZERS_PARALLELISM", "JAX_*", "XLA_*", "TF_*", "DEEPSEEK_SERVER",
)  # fmt: skip
PRIORITIES = ("normal", "high")
COMMAND = "the command"


def request_of(
    argv: Sequence[str],
    *,
    cwd: str | Path,
    environment: Mapping[str, str],
    gpus: int = 1,
    memory: str | None = None,
    priority: str = "normal",
    share: bool = False,
    resume_with: str | None = None,
    name: str = "",
    log_dir: str | Path = "logs",
    env: Sequence[str] = (),
    place: str = LOCAL,
    force: bool = False,
    is_text: bool = False,
) -> JobRequest:
    """What to submit. `memory` is of a slot, as in `20GiB`; `resume_with` is one text, split as a shell would and never given to one;
    `env` has names of further variables of `environment`, or `NAME=VALUE`. `is_text`: the command was one text, which no shell has seen; `force`:
    words that look like a shell's and scripts that are not there are taken as they are. Raises QueueError: one sentence with the remedy."""
    cwd = Path(cwd).absolute()
    resume = None if resume_with is None else _words(resume_with)
    if priority not in PRIORITIES:
        raise QueueError(f"--priority is {' or '.join(PRIORITIES)}, not {priority!r}")
    if name and (
        not NAME.fullmatch(name) or name.startswith(("/", ".")) or ".." in name.split("/") or name.endswith("/")
    ):
        raise QueueError(
            f"{name!r} is no name of a run; take letters, digits and . _ - /, without a leading dot or slash and without .."
        )
    request = JobRequest(
        argv=tuple(argv), cwd=str(cwd), family="", slots=gpus, high=priority == "high", shares=share, resume_argv=resume,
        declared_mib=None if memory is None else mib(memory), environment=environment_of(environment, env), name=name,
        log_dir=str(_log_folder(cwd / log_dir)), place=place,
    )  # fmt: skip
    check(request)
    path = request.environment.get("PATH", os.defpath)
    for what, words in ((COMMAND, request.argv), ("--resume-with", request.resume_argv)):
        if words:
            require_command(words[0], cwd, path, what)
        if words and not force:
            require_no_shell(words, what, variables=is_text or what != COMMAND)
            require_script(words, cwd, what)
    return request._replace(family=family_of(request))


def environment_of(environment: Mapping[str, str], more: Sequence[str] = ()) -> dict[str, str]:
    """What a job gets of its submitter's environment: PASSED_ON, and `more` by name. Raises QueueError."""
    passed = {
        name: value
        for name, value in environment.items()
        if any(fnmatch.fnmatchcase(name, known) for known in PASSED_ON)
    }
    for word in more:
        name, is_given, value = word.partition("=")
        if not name or "\0" in word:
            raise QueueError(f"--env takes a name, or NAME=VALUE, not {word!r}")
        if not is_given and name not in environment:
            raise QueueError(f"--env {name}: this environment has no variable {name}; write --env {name}=VALUE")
        passed[name] = value if is_given else environment[name]
    return passed


def require_command(word: str, cwd: Path, path: str, what: str = COMMAND) -> None:
    """It is looked up as it will be: in `cwd` where it has a slash, else in PATH. Raises QueueError."""
    if not cwd.is_dir():
        raise QueueError(f"{cwd} is no folder; submit from the folder in which the command is to run")
    if not os.access(cwd, os.X_OK, effective_ids=True):
        raise QueueError(f"this user may not enter {cwd}; submit from a folder that is yours")
    if "/" in word:
        file = cwd / word
        if not os.path.exists(file):  # noqa: PTH110
            raise QueueError(f"{what} {word!r} does not exist in {cwd}; check its path")
        if file.is_dir() or not os.access(file, os.X_OK, effective_ids=True):
            raise QueueError(
                f"{what} {word!r} cannot be executed; chmod +x it, or start it with its interpreter, as in: python {word}"
            )
    elif not shutil.which(word, path=_absolute(path, cwd)):
        if len(words := word.split()) > 1 and shutil.which(words[0], path=_absolute(path, cwd)):
            raise QueueError(
                f"{what} {word!r} is one word; take its quotes away: deepseek-jobs submit -- {' '.join(words)}"
            )
        inside = cwd / word
        remedy = (
            f"did you mean ./{word}, or python {word}?"
            if inside.is_file()
            else "check its spelling, or give its whole path"
        )
        raise QueueError(f"{what} {word!r} is not in PATH; {remedy}")


def _absolute(path: str, cwd: Path) -> str:
    return os.pathsep.join(str(cwd / part) for part in path.split(os.pathsep))


def _words(text: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        raise QueueError(
            f"--resume-with cannot be split into words ({error}); quote it as for a shell: {text!r}"
        ) from None


def mib(text: str, flag: str = "--memory") -> float:
    """`20GiB -> 20480.0`. Raises QueueError."""
    try:
        return size_bytes(text) / 2**20
    except argparse.ArgumentTypeError as error:
        raise QueueError(f"{flag} {error}") from None


def _log_folder(folder: Path) -> Path:
    """Made where it is not there. Raises QueueError where no run can be made in it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        writable = os.access(folder, os.W_OK | os.X_OK, effective_ids=True)
    except OSError as error:
        why = error.strerror if error.errno != errno.EEXIST else "it is no folder"
        raise QueueError(f"cannot write to the log folder {folder} ({why}); choose another with --log-dir") from None
    if not writable:
        raise QueueError(f"the log folder {folder} is read-only for this user; choose another with --log-dir")
    return folder.resolve()
