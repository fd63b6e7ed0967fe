"""Secrets of receivers: never in alerts.yaml, but in a variable of the collector or a file of their own."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from ..redaction import LEFT_OUT, redacted
from ..small_file import bytes_of

ENV, FILE = "env:", "file:"
LEAST = 4  # characters of a secret that is looked for in texts
MOST_BYTES = 16 << 10
KEYS = re.compile(
    r"""(\b(?:password|token|authorization)["']?[ \t]*:[ \t]*)(?!["']?(?:env|file):)([^\s,}#][^,}\n#]*)"""
)
ADDRESSES = re.compile(r"""\b(?!env:|file:)([A-Za-z][A-Za-z0-9+.-]{0,40})://([^\s"',}]*)""")


class NoSecret(Exception):
    """The text says in one sentence what is missing."""


def is_reference(text: str) -> bool:
    return text.startswith((ENV, FILE)) and len(text) > len(FILE if text.startswith(FILE) else ENV)


def resolved(values: Mapping[str, str]) -> dict[str, str]:
    """With secrets in place of their references, read anew. Raises NoSecret."""
    return {key: _read(text) if is_reference(text) else text for key, text in values.items()}


def secrets_of(values: Mapping[str, str]) -> list[str]:
    """The secrets themselves, to be left out of texts; those that cannot be read are none."""
    found = []
    for text in filter(is_reference, values.values()):
        try:
            found.append(_read(text))
        except NoSecret:
            continue
    return found


def without(text: str, secrets: Iterable[str]) -> str:
    """A text with these secrets, and whatever looks like one, left out."""
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        for part in {secret, *secret.split()}:
            if len(part) >= LEAST:
                text = text.replace(part, LEFT_OUT)
    return redacted(text)


def shown_text(text: str, literals: Iterable[str] = ()) -> str:
    """alerts.yaml as pages show it: secrets that stand in it where they must not are left out, also where it cannot be read."""
    for literal in sorted(filter(None, literals), key=len, reverse=True):
        text = text.replace(literal, LEFT_OUT)
    text = KEYS.sub(lambda found: found[0] if LEFT_OUT in found[2] else f"{found[1]}{LEFT_OUT}", text)
    return ADDRESSES.sub(_shown_address, text)


def _shown_address(found: re.Match[str]) -> str:
    if found[1].lower() in ("http", "https") and is_plain(found[0]):
        return found[0]
    return found[0] if LEFT_OUT in found[0] else f"{found[1]}://{LEFT_OUT}"


def is_plain(address: str) -> bool:
    """Whether a web address has neither a user nor a secret in its query. Its path may be a key, as of a webhook: that may stand in alerts.yaml."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return False
    return "@" not in parts.netloc and redacted(f"?{parts.query}") == f"?{parts.query}"


def _read(reference: str) -> str:
    if reference.startswith(ENV):
        name = reference.removeprefix(ENV).strip()
        if not os.environ.get(name):
            raise NoSecret(f"the variable {name} is not set where the collector runs")
        return os.environ[name].strip()
    path = Path(reference.removeprefix(FILE).strip()).expanduser()
    try:
        text = bytes_of(path.resolve(strict=True), most=MOST_BYTES).decode("utf-8").strip()
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text file"
        raise NoSecret(f"the file {path} cannot be read ({why})") from None
    if not text:
        raise NoSecret(f"the file {path} is empty")
    return text
