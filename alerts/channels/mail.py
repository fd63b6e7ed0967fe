"""Send an e-mail by SMTP."""

from __future__ import annotations

import smtplib
import socket
import ssl
from base64 import b64encode
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime

from ..messages import AlertMessage, body, headline
from .sent import TIMEOUT_S, NotDelivered

AUTHENTICATED = 235  # RFC 4954
MOST_PARTLY = 256  # messages that only some of their addresses have got
PORTS = {"starttls": 587, "ssl": 465, "none": 25}

_partly: OrderedDict[tuple[str, str], frozenset[str]] = (
    OrderedDict()
)  # by the addresses and the message, those that have it


def send(values: Mapping[str, str], message: AlertMessage) -> None:
    """A repetition has the same `Message-ID`, and goes to the addresses alone that were refused. Raises NotDelivered."""
    security = values.get("security", "starttls")
    host, port = _host_of(values["server"], PORTS[security])
    try:
        server = _connected(host, port, security)
        try:
            if values.get("user"):
                _log_in(server, values["user"], values["password"])
            _send_to_all(server, values, message)
        finally:
            with suppress(smtplib.SMTPException, OSError):  # what was taken is taken, however it says good-bye
                server.quit()
            server.close()
    except smtplib.SMTPResponseException as error:
        raise NotDelivered(f"the mail server answers {error.smtp_code}", dead=True) from None
    except smtplib.SMTPRecipientsRefused:
        raise NotDelivered("the mail server takes no mail for this address") from None
    except (smtplib.SMTPException, OSError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
        raise NotDelivered(f"the mail server cannot be reached ({why})", dead=True) from None
    except (ValueError, UnicodeError) as error:
        raise NotDelivered(f"the mail cannot be written ({type(error).__name__})") from None


def _send_to_all(server: smtplib.SMTP, values: Mapping[str, str], message: AlertMessage) -> None:
    key, addresses = (values["to"], message.id), [word.strip() for word in values["to"].split(", ")]
    wanted = [address for address in addresses if address not in _partly.get(key, ())]
    refused = server.send_message(mail_of(values, message), to_addrs=wanted)
    _partly.pop(key, None)
    if not refused:
        return
    _partly[key] = frozenset(addresses) - frozenset(refused)
    if len(_partly) > MOST_PARTLY:
        _partly.popitem(last=False)
    raise NotDelivered(
        f"the mail server takes no mail for {len(refused)} of {len(addresses)} addresses; the others have it"
    )


def mail_of(values: Mapping[str, str], message: AlertMessage) -> EmailMessage:
    """Plain text of UTF-8; every header is one line. Raises ValueError for an address that is none."""
    mail = EmailMessage(policy=SMTP)
    sender = values.get("from") or (values.get("user", "") if "@" in values.get("user", "") else "")
    mail["From"] = (
        _address(sender)
        if sender
        else Address("DeepSeek Dashboard", "deepseek-dashboard", socket.getfqdn() or "localhost")
    )
    mail["To"] = [_address(word) for word in values["to"].split(", ")]
    mail["Subject"] = headline(message).replace(
        "=?", "＝?"
    )  # else a reader decodes it as an encoded word, line ends and all
    mail["Date"] = format_datetime(datetime.fromtimestamp(message.created_s, UTC))
    mail["Message-ID"] = f"<{message.id}@deepseek-dashboard>"
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(body(message))
    return mail


def _connected(host: str, port: int, security: str) -> smtplib.SMTP:
    if security == "ssl":
        return smtplib.SMTP_SSL(host, port, timeout=TIMEOUT_S, context=ssl.create_default_context())
    server = smtplib.SMTP(host, port, timeout=TIMEOUT_S)
    try:
        if security == "starttls":
            server.starttls(context=ssl.create_default_context())
    except BaseException:
        server.close()
        raise
    return server


def _log_in(server: smtplib.SMTP, user: str, password: str) -> None:
    """smtplib writes ASCII alone."""
    if (user + password).isascii():
        server.login(user, password)
        return
    code, answer = server.docmd("AUTH", "PLAIN " + b64encode(f"\0{user}\0{password}".encode()).decode())
    if code != AUTHENTICATED:
        raise smtplib.SMTPAuthenticationError(code, answer)


def _host_of(text: str, default: int) -> tuple[str, int]:
    """`smtp.example.org:587`, `[::1]:25`"""
    host, colon, port = text.rpartition(":") if not text.endswith("]") else (text, "", "")
    return ((host or text).strip("[]"), int(port) if colon and port.isdecimal() else default)


def _address(text: str) -> Address:
    name, _, domain = text.strip().rpartition("@")
    return Address("DeepSeek Dashboard" if not name else "", name, domain)
