"""What the queue's file has of jobs that another scheduler plans: attempts with a number there, and what that scheduler is still asked for.

Its number stands in the attempt as `pid`, how often it has started the job again as `start_ticks`, its name as `boot_id`.
"""

from __future__ import annotations

import json
from dataclasses import replace

from .planning.job import Job, queued_again
from .queue_file import QueueFile
from .request import LOCAL

ASKED = "asked of job {}"  # of what is kept


class ElsewhereQueue(QueueFile):
    """The part of `JobQueue` that is about them."""

    def elsewhere(self) -> list[Job]:
        """Queued jobs that another scheduler is to place, and that it does not have."""
        return list(
            self._jobs(
                f"state = 'queued' AND place != '{LOCAL}' AND id NOT IN (SELECT job FROM attempt WHERE ended_s IS NULL)"
            )
        )

    def hand_over(self, job: int, reason: str, now_s: float) -> int:
        """The number of a new attempt, which another scheduler is about to get; the job stays queued."""
        with self._transaction():
            (number,) = self._db.execute(
                "SELECT coalesce(max(number), 0) + 1 FROM attempt WHERE job = ?", (job,)
            ).fetchone()
            self._db.execute(
                "INSERT INTO attempt (job, number, slots, intended_s) VALUES (?, ?, '[]', ?)", (job, number, now_s)
            )
            self._db.execute("UPDATE job SET reason = ? WHERE id = ?", (reason, job))
            return int(number)

    def numbered(self, job: int, number: int, scheduler: str) -> None:
        """Its open attempt is job `number` of that scheduler."""
        self._db.execute(
            "UPDATE attempt SET pid = ?, start_ticks = 0, boot_id = ? WHERE job = ? AND ended_s IS NULL AND pid IS NULL",
            (number, scheduler, job),
        )

    def restarted(self, job: int, restarts: int, said: str, now_s: float) -> None:
        """The other scheduler has taken it back into its queue for the `restarts`th time: another attempt, under the same number there."""
        with self._transaction():
            placed = self._job(job)
            number, there, name = self._db.execute(
                "SELECT number, pid, boot_id FROM attempt WHERE job = ? AND ended_s IS NULL", (job,)
            ).fetchone()
            self._db.execute(
                "UPDATE attempt SET ended_s = ?, why = 'requeued', said = ? WHERE job = ? AND number = ?",
                (now_s, said, job, number),
            )
            self._db.execute(
                "INSERT INTO attempt (job, number, slots, intended_s, pid, start_ticks, boot_id) VALUES (?, ?, '[]', ?, ?, ?, ?)",
                (job, number + 1, now_s, there, restarts, name),
            )
            if placed.state != "stopping":
                self._save(replace(queued_again(placed, now_s, placed.ran_s), stops=placed.stops + 1))

    def seen_elsewhere(
        self, job: int, state: str, reason: str, on: str, started_s: float | None, now_s: float
    ) -> float | None:
        """What the other scheduler says of it; the seconds that it has waited, where it has just started."""
        with self._transaction():
            was, before = self.state_of(job), self._job(job)
            if was == "stopping" or (self.asked(job) and state in ("queued", "held")):
                state = was
            waits, waited = state in ("queued", "held"), was in ("queued", "held")
            began_s = max(before.queued_s, started_s or now_s)
            after = replace(before, state=state, on=() if waits or not on else (on,))  # type: ignore[arg-type]
            if waits and was != state:
                after = replace(after, waited_s=before.waited(now_s), queued_s=now_s)
            elif waited and not waits:
                after = replace(after, waited_s=before.waited(began_s), started_s=began_s)
            self._save(after)
            self._db.execute("UPDATE job SET reason = ? WHERE id = ?", (reason, job))
            if state == "running":
                self._db.execute(
                    "UPDATE attempt SET slots = ? WHERE job = ? AND ended_s IS NULL", (json.dumps(after.on), job)
                )
                self.seen_started(job, began_s)
            return began_s - before.queued_s if waited and not waits else None

    def seen_started(self, job: int, started_s: float | None) -> None:
        """When its open attempt began, where that was not known."""
        self._db.execute(
            "UPDATE attempt SET started_s = ? WHERE job = ? AND ended_s IS NULL AND started_s IS NULL", (started_s, job)
        )

    def explain(self, job: int, reason: str) -> bool:
        """Whether that is new."""
        changed = self._db.execute("UPDATE job SET reason = ? WHERE id = ? AND reason != ?", (reason, job, reason))
        return changed.rowcount > 0

    def asked(self, job: int) -> str | None:
        """`hold` or `release`, where the other scheduler is still to do so."""
        row = self._db.execute("SELECT value FROM kept WHERE name = ?", (ASKED.format(job),)).fetchone()
        return str(row[0]) if row else None

    def was_done(self, job: int, wish: str) -> None:
        self._db.execute("DELETE FROM kept WHERE name = ? AND value = ?", (ASKED.format(job), wish))

    def _ask(self, job: int, wish: str) -> None:
        if self._is_elsewhere(job):
            self._db.execute("INSERT OR REPLACE INTO kept VALUES (?, ?)", (ASKED.format(job), wish))

    def _is_elsewhere(self, job: int) -> bool:
        """Whether another scheduler has it, or is about to."""
        found = self._db.execute(
            f"SELECT 1 FROM job JOIN attempt ON job = id WHERE id = ? AND place != '{LOCAL}' AND attempt.ended_s IS NULL",
            (job,),
        )
        return found.fetchone() is not None
