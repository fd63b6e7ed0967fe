"""A request for a job: command, resources and family, checked before it is queued."""

from __future__ import annotations

import argparse
import errno
import fnmatch
import os
import re
import shlex
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from collectors.options import size_bytes

from .state_folder import QueueError

OF_A_SHELL = re.compile(r"&&|\|\|?&?|;;?|&|\d?(>>?|<<?<?)(&\d?)?|&>>?|\d?>&\d|[^\s;]+;|\$\(.*|`.*", re.DOTALL)
REDIRECTED = re.compile(r"\d?>>?[\w./~-]+|<[\w./~-]+")  # `>out.txt`
VARIABLE = re.compile(r"[^\s$]*\$(\w+|\{\w+\})\S*")
INTERPRETER = re.compile(r"(python|pypy)[\d.]*|(ba|da|z|k)?sh")
WITH_VALUE = ("-X", "-W", "-o", "-O", "--check-hash-based-pycs")  # options of interpreters that take the next word
INSTEAD = re.compile(r"-[a-zA-Z]*[cms]|-")  # then there is no script: `-c CODE`, `-m MODULE`, `-s`, `-`
UNLESS = "or, if that is meant, submit with --force"


def require_no_shell(words: Sequence[str], what: str, *, variables: bool) -> None:
    """`python a.py && echo done`, or `$HOME/a` among the words, of which no shell makes anything; `variables`: of a text no shell has seen before,
    either. Raises QueueError."""
    given = set[int]()  # a code that a shell gets, or the end of `find -exec`
    if INTERPRETER.fullmatch(Path(words[0]).name):
        given = {place + 1 for place, word in enumerate(words) if INSTEAD.fullmatch(word) and word.endswith("c")}
    if any(word in ("-exec", "-execdir", "-ok") for word in words):
        given |= {place for place, word in enumerate(words) if word == ";"}
    for place, word in enumerate(words):
        if place in given:
            continue
        if OF_A_SHELL.fullmatch(word) or REDIRECTED.fullmatch(word) or (variables and VARIABLE.fullmatch(word)):
            raise QueueError(
                f"{what} has {word!r}, which is for a shell, and jobs run without one; write: sh -c '...' {UNLESS}"
            )


def require_script(words: Sequence[str], cwd: Path, what: str) -> None:
    """The script of `python nothere.py`. Raises QueueError."""
    if not INTERPRETER.fullmatch(Path(words[0]).name):
        return
    skip = False
    for word in words[1:]:
        if skip:
            skip = False
        elif INSTEAD.fullmatch(word):
            return
        elif word.startswith("-"):
            skip = word in WITH_VALUE
        else:
            if word.endswith((".py", ".sh")) and not (cwd / word).is_file():
                raise QueueError(f"{what} runs {word!r}, which is not in {cwd}; check its path, {UNLESS}")
            return


# What a user asks of the queue: a command and where it may run.

LOCAL, SLURM = "local", "slurm"
PLACES = (LOCAL, SLURM)  # where a job can be asked to run
NAME = re.compile(r"(?!\.)[A-Za-z0-9._-]+(?:/(?!\.)[A-Za-z0-9._-]+)*")  # of a run
MAX_NAME = 100  # characters of a run's name that its user chooses
MAX_SLOTS = 1 << 20
MAX_MIB = 2.0**40


class JobRequest(NamedTuple):
    """`argv` and `resume_argv` are run without a shell, in `cwd`, with `environment` and nothing else of the submitter's."""

    argv: tuple[str, ...]
    cwd: str
    family: str
    slots: int = 1
    high: bool = False
    shares: bool = False
    resume_argv: tuple[str, ...] | None = None
    declared_mib: float | None = None
    environment: Mapping[str, str] = {}
    name: str = ""  # of its run; "" for the script's with the job's number
    log_dir: str = ""  # absolute; "" where the job is to have no run
    place: str = LOCAL

    def as_json(self) -> dict[str, object]:
        return self._asdict() | {"environment": dict(self.environment)}


def request_from(fields: Mapping[str, object]) -> JobRequest:
    """What `as_json` gave. Raises QueueError for anything else."""
    types: dict[str, tuple[type, ...]] = {
        "argv": (list,), "cwd": (str,), "family": (str,), "slots": (int,), "high": (bool,), "shares": (bool,),
        "resume_argv": (list, type(None)), "declared_mib": (int, float, type(None)), "environment": (dict,), "name": (str,),
        "log_dir": (str,), "place": (str,),
    }  # fmt: skip
    for name, value in fields.items():
        texts = value if isinstance(value, list) else [*value, *value.values()] if isinstance(value, dict) else []
        wrong = isinstance(value, bool) and bool not in types.get(name, ())
        if (
            name not in types
            or wrong
            or not isinstance(value, types[name])
            or not all(isinstance(text, str) for text in texts)
        ):
            raise QueueError(f"a request for a job has no {name!r:.100} such as {_shown(value)}")
    if missing := {"argv", "cwd", "family"} - fields.keys():
        raise QueueError(f"a request for a job needs {', '.join(sorted(missing))}")
    request = JobRequest(**fields)  # type: ignore[arg-type]
    resume = None if request.resume_argv is None else tuple(request.resume_argv)
    request = request._replace(argv=tuple(request.argv), resume_argv=resume)
    check(request)
    return request


def check(request: JobRequest) -> None:
    """What holds on any host. Raises QueueError."""
    for what, argv, remedy in (
        ("the command", request.argv, "write it behind --, as in: deepseek-jobs submit -- python train.py"),
        (
            "--resume-with",
            request.resume_argv,
            "leave it out, or write how the job goes on, as in: 'python train.py --resume'",
        ),
    ):
        if argv is not None and (not argv or not argv[0]):
            raise QueueError(f"{what} is empty; {remedy}")
        for word in argv or ():
            require_text(what, word)
    for what, text in (
        ("the working folder", request.cwd),
        ("the log folder", request.log_dir),
        ("the family", request.family),
    ):
        require_text(what, text)
    for what, folder in (("the working folder", request.cwd), ("the log folder", request.log_dir or "/")):
        if not folder.startswith("/"):
            raise QueueError(f"{what} is an absolute path, not {folder!r:.200}")
    for name, value in request.environment.items():
        require_text("the environment", f"{name}={value}", any_bytes=True)
        if not name or "=" in name:
            raise QueueError(f"the environment has no variable named {name!r:.100}; a name is not empty and has no =")
    if request.name and (len(request.name) > MAX_NAME or not NAME.fullmatch(request.name)):
        raise QueueError(
            f"{request.name!r:.200} is no name of a run; take letters, digits and . _ - /, without a dot or slash at the start of a part"
        )
    if not 1 <= request.slots <= MAX_SLOTS:
        raise QueueError(f"a job needs at least one GPU or core slot, not {shortly(request.slots)}")
    if request.declared_mib is not None and not 0 < request.declared_mib <= MAX_MIB:
        raise QueueError(f"--memory is an amount such as 20GiB, not {shortly(request.declared_mib)}")
    if request.place not in PLACES:
        raise QueueError(f"a job runs at {' or '.join(PLACES)}, not at {request.place!r:.100}")


def require_text(what: str, text: str, *, any_bytes: bool = False) -> None:
    """Raises QueueError where no program can be given this; where it is shown, too, it is UTF-8."""
    if "\0" in text:
        raise QueueError(f"{what} has a NUL byte, which no program can be given")
    try:
        text.encode(errors="surrogateescape" if any_bytes else "strict")
    except UnicodeEncodeError:
        raise QueueError(
            f"{what} has bytes that are no UTF-8: {text!r:.200}; rename the file, or put them into a script"
        ) from None


def shortly(number: float) -> str:
    """A number may have as many digits as a question has room for."""
    return str(number) if -1e15 < number < 1e15 else "such a number"


def _shown(value: object) -> str:
    return shortly(value) if isinstance(value, int | float) else f"{value!r:.200}"


# The family of a job: what resembles it, so that its memory, activity and duration say something about this one.

VARIES = {  # options whose values differ between jobs that resemble each other
    "seed", "random-seed", "rng-seed", "lr", "learning-rate", "base-lr", "max-lr", "min-lr", "weight-decay", "wd", "momentum", "dropout",
    "run", "run-name", "run-id", "name", "exp", "exp-name", "experiment", "experiment-name", "tag", "job-name", "log-dir", "logdir",
    "output-dir", "out-dir", "save-dir", "resume",
}  # fmt: skip
MAX_CHARACTERS = 400
SHORT = re.compile(r"--?([A-Za-z][\w.-]*)(?:=(.*))?$", re.DOTALL)
HYDRA = re.compile(r"\+{0,2}([A-Za-z][\w.-]*)=(.*)$", re.DOTALL)


def family_of(request: JobRequest, uid: int | None = None) -> str:
    """`python train.py --lr 1e-3 --task gpt --seed 7`, of uid 1000 on 2 GPUs in /home/me -> `1000 x2 /home/me/train.py --task gpt`"""
    words = list(named_words(request.argv))
    script = next((place for place, word in enumerate(words) if word.endswith((".py", ".sh"))), None)
    head = words[:1] if script is None else [str((Path(request.cwd) / words[script]).resolve())]
    rest = words[1:] if script is None else words[script + 1 :]
    place = [] if script is not None else [request.cwd]
    return " ".join([str(os.getuid() if uid is None else uid), f"x{request.slots}", *place, *head, *rest])[
        :MAX_CHARACTERS
    ]


def named_words(argv: Sequence[str]) -> Iterator[str]:
    """Without what varies: `--lr 1e-3`, `--seed=7`, `optimizer.lr=0.1` of Hydra, an `env` before."""
    skip = False
    for place, word in enumerate(argv):
        if skip:
            skip = False
            continue
        found = SHORT.match(word) or HYDRA.match(word)
        if place and found and _varies(found[1]):
            following = argv[place + 1 : place + 2]
            skip = (
                found[2] is None and bool(following) and (not following[0].startswith("-") or _is_number(following[0]))
            )
            continue
        yield word


def _varies(name: str) -> bool:
    return name.rpartition(".")[2].replace("_", "-").lower() in VARIES


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


# From what a user writes to a request: words, sizes and folders are checked here, before the queue knows of them.

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
    request = JobRequest(
        argv=tuple(argv), cwd=str(cwd), family="", slots=gpus, high=priority == "high", shares=share, resume_argv=resume,
        declared_mib=None if memory is None else mib(memory), environment=environment_of(environment, env), name=name,
        log_dir=str(cwd / log_dir), place=place,
    )  # fmt: skip
    check(request)
    path = request.environment.get("PATH", os.defpath)
    for what, words in ((COMMAND, request.argv), ("--resume-with", request.resume_argv)):
        if words:
            require_command(words[0], cwd, path, what)
        if words and not force:
            require_no_shell(words, what, variables=is_text or what != COMMAND)
            require_script(words, cwd, what)
    return request._replace(family=family_of(request), log_dir=_log_folder(Path(request.log_dir)))


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


def _log_folder(folder: Path) -> str:
    """Made where it is not there. Raises QueueError where no run can be made in it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        writable = os.access(folder, os.W_OK | os.X_OK, effective_ids=True)
    except OSError as error:
        why = error.strerror if error.errno != errno.EEXIST else "it is no folder"
        raise QueueError(f"cannot write to the log folder {folder} ({why}); choose another with --log-dir") from None
    if not writable:
        raise QueueError(f"the log folder {folder} is read-only for this user; choose another with --log-dir")
    return str(folder.resolve())
