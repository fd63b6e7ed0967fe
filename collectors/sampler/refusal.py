"""Why a process may not be read, in one sentence, with this host's remedy."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from ..machine.proc import PROC, user_of
from . import Trouble

CAP_SYS_PTRACE = 1 << 19
SCOPE_OF_PARENTS, SCOPE_OF_NONE = 1, 3  # Yama's ptrace_scope: only ancestors and named processes; none until a reboot
SECCOMP_FILTER = "2"
LOWER_SCOPE = "sudo sysctl kernel.yama.ptrace_scope=0"
START_BELOW = "start it with: deepseek-dashboard run -- PROGRAM"
AS_ROOT = 'sudo env "PATH=$PATH" deepseek-dashboard --as-root'
GRANTS = {  # by kind of container: how it gets the capability
    "docker": "docker run --cap-add=SYS_PTRACE ...",
    "podman": "podman run --cap-add=SYS_PTRACE ...",
    "kubernetes": "securityContext: {capabilities: {add: [SYS_PTRACE]}}",
}
MARKS = {"/.dockerenv": "docker", "/run/.containerenv": "podman"}
GROUPS = {"kubepods": "kubernetes", "docker": "docker", "libpod": "podman", "containerd": "docker", "lxc": "docker"}


def missing(sampler: str) -> Trouble:
    return Trouble(f"{sampler} is not installed beside the dashboard.", f"pip install {sampler}")


def trouble(pid: int, sampler: str, said: str, proc: Path = PROC) -> Trouble | None:
    """The meaning of a failed sampler's message; None where the process has ended meanwhile."""
    try:
        owner = (proc / str(pid)).stat().st_uid
        return _unreadable(pid, owner, sampler, proc) if _is_refusal(said) else _unknown(pid, sampler, said)
    except (FileNotFoundError, ProcessLookupError):
        return None
    except (
        OSError,
        LookupError,
        ValueError,
    ) as error:  # the reason cannot be found here: too few descriptors, an unusual /proc
        return _unknown(pid, sampler, f"{said} ({error})")


def _is_refusal(said: str) -> bool:
    """py-spy says `Permission denied (os error 13)`, `Operation not permitted (os error 1)`, `Permission Denied: Try ...`."""
    return "permission denied" in said.lower() or "not permitted" in said.lower()


def _unreadable(pid: int, owner: int, sampler: str, proc: Path) -> Trouble:
    """Find the kernel's rule that forbids it, the likeliest first."""
    who = f"{sampler} may not read process {pid}"
    if os.geteuid() not in (0, owner):
        user = user_of(owner)
        return Trouble(f"{who}: it belongs to user {user}.", f"run the dashboard as {user}")
    ours = _status(proc / "self")
    capable, container = bool(int(ours["CapEff"], 16) & CAP_SYS_PTRACE), _container(proc)
    scope = _ptrace_scope(proc)
    if scope == SCOPE_OF_NONE or (scope and not capable):
        return Trouble(f"{who}: the kernel forbids it (ptrace_scope is {scope}).", _beyond_scope(scope, container))
    if container and not capable:
        return Trouble(f"{who}: this container lacks the capability SYS_PTRACE.", GRANTS[container])
    if os.geteuid() == 0 and not capable:
        return Trouble(f"{who}: root lacks the capability SYS_PTRACE here.", "start the dashboard with CAP_SYS_PTRACE")
    if container and ours.get("Seccomp") == SECCOMP_FILTER:
        return Trouble(
            f"{who}: a seccomp filter of this container forbids it.", "docker run --security-opt seccomp=unconfined ..."
        )
    if (
        not capable and (proc / str(pid) / "environ").stat().st_uid != owner
    ):  # its files belong to root, whichever user runs it
        return Trouble(f"{who}: it does not let itself be read (PR_SET_DUMPABLE).", AS_ROOT)
    return Trouble(f"{who}: the kernel forbids it.", f"{AS_ROOT}  # or see: grep Cap /proc/{pid}/status")


def _beyond_scope(scope: int, container: str) -> str:
    if scope == SCOPE_OF_NONE:
        return "set kernel.yama.ptrace_scope = 0 in /etc/sysctl.d and reboot"
    below = f", or {START_BELOW}" if scope == SCOPE_OF_PARENTS else ""
    if container:
        return f"{GRANTS[container]}  # or on the host: {LOWER_SCOPE}{below}"
    return f"{LOWER_SCOPE}  # {below.removeprefix(', ')}" if below else LOWER_SCOPE


def _unknown(pid: int, sampler: str, said: str) -> Trouble:
    """Any other failure, with the sampler's message."""
    if "python version" in said.lower():
        return Trouble(f"{sampler} finds no Python that it knows in process {pid}.", "")
    return Trouble(f"{sampler} cannot sample process {pid}: {said}.", "")


def _ptrace_scope(proc: Path) -> int:
    try:
        return int((proc / "sys/kernel/yama/ptrace_scope").read_text())
    except FileNotFoundError:  # a kernel without Yama
        return 0


def _status(process: Path) -> Mapping[str, str]:
    rows = (line.partition(":") for line in (process / "status").read_text().splitlines())
    return {name: value.strip() for name, _, value in rows}


def _container(proc: Path) -> str:
    """The kind of container that we run in, or ""."""
    if "KUBERNETES_SERVICE_HOST" in os.environ:
        return "kubernetes"
    marked = next((kind for mark, kind in MARKS.items() if Path(mark).exists()), "")
    words = (proc / "self/cgroup").read_text() + (proc / "1/cgroup").read_text()
    return marked or next((kind for word, kind in GROUPS.items() if word in words), "")
