"""The words of a message: clean in every channel, since they come from runs, logs and users."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Sequence
from urllib.parse import urlsplit

from ..redaction import redacted
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
