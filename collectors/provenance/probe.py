"""Look at one process and print what ran as JSON: `python -m collectors.provenance.probe 4127`.

A process of its own, with the rights of the process's user, at the lowest priority: a file system that hangs, a hostile repository or an
odd library folder costs only this look. Standard library only.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from pathlib import Path
from typing import Any

from ..process.proc import PROC, command_of, environment_of, folder_of, printable, runs_python
from ..redaction import LEFT_OUT, is_secret, redacted, without_secrets
from . import git
from .arguments import config_of
from .versions import driver_version, versions_of

ALLOWED = ("CUDA_", "NCCL_", "TORCH_", "SLURM_")  # variables that begin so
MOST_ARGUMENTS = 16_000  # characters of all of them
MOST_VARIABLES, MOST_VALUE = 200, 500  # of variables: how many, and characters of each
MOST_PATH = 50  # entries of PATH
LIMITS = {resource.RLIMIT_CPU: 10, resource.RLIMIT_AS: 8 << 30, resource.RLIMIT_FSIZE: 8 << 20, resource.RLIMIT_CORE: 0}


def main() -> int:
    pid = int(sys.argv[1])
    os.nice(19)
    for limit, most in LIMITS.items():
        resource.setrlimit(limit, (most, most))
    become_user_of(pid)
    sys.stdout.write(json.dumps(found_of(pid)))
    return 0


def become_user_of(pid: int, proc: Path = PROC) -> None:
    """Give up root's rights for good where the process is another user's; its files are then read as that user."""
    if os.geteuid() != 0:
        return
    rows = dict(line.split(":", 1) for line in (proc / str(pid) / "status").read_text().splitlines() if ":" in line)
    uid, gid = (int(rows[name].split()[1]) for name in ("Uid", "Gid"))
    if uid:
        os.setgroups([int(group) for group in rows["Groups"].split()])
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)


def found_of(pid: int, proc: Path = PROC) -> dict[str, Any]:
    """All that is known of it, without secrets; what is not known is absent."""
    words = without_secrets(command_of(pid, proc))
    environment = environment_of(pid, proc)
    root, folder = root_of(pid, proc), folder_of(pid, proc)
    interpreters = interpreters_of(words, folder, environment) if runs_python(pid, proc) else []
    versions = versions_of(pid, interpreters, environment, root, proc)
    state = git.look(Path(f"{root}{folder}"), root) if folder else None
    found: dict[str, Any] = {
        "argv": bounded(words),
        "cwd": printable(folder),
        "config": config_of(words),
        "environment": variables_of(environment),
        "python": versions.python,
        "torch": versions.libraries.get("torch"),
        "cuda": versions.cuda,
        "nccl": versions.nccl,
        "driver": driver_version(proc),
        "versions": dict(versions.libraries),
    }
    if state is not None:
        found |= {
            "git_commit": state.commit,
            "git_branch": state.branch,
            "git_dirty": state.dirty,
            "git_note": state.note,
        }
        found["diff"] = state.diff
    return {name: value for name, value in found.items() if value not in (None, "", {}, [])}


def interpreters_of(words: list[str], folder: str, environment: dict[str, str]) -> list[str]:
    """Where the first word of a command line may lie, as paths: Python finds its packages by it, without following links."""
    first = words[0] if words else ""
    if "/" in first:
        return [os.path.normpath(first if first.startswith("/") else f"{folder}/{first}")]
    return [
        f"{entry}/{first}"
        for entry in environment.get("PATH", "").split(":")[:MOST_PATH]
        if first and entry.startswith("/")
    ]


def root_of(pid: int, proc: Path = PROC) -> str:
    """What is put before the paths of a process that has another view of the file system, as in a container."""
    try:
        same = (proc / str(pid) / "ns/mnt").stat().st_ino == (proc / "self/ns/mnt").stat().st_ino
        own_root = (proc / str(pid) / "root").readlink() == (proc / "self/root").readlink()
    except OSError:
        return ""
    return "" if same and own_root else f"{proc}/{pid}/root"


def variables_of(environment: dict[str, str]) -> dict[str, str]:
    """Of the allowed ones, those that are no secrets by their name or their value."""
    allowed = [name for name in sorted(environment) if name.startswith(ALLOWED) and not is_secret(name)]
    kept = {name: redacted(environment[name])[:MOST_VALUE] for name in allowed[:MOST_VARIABLES]}
    return {printable(name): printable(value) for name, value in kept.items() if LEFT_OUT not in value}


def bounded(words: list[str]) -> list[str]:
    """The first ones, then `...`."""
    kept: list[str] = []
    length = 0
    for word in words:
        length += len(word) + 1
        if length > MOST_ARGUMENTS:
            return [*kept, "..."]
        kept.append(word)
    return kept


if __name__ == "__main__":
    sys.exit(main())
