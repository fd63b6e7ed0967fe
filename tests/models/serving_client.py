"""The client against servers that are none, and values that are none: always ServingClientError, whose text is one sentence."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import openai
import pytest

from models.serving.client import ServingClient, ServingClientError
from tests.models.serving_http import plan_of, served
from tests.models.toys import written

OK, EVENTS = b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\n\r\ndata: "


@contextmanager
def answering(content: bytes) -> Iterator[str]:
    """The address of a server that answers everything with these bytes, and ends the connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def work() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(65536)
                    connection.sendall(content)

        threading.Thread(target=work, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"garbage\r\n\r\n",
        OK + b"Content-Length: 100\r\n\r\nshort",
        OK + b"Content-Length: 2\r\n\r\n[]",
        OK + b"Content-Length: 2\r\n\r\n{}",
        OK + b"Content-Length: 3\r\n\r\n\xff\xff\xff",
        OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 500 X\r\nContent-Length: 100\r\n\r\nx",
        b"HTTP/1.1 429 X\r\nretry-after-ms: abc\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 429 X\r\nretry-after-ms: -5\r\nContent-Length: 0\r\n\r\n",
        EVENTS + b"{\n\n",
        EVENTS + b'{"choices": 5}\n\n',
        EVENTS + b'{"error": 5}\n\n',
    ],
)
def test_an_answer_that_is_none_is_a_sentence(content: bytes) -> None:
    asked: list[Callable[[ServingClient], Any]] = [
        lambda client: client.infer([1], model="toy"),
        lambda client: list(client.complete("a", model="toy")),
        lambda client: client.models(),
        lambda client: client.is_ready(),
    ]
    with answering(content) as address:
        for ask in asked:
            with ServingClient(address) as client, pytest.raises(ServingClientError) as refused:
                ask(client)
            assert str(refused.value)


@pytest.mark.parametrize(
    "address", ["http://localhost:abc", "http://[::1:8100", "http://localhost:99999", "http://", "ftp://x", ""]
)
def test_an_address_that_is_none_is_a_sentence(address: str) -> None:
    with pytest.raises(ServingClientError, match="is not an address such as"):
        ServingClient(address)


def test_values_go_as_they_are_or_are_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ServingClientError, match="the token has characters"):
        ServingClient(token="a\nb")
    with served(plan_of(written(tmp_path / "toy").folder)) as server:
        with ServingClient(server.places["http"]) as client:
            assert client.infer([np.ones(4), [np.float32(1)] * 4]) == client.infer(np.ones((2, 4)))
            for values in (b"abc", [object()], [float("nan")] * 4, [float("inf")]):
                with pytest.raises(ServingClientError, match="the values cannot be sent"):
                    client.infer(values)
        remote = openai.OpenAI(base_url=f"http://{server.places['http']}/v1", api_key="any", max_retries=0)
        with remote, pytest.raises(openai.NotFoundError, match="there is no such path"):
            remote.embeddings.create(model="toy", input="x")
        status, _, headers = server.ask("PUT", "/v1/infer")
        assert (status, headers["allow"]) == (405, "POST")
