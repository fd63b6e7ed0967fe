"""Publish to a topic of ntfy, as JSON (docs.ntfy.sh/publish: Publish as JSON)."""

from __future__ import annotations

from collections.abc import Mapping

from ..message import AlertMessage
from ..wording import body, headline
from .webhook import post

URL = "https://ntfy.sh"
TAGS = {"begin": "rotating_light", "end": "white_check_mark", "summary": "rotating_light", "test": "wave"}


def send(values: Mapping[str, str], message: AlertMessage) -> None:
    """In plain text: no header carries a word of it. Of a repetition ntfy shows one, by `sequence_id`. Raises NotDelivered."""
    document = {
        "id": message.id,
        "sequence_id": message.id,
        "topic": values["topic"],
        "title": headline(message),
        "message": body(message),
        "priority": 4 if message.severity == "alert" and message.phase == "begin" else 3,
        "tags": [TAGS[message.phase]],
    }
    if message.link:
        document["click"] = message.link
    token = values.get("token", "")
    post(values.get("url") or URL, document, message.id, f"Bearer {token}" if token else "")
