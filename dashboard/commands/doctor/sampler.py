"""May this user sample another process? The right is tried on a process of the same user, of which nothing is read."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

from collectors.process.proc import ancestors, uid_of
from collectors.sampler import refusal
from collectors.sampler.build import find_program
from collectors.sampler.pyspy import find_program as find_pyspy

from .place import CheckedHost, Fact, Symptom

MOST_TRIED = 16


def check(place: CheckedHost) -> Symptom:
    native, pyspy = find_program() is not None, find_pyspy() is not None
    facts = {
        "native": native,
        "py_spy": pyspy,
        "ptrace_scope": place.read("proc/sys/kernel/yama/ptrace_scope") or None,
        "root": os.geteuid() == 0,
        "capabilities": _status(place, "CapEff"),
        "seccomp": _status(place, "Seccomp"),
    }
    samplers = " and ".join(name for name, there in (("the native sampler", native), ("py-spy", pyspy)) if there)
    if not samplers:
        return Symptom(
            "warning", "no stack sampler is installed: there are no flame graphs.", "Type: pip install py-spy", facts
        )
    refused = None
    for pid in _others(place):
        try:
            os.close(os.open(place.proc / str(pid) / "mem", os.O_RDONLY | os.O_CLOEXEC))
        except PermissionError:
            refused = pid
        except OSError:
            continue
        else:
            return _allowed(samplers, native, facts)
    if refused is None:
        return _by_the_rules(samplers, native, facts)
    trouble = refusal.trouble(refused, "The sampler", "permission denied")
    if trouble is None:
        return _by_the_rules(samplers, native, facts)
    return Symptom("warning", f"{trouble.sentence} Flame graphs will be missing.", f"Type: {trouble.remedy}", facts)


def _others(place: CheckedHost) -> Iterator[int]:
    """Processes of this user above this one, which may not be read where only descendants may."""
    mine, tried = os.geteuid(), 0
    for pid in ancestors(os.getpid(), place.proc):
        if uid_of(pid, place.proc) == mine and tried < MOST_TRIED:
            tried += 1
            yield pid


def _allowed(samplers: str, native: bool, facts: Mapping[str, Fact]) -> Symptom:
    if native:
        return Symptom("ok", f"{samplers} may read the processes of this user.", "", facts)
    remedy = "Type: sudo apt-get install gcc libc6-dev, then: make setup (or install the dashboard again)"
    return Symptom(
        "warning",
        "only py-spy is there, which costs five times as much: the native sampler was not built.",
        remedy,
        facts,
    )


def _by_the_rules(samplers: str, native: bool, facts: Mapping[str, Fact]) -> Symptom:
    """No process to try it on: what the kernel's settings say."""
    capable = bool(int(str(facts["capabilities"] or "0"), 16) & refusal.CAP_SYS_PTRACE)
    scope = str(facts["ptrace_scope"] or "0")
    if scope == "0" or (capable and scope != str(refusal.SCOPE_OF_NONE)):
        return _allowed(samplers, native, facts)
    sentence = f"ptrace_scope is {scope}: only programs that the dashboard has started can be sampled."
    return Symptom("warning", sentence, f"Type: {refusal.LOWER_SCOPE}; or {refusal.START_BELOW}", facts)


def _status(place: CheckedHost, name: str) -> str | None:
    lines = place.read("proc/self/status").splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(f"{name}:")), None)
