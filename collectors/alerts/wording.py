"""The words of a message: clean in every channel, since they come from runs, logs and users."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Sequence
from urllib.parse import urlsplit

from ..redaction import redacted
from .message import AlertMessage
from .model import Receiver
from .secret import is_reference

MOST_SENTENCE, MOST_SENTENCES, MOST_RUN, MOST_BODY = 400, 10, 200, 4000
BLOCKS = "▁▂▃▄▅▆▇█"
GAP = "·"
ODD = {
    "Cc",
    "Cf",
    "Cs",
    "Co",
    "Cn",
    "Zl",
    "Zp",
}  # categories of Unicode: control, format, surrogate, private, unassigned, line ends
LOOK_ALIKES = str.maketrans(
    {
        "<": "‹",
        ">": "›",
        "@": "＠",
        "[": "［",
        "]": "］",
        "`": "ʼ",
        "*": "∗",
        "~": "∼",
        "|": "¦",
        "\\": "＼",
        "&": "＆",
        "#": "＃",
        "!": "！",
    }
)
SPACES = re.compile(r"\s+")


def clean(text: str, most: int = MOST_SENTENCE) -> str:
    """One line: whatever is no plain character becomes U+FFFD, what looks like a secret is left out, a long text is cut."""
    text = SPACES.sub(" ", text[: 4 * most])
    plain = "".join("\ufffd" if unicodedata.category(character) in ODD else character for character in text).strip()
    plain = redacted(plain)
    return plain if len(plain) <= most else plain[: most - 1] + "…"


def sparkline(values: Sequence[float]) -> str:
    """`[1, 2, 3] -> "▁▄█"`; what is not finite is a gap; "" where nothing is finite."""
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return ""
    least, most = min(finite), max(finite)
    width = most - least
    if not width or not math.isfinite(width):
        return "".join(BLOCKS[3] if math.isfinite(value) else GAP for value in values)
    top = len(BLOCKS) - 1
    return "".join(BLOCKS[round(top * (value - least) / width)] if math.isfinite(value) else GAP for value in values)


def headline(message: AlertMessage) -> str:
    """One line: what it is about, and of which run."""
    head = {"end": "Run ended: " if message.unresolved else "Over: ", "test": "", "summary": "", "begin": ""}[
        message.phase
    ] + message.title
    if len(message.runs) == 1:
        return clean(f"{head} - {message.runs[0]}", MOST_RUN)
    return clean(f"{head} - {len(message.runs)} runs" if message.runs else head, MOST_RUN)


def body(message: AlertMessage, *, chat: bool = False, most: int = MOST_BODY) -> str:
    """A few lines of plain text, the sentence first, the link last; for a chat without what is markup there.

    At most `most` characters: the text is cut, a link that is longer than half of it is left out.
    """
    text, link = "\n".join(filter(None, _lines(message))), message.link if len(message.link) <= most // 2 else ""
    room = most - len(link) - 1
    text = text if len(text) <= room else f"{text[: room - 1]}…"
    return "\n".join(filter(None, [harmless(text) if chat else text, link]))


def _lines(message: AlertMessage) -> list[str]:
    left = message.count - len(message.sentences)
    return [
        *message.sentences,
        f"... and {left:,} more" if left > 0 else "",
        f"Run: {message.runs[0]}" if len(message.runs) == 1 else "",
        f"Step: {message.step:,}" if message.step is not None else "",
        f"Ranks: {', '.join(map(str, message.ranks))}" if len(message.ranks) > 1 else "",
        f"Line: {message.line}" if message.line else "",
        f"GPU-hours lost: {message.gpu_hours:.3g}" if message.gpu_hours else "",
        f"{message.sparkline_of}: {message.sparkline}" if message.sparkline else "",
    ]


def harmless(text: str) -> str:
    """Where Markdown, HTML or a chat's own markup may be read: no tag, mention, link or emphasis is left in it."""
    return text.translate(LOOK_ALIKES)


def shown_target(receiver: Receiver) -> str:
    """What may be shown of its address: of a URL the host, never its path, which may be a secret."""
    values = receiver.values
    match receiver.kind:
        case "desktop":
            return "this browser"
        case "email":
            return f"{values.get('to', '')} by {values.get('server', '')}"
        case "ntfy":
            return f"{_host(values.get('url', 'https://ntfy.sh'))}, {_given(values.get('topic', ''))}"
        case _:
            return _host(values.get("url", ""))


def _given(text: str) -> str:
    return text if is_reference(text) else "a topic of its own"


def _host(text: str) -> str:
    if is_reference(text):
        return text
    address = urlsplit(text)
    return f"{address.scheme}://{address.netloc.rpartition('@')[2]}" if address.scheme else ""
