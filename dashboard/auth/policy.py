"""The headers that keep an answer from being framed, guessed at, kept, or joined by scripts of others."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable

from starlette.types import Message, Send

from .hosts import FOR_PROGRAMS, RawHeaders

CSP = b"content-security-policy"
FILES = (
    "/assets/",
    "/_dash-component-suites/",
)  # a hundred for a page: what counts for documents would be 40 kB of them
NOT_KEPT = (b"cache-control", b"no-store")
NOT_EMBEDDED = (
    b"cross-origin-resource-policy",
    b"same-origin",
)  # by pages of other ports, to which browsers without Sec-Fetch give cookies
FIXED = ((b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"same-origin"))


def policy_of(script_hashes: Iterable[str] = ()) -> str:
    """Of a page: scripts are files of ours, and the inline ones with these hashes; none is made from text. Styles may be inline."""
    return "; ".join(
        [
            "default-src 'self'",
            " ".join(["script-src 'self'", *script_hashes]),
            "style-src 'self' 'unsafe-inline'",
            "img-src 'self' data: blob:",
            "media-src 'self' blob:",
            "font-src 'self' data:",
            "form-action 'self'",
        ]
    )


def script_hash(script: str) -> str:
    """`'sha256-...'` of the text between the tags of an inline script."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


class Policy:
    """Sets them on each answer; a route that sets a policy of its own keeps it, and gets what holds for all besides."""

    def __init__(self, frame_ancestors: Iterable[str] = ()) -> None:
        framed = " ".join(frame_ancestors) or "'none'"
        self._rest = f"frame-ancestors {framed}; object-src 'none'; base-uri 'self'".encode()
        self._usual = policy_of().encode() + b"; " + self._rest

    def headers(self, path: str, given: RawHeaders) -> RawHeaders:
        if path.startswith(FILES):
            return [*given, FIXED[0]]
        own = next((value for name, value in given if name == CSP), b"")
        kept = [(name, value) for name, value in given if name != CSP] if own else given
        is_data = path.startswith(FOR_PROGRAMS)
        policy = own + b"; " + self._rest if own else self._usual
        return [*kept, *FIXED, (CSP, policy), *((NOT_KEPT, NOT_EMBEDDED) if is_data else ())]

    def sending(self, path: str, send: Send) -> Send:
        async def send_more(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": self.headers(path, list(message.get("headers", ())))}
            await send(message)

        return send_more
