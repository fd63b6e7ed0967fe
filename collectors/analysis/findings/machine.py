"""What is wrong with the dashboard's own work on this machine."""

from __future__ import annotations

from collections.abc import Iterator

from ...process.activity import spoken
from .rule import Held
from .subjects import MachineSubject

TROUBLE_S = 60.0


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
