"""Slack, Feishu, DingTalk, Teams, Discord and the rest, by the library Apprise."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from ..messages import MOST_BODY, AlertMessage, body, harmless, headline
from .sent import AGENT, NotDelivered

LEAST_ROOM = 80  # characters, however few a service takes


def send(values: Mapping[str, str], message: AlertMessage) -> None:
    """As plain text without what a service would take for a mention, a link or markup, as long as the service takes. Raises NotDelivered."""
    try:
        import apprise  # for those alone who name such a receiver: it is large
    except ImportError:
        raise NotDelivered("the library Apprise is not installed: pip install apprise", dead=True) from None

    logging.getLogger("apprise").setLevel(logging.CRITICAL)  # what it logs has the address, and with it the secret
    asset = apprise.AppriseAsset(app_id=AGENT, app_desc=AGENT, plugin_paths=[])
    sender, title = apprise.Apprise(asset=asset), harmless(headline(message))
    if not sender.add(values["url"]):
        raise NotDelivered("Apprise does not know this address; see docs/alerts.md")
    room = (
        min([MOST_BODY, *(service.body_maxlen for service in sender)]) - len(title) - len(message.id) - len("\n\nid: ")
    )
    text = f"{body(message, chat=True, most=max(LEAST_ROOM, room))}\nid: {message.id}"
    try:
        taken = sender.notify(text, title=title, body_format=apprise.NotifyFormat.TEXT)
    except Exception as error:  # a fault of a plugin is one failed delivery
        raise NotDelivered(f"Apprise failed ({type(error).__name__})") from None
    if not taken:
        raise NotDelivered("the service did not take it", dead=True)
