"""The commands token and url, and the listeners of a dashboard that runs."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from access.tokens import SECRET
from tests.conftest import ROOT, Dashboard, dashboard
from tests.support.other_clients import PROXIED, Asked, ask, rows


def command(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": ""}
    line = [sys.executable, str(ROOT / "app.py"), *words, "--log-dir", str(folder)]
    return subprocess.run(line, capture_output=True, text=True, env=environment, timeout=60)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("tokens")
    with dashboard(
        folder / "my logs", "--no-profile", "--host", "0.0.0.0", "--unix-socket", str(folder / "socket")
    ) as found:
        yield found


def test_a_token_is_made_listed_rotated_and_revoked(running: Dashboard) -> None:
    logs = running.log_dir
    port = int(running.address.rpartition(":")[2])
    made = command("token", "new", "colleague", "--grant", "source", "--days", "7", folder=logs)
    secret = made.stdout.strip()
    assert SECRET.fullmatch(secret) and made.returncode == 0
    assert re.search(rf"http://\S+:{port}/login#token={secret}$", made.stderr.strip())

    def status(token: str) -> int:
        return ask(port, Asked("GET", "/api/v1/runs", {"Authorization": f"Bearer {token}", **PROXIED})).status

    assert status(secret) == 200
    assert "colleague  viewer  until" in command("token", "list", folder=logs).stdout
    again = command("token", "new", "colleague", folder=logs)
    assert again.returncode == 2 and again.stderr.count("\n") == 1
    renewed = command("token", "rotate", "colleague", folder=logs)
    rotated = renewed.stdout.strip()
    assert renewed.stderr.strip().endswith(f"/login#token={rotated}")
    assert status(secret) == 401 and status(rotated) == 200
    assert command("token", "revoke", "colleague", folder=logs).returncode == 0
    assert status(rotated) == 401
    assert [row["what"] for row in rows(logs / ".deepseek" / "audit.jsonl")][-3:] == [
        f"token {what} colleague" for what in ("new", "rotate", "revoke")
    ]


@pytest.mark.parametrize("words", [("token", "new", "zed"), ("token", "list"), ("url",)])
def test_a_folder_that_does_not_exist_is_refused_and_not_made(
    words: tuple[str, ...], running: Dashboard, tmp_path: Path
) -> None:
    done = command(*words, "--data-dir", str(tmp_path / "none"), folder=running.log_dir)
    assert done.returncode == 2 and "there is no folder" in done.stderr and done.stderr.count("\n") == 1
    assert done.stdout == "" and not (tmp_path / "none").exists()


def test_the_start_and_url_print_a_link_for_one_log_in(running: Dashboard) -> None:
    assert running.process.stdout is not None
    printed, hint = running.process.stdout.readline(), running.process.stdout.readline()
    assert f"{sys.executable} {ROOT / 'app.py'} url --data-dir '{running.log_dir / '.deepseek'}'; " in hint
    assert "other names need: --allow-host NAME" in running.errors.read_text()
    link = command("url", folder=running.log_dir).stdout.strip()
    for text in (printed, link):
        found = re.search(r"http://\S+/login#token=(dsk_[\w-]{43})", text)
        assert found, text
    assert socket.gethostname() in link
    port = int(running.address.rpartition(":")[2])
    form = {"Content-Type": "application/x-www-form-urlencoded", **PROXIED}
    statuses = [
        ask(port, Asked("POST", "/login", form, f"token={link.replace('#', '%23').replace('&', '%26')}")).status
        for _ in range(2)
    ]
    assert statuses == [303, 401]


def test_the_unix_socket_is_the_users_own(running: Dashboard) -> None:
    path = running.log_dir.parent / "socket"
    assert path.stat().st_mode & 0o777 == 0o600
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        client.sendall(b"GET /api/v1/runs HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 200")
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        client.sendall(
            b"GET /api/v1/runs HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: 192.0.2.1\r\nConnection: close\r\n\r\n"
        )
        assert client.recv(100).startswith(b"HTTP/1.1 401")


def test_no_command_takes_a_secret_in_its_words(running: Dashboard) -> None:
    for words in (("token", "new", "--help"), ("url", "--help"), ("token", "rotate", "--help")):
        assert not re.search(r"--(token|secret|password)\b", command(*words, folder=running.log_dir).stdout)


def test_a_writers_token_appends_below_its_prefix_and_reads_nothing(running: Dashboard) -> None:
    port = int(running.address.rpartition(":")[2])
    secret = command(
        "token", "new", "node-7", "--role", "writer", "--runs", "team/", folder=running.log_dir
    ).stdout.strip()
    with_token = {"Authorization": f"Bearer {secret}", "Content-Type": "application/octet-stream"}
    line = '{"time_s": 1764000000.0, "step": 1, "loss": 0.5}\n'
    assert ask(port, Asked("POST", "/api/v1/ingest/team/a/metrics.jsonl?offset=0", with_token, line)).status == 200
    assert (running.log_dir / ".remote" / "node-7" / "team" / "a" / "metrics.jsonl").read_text() == line
    refused = ask(port, Asked("POST", "/api/v1/ingest/other/metrics.jsonl?offset=0", with_token, line))
    assert (
        refused.status == 403
        and "team/" in refused.text
        and not (running.log_dir / ".remote" / "node-7" / "other").exists()
    )
    assert ask(port, Asked("GET", "/api/v1/runs", with_token)).status == 403
    assert (
        ask(port, Asked("POST", "/api/v1/settings", {**with_token, "Content-Type": "application/json"}, "{}")).status
        == 403
    )
