"""Publish to a topic of ntfy, as JSON (docs.ntfy.sh/publish: Publish as JSON)."""

from __future__ import annotations

from collections.abc import Mapping

from ..messages import MOST_BODY, AlertMessage, body, headline
from .webhook import post, written

URL = "https://ntfy.sh"
MOST_MESSAGE, MOST_DOCUMENT = (
    4000,
    8000,
)  # bytes: of more than 4,096 ntfy makes an attachment, more than 8,192 it refuses
LESS = 0.8
TAGS = {"begin": "rotating_light", "end": "white_check_mark", "summary": "rotating_light", "test": "wave"}


def send(values: Mapping[str, str], message: AlertMessage) -> None:
    """In plain text: no header carries a word of it. Of a repetition ntfy shows one, by `sequence_id`. Raises NotDelivered."""
    document = {
        "id": message.id,
        "sequence_id": message.id,
        "topic": values["topic"],
        "title": headline(message),
        "message": "",
        "priority": 4 if message.severity == "alert" and message.phase == "begin" else 3,
        "tags": [TAGS[message.phase]],
    }
    if message.link and len(message.link) <= MOST_MESSAGE // 4:
        document["click"] = message.link
    most = MOST_BODY
    while (
        len((text := body(message, most=most)).encode()) > MOST_MESSAGE
        or len(written(document | {"message": text})) > MOST_DOCUMENT
    ):
        most = int(LESS * most)
    document["message"] = text
    token = values.get("token", "")
    post(values.get("url") or URL, document, message.id, f"Bearer {token}" if token else "")
