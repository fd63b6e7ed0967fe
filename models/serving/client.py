"""A client of a server of models, over HTTP: `ServingClient("http://localhost:8100").infer([[1, 2, 3, 4]], model="clothes")`.

It needs only Python's standard library. One object is for one thread; it keeps its connection.
"""

from __future__ import annotations

import http.client
import json
import os
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlsplit

TOKEN = "DEEPSEEK_TOKEN"  # in the environment
BUSY, UNAVAILABLE = 429, 503
MOST_PAUSE_S = 5.0


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
        parts = urlsplit(address if "//" in address else f"http://{address}")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ServingClientError(f"{address!r} is not an address such as http://localhost:8100")
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._connection = kind(parts.hostname, parts.port, timeout=timeout_s)
        self._place, self._base, self._tries = parts.netloc, parts.path.rstrip("/"), tries
        token = token or os.environ.get(TOKEN)
        self._headers = {"content-type": "application/json", **({"authorization": f"Bearer {token}"} if token else {})}

    def __enter__(self) -> ServingClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._connection.close()

    def infer(self, values: Any, model: str | None = None, version: str | None = None, timeout_ms: float | None = None) -> Any:
        """The output: a list, or a dict of lists by name where the model has several outputs; text for text. Arrays are taken as well.

        Raises ServingClientError.
        """
        fields = {"input": _plain(values), "model": model, "version": version, "timeout_ms": timeout_ms}
        return self._asked("POST", "/v1/infer", {name: value for name, value in fields.items() if value is not None})["output"]

    def complete(self, prompt: str, model: str, **fields: Any) -> Iterator[str]:
        """Pieces of a text model's answer as they come; `fields` are those of OpenAI's completions, such as `max_tokens=64`."""
        answer = self._answer("POST", "/v1/completions", {"model": model, "prompt": prompt, "stream": True, **fields})
        done = False
        try:
            for line in answer:
                if not line.startswith(b"data: "):
                    continue
                if line.strip() == b"data: [DONE]":
                    done = True
                    break
                table = json.loads(line[len(b"data: ") :])
                if "error" in table:
                    raise ServingClientError(table["error"]["message"])
                yield from (choice["text"] for choice in table["choices"] if choice["text"])
            if not done:
                raise ServingClientError(f"{self._place} ended its answer early; ask again")
            answer.read()
        finally:
            if not done:
                self.close()  # the server ends its work as the connection ends

    def models(self) -> list[str]:
        """Names of those that this token may ask. Raises ServingClientError."""
        return [row["id"] for row in self._asked("GET", "/v1/models")["data"]]

    def is_ready(self, model: str | None = None) -> bool:
        """Of all models, or of one. Raises ServingClientError for a model that is not there."""
        path = f"/v2/models/{quote(model)}/ready" if model else "/v2/health/ready"
        try:
            return bool(self._asked("GET", path, tries=1)["ready"])
        except ServingClientError as error:
            if error.status == UNAVAILABLE:
                return False
            raise

    def load(self, model: str) -> None:
        """Have the server take the model's folder anew. Raises ServingClientError; the version in use goes on then."""
        self._asked("POST", f"/v2/repository/models/{quote(model)}/load", {})

    def _asked(self, method: str, path: str, fields: Any = None, tries: int | None = None) -> Any:
        content = self._answer(method, path, fields, tries).read()
        return json.loads(content)

    def _answer(self, method: str, path: str, fields: Any = None, tries: int | None = None) -> http.client.HTTPResponse:
        body = None if fields is None else json.dumps(fields).encode()
        tries = self._tries if tries is None else tries
        while True:
            answer = self._sent(method, path, body)
            if answer.status < 300:
                return answer
            tries -= 1
            error = _error(answer)
            if tries <= 0 or error.retry_after_s is None:
                raise error
            time.sleep(min(error.retry_after_s, MOST_PAUSE_S))

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
    content = answer.read()
    try:
        found = json.loads(content)["error"]
        sentence = found["message"] if isinstance(found, dict) else str(found)
    except (ValueError, KeyError, TypeError):
        sentence = f"the server answered {answer.status}"
    wait_ms = answer.headers.get("retry-after-ms")
    again = float(wait_ms) / 1e3 if wait_ms and answer.status in (BUSY, UNAVAILABLE) else None
    return ServingClientError(sentence, answer.status, again)


def _plain(values: Any) -> Any:
    """Arrays of numpy, and tensors, as lists."""
    if isinstance(values, dict):
        return {name: _plain(value) for name, value in values.items()}
    return values.tolist() if hasattr(values, "tolist") else values
