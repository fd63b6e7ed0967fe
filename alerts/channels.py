"""How a message leaves the machine: by webhook, ntfy, e-mail, Slack, or one of Apprise's services."""

from __future__ import annotations

import http.client
import json
import logging
import smtplib
import socket
import ssl
import urllib.error
import urllib.request
from base64 import b64encode
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import Any
from urllib.parse import urlsplit

from .config import MissingSecret, Receiver, resolved, secrets_of, web_address, without
from .messages import MAX_BODY, AlertMessage, NotDelivered, body, harmless, headline

# What channels share: the fields of a message, and the failure of a delivery.

TIMEOUT_S = 10.0
AGENT = "deepseek-dashboard"
WORDS = {"begin": "firing", "end": "resolved", "summary": "firing", "test": "test"}


def fields_of(message: AlertMessage) -> dict[str, Any]:
    """JSON, for programs: each text is as it was logged."""
    return {
        "id": message.id,
        "state": "unresolved" if message.unresolved else "resolved" if message.over else WORDS[message.phase],
        "text": body(message),
        "rule": message.rule,
        "title": message.title,
        "severity": message.severity,
        "sentences": list(message.sentences),
        "count": message.count,
        "run": message.runs[0] if len(message.runs) == 1 else None,
        "runs": list(message.runs),
        "ranks": list(message.ranks),
        "step": message.step,
        "time_s": message.time_s,
        "line": message.line or None,
        "gpu_hours": message.gpu_hours,
        "sparkline": message.sparkline or None,
        "sparkline_of": message.sparkline_of or None,
        "link": message.link or None,
        "findings": list(message.findings),
    }


log = logging.getLogger("collectors")


def send(receiver: Receiver, message: AlertMessage) -> None:
    """May take as long as its time-outs. Raises NotDelivered: a sentence without secrets."""
    try:
        values = resolved(receiver.values)
        match receiver.kind:
            case "webhook":
                send_webhook(values, message)
            case "ntfy":
                send_ntfy(values, message)
            case "email":
                send_mail(values, message)
            case "slack":
                send_slack(values, message)
            case "apprise":
                send_by_apprise(values, message)
            case "desktop":
                return  # pages read it where it was sent
    except MissingSecret as error:
        raise NotDelivered(str(error)) from None
    except NotDelivered as error:
        raise NotDelivered(without(str(error), secrets_of(receiver.values)), dead=error.dead) from None
    except Exception as error:  # a fault of ours with this message is one failed delivery
        log.warning("alerts: the delivery to %s failed (%s)", receiver.name, type(error).__name__)
        raise NotDelivered(f"it cannot be sent ({type(error).__name__})") from None


# POST a JSON document.

SAME = (307, 308)  # redirects that keep the method


def send_webhook(values: Mapping[str, str], message: AlertMessage) -> None:
    """Raises NotDelivered."""
    post(values["url"], fields_of(message), message.id, values.get("authorization", ""))


def post(url: str, document: Mapping[str, Any], id_: str, authorization: str = "") -> None:
    """A repetition has the same `Idempotency-Key`. Follows no redirect to another host. Raises NotDelivered."""
    if web_address(url) is None:
        raise NotDelivered("its url is no address such as https://example.org/hook")
    headers = {"Content-Type": "application/json", "User-Agent": AGENT, "Idempotency-Key": id_}
    if authorization:
        headers["Authorization"] = authorization
    try:
        request = urllib.request.Request(url, written(document), headers, method="POST")
        with urllib.request.build_opener(_SameHostRedirectHandler).open(request, timeout=TIMEOUT_S):
            pass  # its status is the answer, whatever becomes of the rest
    except urllib.error.HTTPError as error:
        with error:
            status = error.code
        raise NotDelivered(f"it answers {status}", dead=status >= 500 or status in (401, 403, 404, 408, 429)) from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise NotDelivered(_reason(error), dead=True) from None


def written(document: Mapping[str, Any]) -> bytes:
    """As it is sent: JSON of ASCII."""
    return json.dumps(document).encode()


class _SameHostRedirectHandler(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        before, after = urlsplit(req.full_url), urlsplit(newurl)
        if code not in SAME or (before.scheme, before.netloc) != (after.scheme, after.netloc):
            return None  # the answer is the redirect itself: not delivered
        return urllib.request.Request(newurl, req.data, dict(req.header_items()), method="POST")


def _reason(error: Exception) -> str:
    inner = getattr(error, "reason", error)
    if isinstance(inner, TimeoutError):
        return f"it did not answer within {TIMEOUT_S:g} s"
    if isinstance(inner, OSError) and inner.strerror:
        return f"it cannot be reached ({inner.strerror})"
    return f"it cannot be reached ({type(inner).__name__})"


# Publish to a topic of ntfy, as JSON (docs.ntfy.sh/publish: Publish as JSON).

URL = "https://ntfy.sh"
MAX_MESSAGE, MAX_DOCUMENT = (
    4000,
    8000,
)  # bytes: of more than 4,096 ntfy makes an attachment, more than 8,192 it refuses
LESS = 0.8
TAGS = {"begin": "rotating_light", "end": "white_check_mark", "summary": "rotating_light", "test": "wave"}


def send_ntfy(values: Mapping[str, str], message: AlertMessage) -> None:
    """In plain text: no header carries a word of it. Of a repetition ntfy shows one, by `sequence_id`. Raises NotDelivered."""
    document = {
        "id": message.id,
        "sequence_id": message.id,
        "topic": values["topic"],
        "title": headline(message),
        "message": "",
        "priority": 4 if message.severity == "alert" and message.phase == "begin" and not message.over else 3,
        "tags": [TAGS["end" if message.over else message.phase]],
    }
    if message.link and len(message.link) <= MAX_MESSAGE // 4:
        document["click"] = message.link
    most = MAX_BODY
    while (
        len((text := body(message, most=most)).encode()) > MAX_MESSAGE
        or len(written(document | {"message": text})) > MAX_DOCUMENT
    ):
        most = int(LESS * most)
    document["message"] = text
    token = values.get("token", "")
    post(values.get("url") or URL, document, message.id, f"Bearer {token}" if token else "")


# Post to an incoming webhook of Slack; Mattermost takes the same.


def send_slack(values: Mapping[str, str], message: AlertMessage) -> None:
    """As plain text: nothing in it is markup, a mention or a link of Slack's. Raises NotDelivered."""
    document = {"text": f"{harmless(headline(message))}\n{body(message, chat=True)}", "mrkdwn": False}
    post(values["url"], document, message.id)


# Send an e-mail by SMTP.

AUTHENTICATED = 235  # RFC 4954
MAX_PARTLY = 256  # messages that only some of their addresses have got
PORTS = {"starttls": 587, "ssl": 465, "none": 25}

_partly: OrderedDict[tuple[str, str], frozenset[str]] = (
    OrderedDict()
)  # by the addresses and the message, those that have it


def send_mail(values: Mapping[str, str], message: AlertMessage) -> None:
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
    if len(_partly) > MAX_PARTLY:
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


# Slack, Feishu, DingTalk, Teams, Discord and the rest, by the library Apprise.

MIN_ROOM = 80  # characters, however few a service takes


def send_by_apprise(values: Mapping[str, str], message: AlertMessage) -> None:
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
        min([MAX_BODY, *(service.body_maxlen for service in sender)]) - len(title) - len(message.id) - len("\n\nid: ")
    )
    text = f"{body(message, chat=True, most=max(MIN_ROOM, room))}\nid: {message.id}"
    try:
        taken = sender.notify(text, title=title, body_format=apprise.NotifyFormat.TEXT)
    except Exception as error:  # a fault of a plugin is one failed delivery
        raise NotDelivered(f"Apprise failed ({type(error).__name__})") from None
    if not taken:
        raise NotDelivered("the service did not take it", dead=True)
