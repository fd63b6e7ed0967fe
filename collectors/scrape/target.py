"""What `--scrape [name=]URL` names."""

from __future__ import annotations

import argparse
import base64
import re
from typing import NamedTuple
from urllib.parse import SplitResult, unquote, urlsplit

from ..redaction import redacted

NAME = re.compile(r"[\w][\w.:-]{0,99}")
FORM = "--scrape takes [name=]URL, such as vllm=http://localhost:8000/metrics"


class ScrapeTarget(NamedTuple):
    run: str
    url: SplitResult
    authorization: str  # "" where the address has no user

    @property
    def shown(self) -> str:
        """The address without secrets."""
        return redacted(self.url._replace(netloc=self.url.netloc.rpartition("@")[2]).geturl())


def target_of(text: str) -> ScrapeTarget:
    """`"vllm=http://localhost:8000"` -> the run `vllm`, the address `http://localhost:8000/metrics`. Raises ValueError."""
    before, equals, after = text.partition("=")
    is_named = bool(equals) and "/" not in before
    address = after if is_named else text
    url = urlsplit(address)
    try:
        port = url.port
    except ValueError:
        raise ValueError(f"{FORM}; {address!r} has no such port") from None
    if (
        url.scheme not in ("http", "https")
        or not url.hostname
        or any(ord(sign) <= 32 or ord(sign) > 126 for sign in address)
    ):
        raise ValueError(f"{FORM}; {address!r} is no such address")
    run = before if is_named else f"{url.hostname}:{port}" if port else url.hostname
    if not NAME.fullmatch(run):
        raise ValueError(f"{FORM}; a name has letters, digits, and . : - _ only, and {run!r} others")
    user = url.netloc.rpartition("@")[0]
    authorization = f"Basic {base64.b64encode(unquote(user).encode()).decode()}" if user else ""
    return ScrapeTarget(
        run, url._replace(path=url.path if url.path not in ("", "/") else "/metrics", fragment=""), authorization
    )


def checked(text: str) -> str:
    """For a command line: the text itself. Raises ArgumentTypeError."""
    try:
        target_of(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text
