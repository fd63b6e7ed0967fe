"""Slurm's reasons in words: why a job waits, how it ended."""

from __future__ import annotations

import signal
from contextlib import suppress

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
