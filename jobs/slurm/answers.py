"""Read the JSON of `squeue` and `scontrol`, as Slurm 21.08 to 25.11 print it: one `SlurmJob` a job.

Numbers are plain, or `{"set": true, "infinite": false, "number": 7}`; the state is a word or a list of words; exit codes have three forms.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, TypeAlias

from .programs import SlurmError
from .reasons import of_end, of_waiting

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
MOST_CHARACTERS = 1000  # of a text: a list of nodes, a path
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
    return "".join(filter(str.isprintable, value[:MOST_CHARACTERS])) if isinstance(value, str) else ""


def words(value: object) -> frozenset[str]:
    """`"RUNNING" -> {"RUNNING"}`, `["PENDING", "REQUEUED"] -> {"PENDING", "REQUEUED"}`"""
    found = value if isinstance(value, list) else [value]
    return frozenset(word(each).upper() for each in found[:64] if isinstance(each, str))
