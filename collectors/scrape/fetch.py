"""Read an endpoint once: bounded in bytes and time, whatever it answers."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from contextlib import suppress
from typing import NamedTuple
from urllib.parse import urljoin, urlsplit

from .target import ScrapeTarget

MOST_BYTES = 16 << 20
MOST_S = 10.0  # for a whole answer
MOST_REDIRECTS = 3
ACCEPT = (  # without allow-utf-8 the colon of `vllm:...` becomes an underscore in OpenMetrics
    "text/plain;version=0.0.4,application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5"
)
KINDS = ("application/openmetrics-text", "text/plain")


class Exposition(NamedTuple):
    text: str
    is_openmetrics: bool
    time_s: float  # when it began to arrive, Unix seconds
    mono_s: float  # the same, CLOCK_MONOTONIC


class NotScraped(Exception):
    """The text says why, as the end of a sentence that begins with the address."""


class Fetch(threading.Thread):
    """One look at an endpoint, in a thread of its own; `answer` or `trouble` once it has ended."""

    def __init__(self, target: ScrapeTarget, most_s: float = MOST_S) -> None:
        super().__init__(name=f"scrape-{target.run}", daemon=True)
        self.target, self.trouble = target, ""
        self.answer: Exposition | None = None
        self.until_s = time.monotonic() + most_s
        self._most_s = most_s
        self._connection: http.client.HTTPConnection | None = None
        self._cut = False

    def run(self) -> None:
        try:
            self.answer = self._fetch()
        except NotScraped as error:
            self.trouble = str(error)
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.trouble = f"cannot be read ({error or type(error).__name__})"
        finally:
            if self._connection:
                self._connection.close()
        if self._cut:
            self.answer, self.trouble = None, f"did not answer within {self._most_s:g} s"

    def cut(self) -> None:
        """End it: its time is over. From any thread."""
        self._cut = True
        connection = self._connection
        if connection is not None and connection.sock is not None:
            with suppress(OSError):
                connection.sock.shutdown(socket.SHUT_RDWR)

    def _fetch(self) -> Exposition:
        url, target = self.target.url, self.target
        for _ in range(MOST_REDIRECTS + 1):
            answer = self._ask(url.geturl(), target.authorization if url.netloc == target.url.netloc else "")
            if answer.status in (301, 302, 303, 307, 308):
                url = urlsplit(urljoin(url.geturl(), answer.getheader("location", "")))
                if url.scheme != target.url.scheme or not url.hostname:
                    raise NotScraped("leads to another kind of address, which is not followed")
                continue
            return self._read(answer)
        raise NotScraped(f"leads from address to address more than {MOST_REDIRECTS} times")

    def _ask(self, address: str, authorization: str) -> http.client.HTTPResponse:
        if self._connection:
            self._connection.close()
        url = urlsplit(address)
        kind = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
        self._connection = kind(url.hostname or "", url.port, timeout=self._left_s())
        headers = {"Accept": ACCEPT, "User-Agent": "deepseek-dashboard"} | (
            {"Authorization": authorization} if authorization else {}
        )
        path = (url.path or "/") + (f"?{url.query}" if url.query else "")
        self._connection.request("GET", path, headers=headers)
        return self._connection.getresponse()

    def _read(self, answer: http.client.HTTPResponse) -> Exposition:
        time_s, mono_s = time.time(), time.monotonic()
        kind = answer.getheader("content-type", "text/plain").partition(";")[0].strip().lower()
        if answer.status != 200:
            raise NotScraped(f"answers {answer.status}")
        if kind not in KINDS or answer.getheader("content-encoding", "identity") != "identity":
            raise NotScraped(f"answers {kind[:80]!r} where text in the format of Prometheus was asked for")
        parts, size = [], 0
        while part := answer.read1(1 << 16):
            parts.append(part)
            size += len(part)
            if size > MOST_BYTES:
                raise NotScraped(f"answers more than {MOST_BYTES >> 20} MiB")
            self._left_s()
        if answer.length:
            raise NotScraped("ends before its answer is complete")
        return Exposition(b"".join(parts).decode("utf-8", "replace"), kind == KINDS[0], time_s, mono_s)

    def _left_s(self) -> float:
        left_s = self.until_s - time.monotonic()
        if self._cut or left_s <= 0:
            raise NotScraped(f"did not answer within {self._most_s:g} s")
        return left_s
