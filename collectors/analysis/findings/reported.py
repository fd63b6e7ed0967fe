"""What others report themselves: a script by `log.alert("...")`, a queue of jobs by its events, the parts of the collector by their health."""

from __future__ import annotations

from collections.abc import Iterator

from ...process.activity import spoken
from .rule import Held
from .subjects import MachineSubject, RunSubject

FRESH_S = 3600.0  # what was said longer ago is no news
MOST_TEXT = 400
STUCK_S = 600.0  # the queue says it every five minutes
MOVED = ("queued", "cancelled", "failed", "submitted", "requeued")  # what a job that was stuck goes on with
TROUBLE_S = 55.0  # and it is noticed, and looked at, within five more


def script_alert(subject: RunSubject) -> Iterator[Held]:
    """Each is a moment; of severity `note` it stands on the axis only."""
    for event in subject.of_kind("alert"):
        text = " ".join(event.text.split())[:MOST_TEXT]
        if text and subject.now_s - event.time_s <= FRESH_S:
            yield Held(
                f"The script says: {text}",
                event.time_s,
                event.time_s,
                key=f"{event.time_s:.6f} {event.rank} {text}",
                moment=True,
                rank=event.rank,
                step=event.step,
                weight="note" if event.fields.get("severity") == "note" else "alert",
            )


def queue_stuck(subject: RunSubject) -> Iterator[Held]:
    """Its job waits for what no end of another job gives, and the queue goes on saying so."""
    said = subject.of_kind("stuck")
    if not said or subject.now_s - said[-1].time_s > STUCK_S:
        return
    if any(event.time_s >= said[-1].time_s for event in subject.of_kind(*MOVED)):
        return
    why, since = " ".join(said[-1].text.split())[:MOST_TEXT].rstrip("."), said[-1].fields.get("since_s")
    since_s = float(since) if isinstance(since, int | float) and 0 < since < said[-1].time_s else said[-1].time_s
    sentence = f"Its job has waited for {spoken(subject.now_s - since_s)} for what no other job can free: {why}."
    yield Held(sentence, since_s, subject.now_s, key=f"{since_s:.0f}")


def collector_trouble(machine: MachineSubject) -> Iterator[Held]:
    """A part of the collector has not delivered for a minute: what it would see is missing from everything else."""
    for name, (since_s, why) in machine.trouble.items():
        if machine.now_s - since_s > TROUBLE_S:
            yield Held(
                f"The collector {name} has been in trouble for {spoken(machine.now_s - since_s)}: {why.rstrip('.') or 'it does not say why'}.",
                since_s,
                machine.now_s,
                key=name,
            )
