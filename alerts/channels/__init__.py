"""How a message leaves the machine: a file a kind of receiver, imported when such a receiver gets its first message."""

from __future__ import annotations

import logging

from ..config import NoSecret, Receiver, resolved, secrets_of, without
from ..messages import AlertMessage
from .sent import NotDelivered

log = logging.getLogger("collectors")


def send(receiver: Receiver, message: AlertMessage) -> None:
    """May take as long as its time-outs. Raises NotDelivered: a sentence without secrets."""
    try:
        values = resolved(receiver.values)
        match receiver.kind:
            case "webhook":
                from . import webhook

                webhook.send(values, message)
            case "ntfy":
                from . import ntfy

                ntfy.send(values, message)
            case "email":
                from . import mail

                mail.send(values, message)
            case "apprise":
                from . import library

                library.send(values, message)
            case "desktop":
                return  # pages read it where it was sent
    except NoSecret as error:
        raise NotDelivered(str(error)) from None
    except NotDelivered as error:
        raise NotDelivered(without(str(error), secrets_of(receiver.values)), dead=error.dead) from None
    except Exception as error:  # a fault of ours with this message is one failed delivery
        log.warning("alerts: the delivery to %s failed (%s)", receiver.name, type(error).__name__)
        raise NotDelivered(f"it cannot be sent ({type(error).__name__})") from None
