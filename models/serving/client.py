"""A client of a server of models, over HTTP: `ServingClient("http://localhost:8100").infer([[1, 2, 3, 4]], model="clothes")`.

It needs only Python's standard library. One object is for one thread; it keeps its connection.
"""

from __future__ import annotations

import http.client
import json
import os
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

TOKEN = "DEEPSEEK_TOKEN"  # in the environment
BUSY, UNAVAILABLE = 429, 503
MAX_PAUSE_S = 5.0
T = TypeVar("T")


class ServingClientError(Exception):
    """What the server says, in one sentence. `status`: of HTTP, 0 where there was no answer. `retry_after_s`: None where trying again does not help."""

    def __init__(self, sentence: str, status: int = 0, retry_after_s: float | None = None) -> None:
        super().__init__(sentence)
        self.status, self.retry_after_s = status, retry_after_s


class ServingClient:
    """`tries`: of a request that the server refuses for a time; it says how long to wait. `timeout_s`: of one answer."""

    def __init__(
        self, address: str = "http://localhost:8100", token: str | None = None, timeout_s: float = 30.0, tries: int = 3
    ) -> None:
        try:
            parts = urlsplit(address if "//" in address else f"http://{address}")
            scheme, host, port = parts.scheme, parts.hostname, parts.port
        except ValueError:  # a port that is no number, half a bracket
            scheme, host, port = "", None, None
        if scheme not in ("http", "https") or not host:
            raise ServingClientError(f"{address!r} is not an address such as http://localhost:8100")
        kind = http.client.HTTPSConnection if scheme == "https" else http.client.HTTPConnection
        self._connection = kind(host, port, timeout=timeout_s)
        self._place, self._base, self._tries = parts.netloc, parts.path.rstrip("/"), tries
        token = token or os.environ.get(TOKEN)
        if token and not (token.isascii() and token.isprintable()):
            raise ServingClientError("the token has characters that no token has; copy it again")
        self._headers = {"content-type": "application/json", **({"authorization": f"Bearer {token}"} if token else {})}

    def __enter__(self) -> ServingClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._connection.close()

    def infer(
        self, values: Any, model: str | None = None, version: str | None = None, timeout_ms: float | None = None
    ) -> Any:
        """The output: a list, or a dict of lists by name where the model has several outputs; text for text. Arrays are taken as well.

        Raises ServingClientError.
        """
        fields = {"input": values, "model": model, "version": version, "timeout_ms": timeout_ms}
        return self._asked(
            "output", "POST", "/v1/infer", {name: value for name, value in fields.items() if value is not None}
        )

    def complete(self, prompt: str, model: str, **fields: Any) -> Iterator[str]:
        """Pieces of a text model's answer as they come; `fields` are those of OpenAI's completions, such as `max_tokens=64`."""
        answer = self._answer("POST", "/v1/completions", {"model": model, "prompt": prompt, "stream": True, **fields})
        done = False
        try:
            while line := self._understood(answer.readline):
                if not line.startswith(b"data: "):
                    continue
                if line.strip() == b"data: [DONE]":
                    done = True
                    break
                yield from self._understood(partial(_texts, line))
            if not done:
                raise ServingClientError(f"{self._place} ended its answer early; ask again")
            self._understood(answer.read)
        finally:
            if not done:
                self.close()  # the server ends its work as the connection ends

    def models(self) -> list[str]:
        """Names of those that this token may ask. Raises ServingClientError."""
        rows = self._asked("data", "GET", "/v1/models")
        return self._understood(lambda: [row["id"] for row in rows])

    def is_ready(self, model: str | None = None) -> bool:
        """Of all models, or of one. Raises ServingClientError for a model that is not there."""
        path = f"/v2/models/{quote(model)}/ready" if model else "/v2/health/ready"
        try:
            return bool(self._asked("ready", "GET", path, tries=1))
        except ServingClientError as error:
            if error.status == UNAVAILABLE:
                return False
            raise

    def load(self, model: str) -> None:
        """Have the server take the model's folder anew. Raises ServingClientError; the version in use goes on then."""
        self._understood(self._answer("POST", f"/v2/repository/models/{quote(model)}/load", {}).read)

    def _asked(self, key: str, method: str, path: str, fields: Any = None, tries: int | None = None) -> Any:
        answer = self._answer(method, path, fields, tries)
        return self._understood(lambda: json.loads(answer.read())[key])

    def _understood(self, read: Callable[[], T]) -> T:
        """Of an answer whose status is good: what goes wrong then is not of this server, or its connection broke."""
        try:
            return read()
        except (OSError, http.client.HTTPException, ValueError, LookupError, TypeError) as error:
            self.close()
            raise ServingClientError(
                f"{self._place} gave half an answer, or one of another kind of server ({type(error).__name__}); ask again, or give another address"
            ) from error

    def _answer(self, method: str, path: str, fields: Any = None, tries: int | None = None) -> http.client.HTTPResponse:
        body = None if fields is None else _json(fields)
        tries = self._tries if tries is None else tries
        while True:
            answer = self._sent(method, path, body)
            if answer.status < 300:
                return answer
            tries -= 1
            error = _error(answer)
            if tries <= 0 or error.retry_after_s is None:
                raise error
            time.sleep(min(error.retry_after_s, MAX_PAUSE_S))

    def _sent(self, method: str, path: str, body: bytes | None) -> http.client.HTTPResponse:
        kept = self._connection.sock is not None
        try:
            return self._once(method, path, body)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            if not kept or isinstance(error, TimeoutError):
                raise ServingClientError(
                    f"{self._place} does not answer ({error or type(error).__name__}); is the server started?"
                ) from error
        try:  # a kept connection that the server has ended
            return self._once(method, path, body)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise ServingClientError(
                f"{self._place} does not answer ({error or type(error).__name__}); is the server started?"
            ) from error

    def _once(self, method: str, path: str, body: bytes | None) -> http.client.HTTPResponse:
        self._connection.request(method, self._base + path, body, self._headers)
        return self._connection.getresponse()


def _error(answer: http.client.HTTPResponse) -> ServingClientError:
    try:
        found = json.loads(answer.read())["error"]
        sentence = str(found["message"] if isinstance(found, dict) else found)
    except (OSError, http.client.HTTPException, ValueError, LookupError, TypeError):
        sentence = f"the server answered {answer.status}"
    wait_ms = answer.headers.get("retry-after-ms", "")
    again = int(wait_ms) / 1e3 if wait_ms.isdecimal() and answer.status in (BUSY, UNAVAILABLE) else None
    return ServingClientError(sentence, answer.status, again)


def _texts(line: bytes) -> list[str]:
    """Of an event. Raises ServingClientError for one that is an error."""
    table = json.loads(line[len(b"data: ") :])
    if "error" in table:
        raise ServingClientError(table["error"]["message"])
    return [choice["text"] for choice in table["choices"] if choice["text"]]


def _json(fields: Any) -> bytes:
    """Arrays of numpy, and tensors, as lists, wherever they stand. Raises ServingClientError."""
    try:
        return json.dumps(fields, default=_listed, allow_nan=False).encode()
    except TypeError as error:
        raise ServingClientError(
            f"the values cannot be sent ({error}); give numbers, texts, lists or arrays"
        ) from error
    except (ValueError, RecursionError) as error:
        raise ServingClientError(
            f"the values cannot be sent ({error}); JSON has no NaN, no infinity and no end of depth"
        ) from error


def _listed(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is no number, text, list or array")
