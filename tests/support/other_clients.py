"""Clients of a dashboard that are not its own user: another local user, another machine, a proxy's, and how each asks."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

NOBODY = 65534
PROXIED = {"Via": "1.1 proxy"}  # a loopback connection that is not believed

ASK = """
import encodings.idna, http.client, json, os, sys
given = json.load(sys.stdin)
if given["uid"]:
    os.setgroups([])
    os.setgid(given["uid"])
    os.setuid(given["uid"])
answers = []
for method, path, headers, body in given["asked"]:
    connection = http.client.HTTPConnection(given["host"], given["port"], timeout=20)
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        answers.append([answer.status, answer.read().decode("latin-1")[:20000]])
    except OSError as error:
        answers.append([0, str(error)])
    finally:
        connection.close()
json.dump(answers, sys.stdout)
"""


class Asked(NamedTuple):
    method: str
    path: str
    headers: dict[str, str] = {}  # noqa: RUF012  # never changed
    body: str | None = None


class Got(NamedTuple):
    status: int
    text: str


def ask(port: int, asked: Asked, host: str = "127.0.0.1") -> Got:
    """Of this process, on a connection of its own."""
    return ask_whole(port, asked, host)[0]


def ask_whole(port: int, asked: Asked, host: str = "127.0.0.1") -> tuple[Got, dict[str, str]]:
    """With the headers of the answer, in lower case."""
    with contextlib.closing(http.client.HTTPConnection(host, port, timeout=30)) as connection:
        connection.request(asked.method, asked.path, asked.body, asked.headers)
        answer = connection.getresponse()
        return Got(answer.status, answer.read().decode("latin-1")), {
            name.lower(): value for name, value in answer.getheaders()
        }


def ask_elsewhere(
    port: int, asked: list[Asked], *, uid: int = 0, host: str = "127.0.0.1", before: tuple[str, ...] = ()
) -> list[Got]:
    """Of a process of another user, or of what `before` starts (`ip netns exec ...`)."""
    given = json.dumps({"uid": uid, "host": host, "port": port, "asked": asked})
    done = subprocess.run(
        [*before, sys.executable, "-I", "-c", ASK], input=given, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return [Got(*answer) for answer in json.loads(done.stdout)]


@contextlib.contextmanager
def other_machine() -> Iterator[tuple[str, tuple[str, ...]] | str]:
    """Our address as another network namespace sees it, and the words before a command that runs there; else why there is none."""
    number = os.getpid() % 60000
    name, ours, theirs = f"dsk{number}", f"dska{number}", f"dskb{number}"
    address = f"10.{200 + number % 50}.{number % 250}"
    steps = [
        ["ip", "netns", "add", name],
        ["ip", "link", "add", ours, "type", "veth", "peer", "name", theirs, "netns", name],
        ["ip", "addr", "add", f"{address}.1/24", "dev", ours],
        ["ip", "link", "set", ours, "up"],
        ["ip", "-n", name, "addr", "add", f"{address}.2/24", "dev", theirs],
        ["ip", "-n", name, "link", "set", theirs, "up"],
    ]
    try:
        for step in steps:
            done = subprocess.run(step, capture_output=True, text=True)
            if done.returncode:
                yield f"{' '.join(step)}: {done.stderr.strip()}"
                return
        yield f"{address}.1", ("ip", "netns", "exec", name)
    except FileNotFoundError:
        yield "there is no program ip"
    finally:
        with contextlib.suppress(FileNotFoundError):
            subprocess.run(["ip", "netns", "del", name], capture_output=True)
            subprocess.run(["ip", "link", "del", ours], capture_output=True)


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]
