"""What other hosts hand over: each byte once, inside of its folder, and as the run of another host."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from access.files import Unwritable
from collectors.folders import FOLDER
from collectors.machine.proc import PROC, boot_id, start_ticks
from collectors.machine.run_state import RunActivity, claims_of, processes_of
from collectors.records import Event
from dashboard import received_files
from dashboard.queries import BadRequest
from dashboard.received_files import MAX_BYTES, OffsetConflict, ReceivedFiles
from tests.conftest import Dashboard, dashboard, wait_for

LINE = b'{"time_s":1764000000.5,"step":%d,"loss":0.5}\n'


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    with dashboard(tmp_path_factory.mktemp("home") / "logs", "--no-profile") as running:
        yield running


def hand_over(
    running: Dashboard, run: str, file: str, offset: object, data: bytes, headers: dict[str, str] | None = None
) -> tuple[int, Any]:
    place = urlsplit(running.address)
    connection = http.client.HTTPConnection(place.netloc, timeout=20)
    try:
        connection.request(
            "POST", f"/api/v1/ingest/{quote(run)}/{quote(file, safe='')}?offset={offset}", data, headers or {}
        )
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def test_a_run_of_another_host_is_followed_like_any_other(served: Dashboard) -> None:
    info = json.dumps({"host": "node7", "pid": 1, "cwd": "/etc", "started_s": 1764000000}).encode()
    assert hand_over(served, "group/a", "run.json", 0, info) == (200, {"size": len(info)})
    size = 0
    for step in range(5):
        line = LINE % step
        assert hand_over(served, "group/a", "metrics.jsonl", size, line) == (200, {"size": size + len(line)})
        size += len(line)
    name = f"{FOLDER}/local/group/a"
    wait_for(
        lambda: any(run["run"] == name and run["last_step"] == 4 for run in served.get("/api/v1/runs")["runs"]),
        because="it is not followed",
    )
    assert (served.log_dir / name / "metrics.jsonl").read_bytes() == b"".join(LINE % step for step in range(5))
    assert "error" in served.get(f"/api/v1/source?run={quote(name)}&file=passwd&line=1"), (
        "its folder is one of another host"
    )
    assert served.get(f"/api/v1/run?run={quote(name)}")["processes"] == []


def test_the_same_bytes_again_are_not_taken_twice_and_the_answer_says_where_to_go_on(served: Dashboard) -> None:
    assert hand_over(served, "twice", "metrics.jsonl", 0, LINE % 1)[0] == 200
    length = len(LINE % 1)
    for offset in (0, 1, length + 1, 10**15):
        status, answer = hand_over(served, "twice", "metrics.jsonl", offset, LINE % 2)
        assert (status, answer["size"]) == (409, length)
        assert str(length) in answer["error"]
    assert hand_over(served, "twice", "metrics.jsonl", length, b"") == (200, {"size": length})


@pytest.mark.parametrize(
    ("run", "file"),
    [
        ("..", "metrics.jsonl"), ("a/../..", "metrics.jsonl"), ("a", ".."), ("a", "../../x.jsonl"), (".deepseek", "store.jsonl"), ("a", ".hidden.jsonl"),
        ("a//b", "metrics.jsonl"), ("a", "notes.docx"), ("a", "train.py"), ("a", "mlflow.db"), ("a\x00", "metrics.jsonl"), ("a\n", "metrics.jsonl"),
        ("/".join("abcdefghi"), "metrics.jsonl"), ("a" * 300, "metrics.jsonl"), ("a", "m" * 300 + ".jsonl"),
    ],
)  # fmt: skip
def test_a_name_that_leaves_the_folder_or_is_no_log_is_refused(served: Dashboard, run: str, file: str) -> None:
    before = sorted(str(path) for path in served.log_dir.rglob("*") if ".deepseek" not in path.parts)
    status, answer = hand_over(served, run, file, 0, b"x\n")
    assert status in (400, 404)
    assert len(answer["error"]) < 400
    assert sorted(str(path) for path in served.log_dir.rglob("*") if ".deepseek" not in path.parts) == before


def test_odd_requests_are_one_sentence(served: Dashboard) -> None:
    assert hand_over(served, "a", "metrics.jsonl", -1, b"")[0] == 400
    assert hand_over(served, "a", "metrics.jsonl", "x", b"")[0] == 400
    assert hand_over(served, "a", "metrics.jsonl", 10**30, b"")[0] == 400
    status, answer = hand_over(served, "big", "metrics.jsonl", 0, b"\n" * (MAX_BYTES + 1))
    assert (status, "in parts" in answer["error"]) == (400, True)
    assert hand_over(served, "a", "metrics.jsonl", 0, b"", {"Origin": "http://example.com"})[0] == 403
    assert "error" in served.get("/api/v1/ingest/a/metrics.jsonl?offset=0")
    assert not (served.log_dir / FOLDER / "local" / "big").exists() or not list(
        (served.log_dir / FOLDER / "local" / "big").iterdir()
    )


def test_a_link_in_the_way_is_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    logs = tmp_path / "logs"
    (logs / FOLDER / "w").mkdir(parents=True)
    (logs / FOLDER / "w" / "a").symlink_to(outside)
    received = ReceivedFiles(logs, "w")
    with pytest.raises(Unwritable):
        received.append("a", "metrics.jsonl", 0, b"x\n")
    received.append("b", "metrics.jsonl", 0, b"x\n")
    (logs / FOLDER / "w" / "b" / "train.log").symlink_to(outside / "train.log")
    os.mkfifo(logs / FOLDER / "w" / "b" / "out.log")
    with pytest.raises(Unwritable):
        received.append("b", "train.log", 0, b"x\n")
    with pytest.raises((Unwritable, BadRequest)):
        received.append("b", "out.log", 0, b"x\n")
    assert list(outside.iterdir()) == []


def test_a_writer_that_has_used_up_its_share_is_refused_until_something_is_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(received_files, "RECOUNT_S", 0.0)
    received = ReceivedFiles(tmp_path, "w", quota_bytes=100)
    assert received.append("a", "metrics.jsonl", 0, b"x" * 80) == 80
    with pytest.raises(Unwritable, match="delete runs"):
        received.append("b", "metrics.jsonl", 0, b"x" * 40)
    (tmp_path / FOLDER / "w" / "a" / "metrics.jsonl").unlink()
    assert received.append("b", "metrics.jsonl", 0, b"x" * 40) == 40


def test_a_writer_may_begin_so_many_runs_and_files_in_a_minute_and_have_so_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = {"NEW_RUNS": 3, "NEW_FILES": 5, "NEW_PER_S": 1e9, "MAX_RUNS": 4, "MAX_FILES": 7, "RECOUNT_S": 0.0}
    for name, value in limits.items():
        monkeypatch.setattr(received_files, name, value)
    received = ReceivedFiles(tmp_path, "w")

    def begin(*paths: str) -> None:
        for path in paths:
            received.append(*path.split(":"), 0, b"x")

    begin("a:m.jsonl", "b/c:m.jsonl", "d:m.jsonl")
    with pytest.raises(Unwritable, match=r"has begun 3 runs and 3 files within .* may begin 3 and 5: try again"):
        begin("e:m.jsonl")
    begin("a:n.jsonl", "a:o.jsonl")
    with pytest.raises(Unwritable, match="has begun 3 runs and 5 files"):
        begin("a:p.jsonl")
    assert received.append("a", "m.jsonl", 1, b"y") == 2, "files that are there go on"
    assert not (tmp_path / ".remote/w/e").exists()
    monkeypatch.setattr(received_files, "NEW_PER_S", 0.0)
    begin("e:m.jsonl", "e:n.jsonl")
    for path in ("f:m.jsonl", "a:p.jsonl"):
        with pytest.raises(Unwritable, match=r"has . runs, and may have 4 with 7 files: delete runs there"):
            begin(path)
    shutil.rmtree(tmp_path / ".remote/w/a")
    begin("f:m.jsonl")
    with pytest.raises(Unwritable, match="has 4 runs"):
        ReceivedFiles(tmp_path, "w").append("g", "m.jsonl", 0, b"x")


def test_a_writer_at_its_limit_has_its_files_counted_once_a_minute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    walks, walk = [], os.walk

    def counted_walk(folder: Path) -> Iterator[tuple[str, list[str], list[str]]]:
        walks.append(folder)
        return walk(folder)

    monkeypatch.setattr(os, "walk", counted_walk)
    monkeypatch.setattr(received_files, "MAX_RUNS", 1)
    received = ReceivedFiles(tmp_path, "w", quota_bytes=10)
    received.append("a", "m.jsonl", 0, b"x")
    counted = len(walks)
    for number in range(20):
        with pytest.raises(Unwritable, match=r"has 1 runs, .*: delete runs there .* noticed within 60 s"):
            received.append(f"b{number}", "m.jsonl", 0, b"x")
        with pytest.raises(Unwritable, match=r"GB: delete runs there .* noticed within 60 s"):
            received.append("a", "m.jsonl", 1, b"x" * 10)
    assert len(walks) == counted
    shutil.rmtree(tmp_path / FOLDER / "w" / "a")
    monkeypatch.setattr(received_files, "RECOUNT_S", 0.0)
    assert received.append("b", "m.jsonl", 0, b"x" * 10) == 10


def test_a_file_that_can_grow_no_further_keeps_whole_requests_only(tmp_path: Path) -> None:
    """The limit stands for a full disk."""
    code = """
import resource, signal, sys
from pathlib import Path
from dashboard.received_files import ReceivedFiles
from access.files import Unwritable
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
received = ReceivedFiles(Path(sys.argv[1]), "w")
received.append("a", "metrics.jsonl", 0, b"x" * 1000)
resource.setrlimit(resource.RLIMIT_FSIZE, (1500, resource.RLIM_INFINITY))
try:
    received.append("a", "metrics.jsonl", 1000, b"y" * 1000)
except Unwritable:
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    print(received.append("a", "metrics.jsonl", 1000, b"z" * 1000))
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=Path(__file__).parents[2],
    )
    assert done.stdout.strip() == "2000", done.stderr
    assert (tmp_path / FOLDER / "w" / "a" / "metrics.jsonl").read_bytes() == b"x" * 1000 + b"z" * 1000


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 5000), min_size=1, max_size=20), st.integers(2, 4))
def test_however_many_send_the_same_file_each_byte_is_there_once(
    tmp_path_factory: pytest.TempPathFactory, parts: list[int], senders: int
) -> None:
    logs = tmp_path_factory.mktemp("logs")
    whole = os.urandom(sum(parts))
    received = ReceivedFiles(logs, "w")

    def send() -> None:
        at, waiting = 0, [*parts]
        while at < len(whole):
            try:
                at = received.append("a", "metrics.jsonl", at, whole[at : at + (waiting.pop() if waiting else 4096)])
            except OffsetConflict as other:
                at = other.size

    threads = [threading.Thread(target=send) for _ in range(senders)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (logs / FOLDER / "w" / "a" / "metrics.jsonl").read_bytes() == whole


def test_what_was_received_names_no_process_of_this_host(tmp_path: Path) -> None:
    """Its start event, its run.json and a forged sighting all name this very process."""
    me = {
        "pid": os.getpid(),
        "pid_start_ticks": start_ticks(os.getpid()),
        "boot_id": boot_id(),
        "host": os.uname().nodename,
    }
    for run, processes in (("a", 1), (f"{FOLDER}/local/a", 0)):
        folder = tmp_path / run
        folder.mkdir(parents=True)
        (folder / "events.jsonl").write_text("{}")
        start, seen = (Event(run, kind, 1.0, fields=me) for kind in ("start", "process"))
        activity = RunActivity(run, folder, {**me, "started_s": 9e9}, [start], [], None, None, [seen])
        assert len(processes_of(activity)) == processes
        assert len(claims_of(activity, os.uname().nodename, PROC)) == processes


def test_a_run_may_not_forge_what_only_the_collector_sees(served: Dashboard) -> None:
    lines = b"".join(
        json.dumps({"time_s": 1764000000.0, "kind": kind, "pid": 1}).encode() + b"\n"
        for kind in ("process", "exit", "ran", "note")
    )
    assert hand_over(served, "forged", "events.jsonl", 0, lines)[0] == 200

    def events() -> list[str]:
        answer = served.get(f"/api/v1/events?run={quote(FOLDER)}/local/forged")
        return [event["kind"] for event in answer.get("events", [])]

    wait_for(lambda: "note" in events(), because="the events are not read")
    assert events() == ["note"]


@pytest.mark.parametrize("mebibytes", [5, 40])
def test_a_request_that_is_too_large_is_answered_with_a_sentence(served: Dashboard, mebibytes: int) -> None:
    """Also to a client that sends all of it before it reads; a later request of another connection is none the worse."""
    status, answer = hand_over(served, "large", "metrics.jsonl", 0, b"x" * (mebibytes << 20))
    assert status in (400, 413) and "in parts" in answer["error"]
    assert hand_over(served, "large", "metrics.jsonl", 0, b"") == (200, {"size": 0})


def test_clients_that_send_slowly_keep_nobody_from_handing_over(served: Dashboard) -> None:
    place = urlsplit(served.address)
    slow = [socket.create_connection((place.hostname or "", place.port or 0)) for _ in range(30)]
    try:
        for i, client in enumerate(slow):
            client.sendall(
                f"POST /api/v1/ingest/slow{i}/metrics.jsonl?offset=0 HTTP/1.1\r\nHost: {place.netloc}\r\n".encode()
            )
            client.sendall(b"Content-Length: 1000\r\n\r\n{")
        line = LINE % 1
        assert hand_over(served, "quick", "metrics.jsonl", 0, line) == (200, {"size": len(line)})
    finally:
        for client in slow:
            client.close()
    assert hand_over(served, "slow0", "metrics.jsonl", 0, b"") == (200, {"size": 0}), "half a request is not taken"
