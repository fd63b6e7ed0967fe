"""Why a process may not be read, in one sentence, and what on this host allows it."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

from ..processes import PROC
from . import Trouble

CAP_SYS_PTRACE = 1 << 19
NEVER = 3  # Yama's ptrace_scope that only a reboot lowers
CONTAINER_MARKS = ("/.dockerenv", "/run/.containerenv")


def missing(sampler: str) -> Trouble:
    return Trouble(f"{sampler} is not installed beside the dashboard.", f"pip install {sampler}")


def trouble(pid: int, sampler: str, said: str, proc: Path = PROC) -> Trouble | None:
    """What a failed sampler's words mean; None where the process has ended meanwhile."""
    try:
        return _unreadable(pid, sampler, proc) if _is_refusal(said) else _unknown(pid, sampler, said)
    except FileNotFoundError:
        return None


def _is_refusal(said: str) -> bool:
    """py-spy says `Permission denied (os error 13)`, `Operation not permitted (os error 1)`, `Permission Denied: Try ...`."""
    return "permission denied" in said.lower() or "not permitted" in said.lower()


def _unreadable(pid: int, sampler: str, proc: Path = PROC) -> Trouble:
    """The kernel forbids it; find out by which rule, the likeliest first."""
    who = f"{sampler} may not read process {pid}"
    owner = (proc / str(pid)).stat().st_uid
    if os.geteuid() not in (0, owner):
        user = _user(owner)
        return Trouble(f"{who}: it belongs to user {user}.", f"run the dashboard as {user}")
    scope, capable = _ptrace_scope(proc), _may_ptrace(proc)
    if scope == NEVER or (scope and not capable):
        remedy = (
            "set kernel.yama.ptrace_scope = 0 in /etc/sysctl.d and reboot"
            if scope == NEVER
            else "sudo sysctl kernel.yama.ptrace_scope=0"
        )
        return Trouble(f"{who}: the kernel forbids it (ptrace_scope is {scope}).", remedy)
    if not capable and _in_container(proc):
        return Trouble(f"{who}: this container lacks the capability SYS_PTRACE.", "docker run --cap-add=SYS_PTRACE ...")
    return Trouble(
        f"{who}: the kernel forbids it.", f'sudo env "PATH=$PATH" deepseek-dashboard, or check: grep Cap /proc/{pid}/status'
    )


def _unknown(pid: int, sampler: str, said: str) -> Trouble:
    """Anything else, in the sampler's own words."""
    if "python version" in said.lower():
        return Trouble(f"{sampler} finds no Python that it knows in process {pid}.", "")
    return Trouble(f"{sampler} cannot sample process {pid}: {said}.", "")


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:  # a user of another container
        return str(uid)


def _ptrace_scope(proc: Path) -> int:
    try:
        return int((proc / "sys/kernel/yama/ptrace_scope").read_text())
    except FileNotFoundError:  # a kernel without Yama
        return 0


def _may_ptrace(proc: Path) -> bool:
    status = (proc / "self/status").read_text()
    return bool(int(status.split("CapEff:", 1)[1].split(maxsplit=1)[0], 16) & CAP_SYS_PTRACE)


def _in_container(proc: Path) -> bool:
    if any(Path(mark).exists() for mark in CONTAINER_MARKS):
        return True
    words = (proc / "self/cgroup").read_text() + (proc / "1/cgroup").read_text()
    return any(word in words for word in ("docker", "kubepods", "containerd", "lxc", "libpod"))
