"""One GET request to a dashboard: its JSON, or a sentence that says why there is none."""

from __future__ import annotations

import gzip
import http.client
import io
import json
import os
import time
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

MOST_BYTES = 256 << 20  # of an answer, unpacked
READ_BYTES = 1 << 20
MOST_TOKEN_BYTES = 4096
SHOWN = 200  # characters of what a stranger answers
API = "/api/v1"


class DashboardError(Exception):
    """The text is one sentence with the remedy, the API's own where it answered; `status` is that of the answer, or None."""

    def __init__(self, sentence: str, status: int | None = None) -> None:
        super().__init__(sentence)
        self.status = status


def token_of_environment() -> str | None:
    """Of DEEPSEEK_TOKEN, or the first line of the file that DEEPSEEK_TOKEN_FILE names. Raises DashboardError where that cannot be read."""
    if token := os.environ.get("DEEPSEEK_TOKEN"):
        return token
    if not (name := os.environ.get("DEEPSEEK_TOKEN_FILE")):
        return None
    try:
        with Path(name).open("rb") as file:
            return file.readline(MOST_TOKEN_BYTES).decode("ascii").strip() or None
    except (OSError, UnicodeError, ValueError):
        raise DashboardError(f"DEEPSEEK_TOKEN_FILE: {name} cannot be read; put the token into its first line") from None


class Asker:
    """Knows where a dashboard is; each question is a connection of its own, so that threads may share one."""

    def __init__(self, url: str, token: str | None = None, timeout_s: float = 40.0) -> None:
        """Raises DashboardError for what is no address."""
        try:
            parts = urlsplit(url)
            self._host, self._port = parts.hostname or "", parts.port
        except (ValueError, AttributeError):
            raise DashboardError(f"{url!r} is not an address; write it as in http://127.0.0.1:8080") from None
        if parts.scheme not in ("http", "https") or not self._host:
            raise DashboardError(f"{url!r} is not an address; write it as in http://127.0.0.1:8080")
        if token is not None and not (token.isascii() and token.isprintable() and token):
            raise DashboardError("the token is empty, or holds what is not printable ASCII; copy it again")
        host = f"[{self._host}]" if ":" in self._host else self._host
        self.url = f"{parts.scheme}://{host}{f':{self._port}' if self._port else ''}{parts.path.rstrip('/')}"
        self._path, self._is_tls = parts.path.rstrip("/"), parts.scheme == "https"
        self._token, self._timeout_s = token, timeout_s

    def get(self, route: str, parameters: Mapping[str, object] | None = None) -> Any:
        """What a route answers; lists repeat, None is left out. Raises DashboardError."""
        given = {name: value for name, value in (parameters or {}).items() if value is not None}
        try:
            query = urlencode(given, doseq=True)
        except UnicodeError:
            raise DashboardError("a name holds characters that no text has (lone surrogates); leave them out") from None
        status, body = self._fetch(f"{self._path}{route}{f'?{query}' if query else ''}")
        try:
            answer = json.loads(body)
        except ValueError:
            shown = body[:SHOWN].decode(errors="replace").partition("\n")[0]
            raise DashboardError(
                f"{self.url} is not a dashboard: it answers {status} {shown!r}; check the address", status
            ) from None
        if status != http.HTTPStatus.OK:
            sentence = answer.get("error") if isinstance(answer, dict) else None
            raise DashboardError(str(sentence or f"{self.url} answers {status}; check the address"), status)
        return answer

    def _fetch(self, path: str) -> tuple[int, bytes]:
        """Status and body. No proxy stands in between, and no redirect is followed: either could learn the token."""
        kind = http.client.HTTPSConnection if self._is_tls else http.client.HTTPConnection
        connection = kind(self._host, self._port, timeout=self._timeout_s)
        headers = {"Accept": "application/json", "Accept-Encoding": "gzip"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        try:
            connection.request("GET", path, headers=headers)
            response = connection.getresponse()
            packed = _read(response, time.monotonic() + self._timeout_s)
            return response.status, _unpacked(packed) if response.headers.get("Content-Encoding") == "gzip" else packed
        except TimeoutError:
            raise DashboardError(
                f"{self.url} did not answer within {self._timeout_s:g} s; ask for a shorter window, or set timeout_s higher"
            ) from None
        except (OSError, EOFError, zlib.error, http.client.HTTPException) as error:
            why = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise DashboardError(
                f"no dashboard answers at {self.url} ({why}); start one with: deepseek-dashboard --log-dir ./logs"
            ) from None
        finally:
            connection.close()


def _read(response: http.client.HTTPResponse, until_s: float) -> bytes:
    """The whole body. Raises TimeoutError, DashboardError."""
    parts, size = [], 0
    while part := response.read1(READ_BYTES):
        parts.append(part)
        size += len(part)
        if size > MOST_BYTES:
            raise DashboardError(f"the answer has more than {MOST_BYTES >> 20} MiB; ask for a shorter window")
        if time.monotonic() > until_s:
            raise TimeoutError
    return b"".join(parts)


def _unpacked(packed: bytes) -> bytes:
    with gzip.GzipFile(fileobj=io.BytesIO(packed)) as file:
        body = file.read(MOST_BYTES + 1)
    if len(body) > MOST_BYTES:
        raise DashboardError(f"the answer has more than {MOST_BYTES >> 20} MiB; ask for a shorter window")
    return body
