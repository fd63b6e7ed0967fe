"""Which findings leave the machine, and to whom (pure)."""

from __future__ import annotations

from ..records import Finding
from .model import OWN, AlertSettings, Receiver, is_of

FINISHED = "finished"  # good news: it is sent, and does not fire


def is_alert(settings: AlertSettings, found: Finding) -> bool:
    """By the first policy that is about it, else by its weight."""
    for policy in settings.policies:
        if (found.rule in policy.rules or "*" in policy.rules) and is_of(policy.runs, found.run):
            return policy.alerts
    return found.weight == "alert"


def receivers_of(settings: AlertSettings, found: Finding) -> list[Receiver]:
    """() where it does not alert."""
    return (
        []
        if not is_alert(settings, found)
        else [receiver for receiver in settings.receivers if _to(settings, found, receiver.name)]
    )


def _to(settings: AlertSettings, found: Finding, name: str) -> bool:
    if found.rule.startswith(OWN):
        rule = next((rule for rule in settings.rules if rule.rule == found.rule), None)
        if rule is not None and rule.to is not None:
            return name in rule.to
    for policy in settings.policies:
        if (found.rule in policy.rules or "*" in policy.rules) and is_of(policy.runs, found.run):
            return policy.to is None or name in policy.to
    return True


def fires(settings: AlertSettings, found: Finding, now_s: float, moment_s: float = 3600.0) -> bool:
    """It holds, or was a moment of the last hour."""
    if found.rule == FINISHED or not is_alert(settings, found):
        return False
    return not found.over or (found.from_s == found.to_s and now_s - found.from_s < moment_s)
