"""What a script says itself: `log.alert("...")`."""

from __future__ import annotations

from collections.abc import Iterator

from .rule import Held
from .subjects import RunSubject

FRESH_S = 3600.0  # what was said longer ago is no news
MOST_TEXT = 400


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
