"""What others report themselves: a script by `log.alert("...")`, the parts of the collector by their health."""

from __future__ import annotations

from collections.abc import Iterator

from ...process.activity import spoken
from .rule import Held
from .subjects import MachineSubject, RunSubject

FRESH_S = 3600.0  # what was said longer ago is no news
MOST_TEXT = 400
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
