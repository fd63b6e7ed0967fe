"""Random files, requests and socket messages against the real program: no answer is a 500, and the healthy run loses nothing.

A failure prints the example and the seed; `pytest --hypothesis-seed=N` repeats it.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import string
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.poisons import Scene
from tests.poisons.clients import framed, open_socket, upgraded
from tests.poisons.house import House, Houses

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "300"))  # in `make test-long`
QUICK_EXAMPLES = 20
MEMORY_MB = 500
SOON_S = 60.0
GOOD = b'{"time_s": 1764000000.0, "step": 1, "x": 1}\n'

# What was found is not made smaller: each try costs a new dashboard, and the house is as it is only once.
FUZZ = settings(
    max_examples=EXAMPLES,
    deadline=timedelta(seconds=60),
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
    database=None,
    print_blob=True,
)
QUICK = settings(FUZZ, max_examples=QUICK_EXAMPLES)

Tree: TypeAlias = dict[str, Any]  # name -> bytes, or a folder

# -- files -------------------------------------------------------------------------------------------------------------

KNOWN_FILES = [
    "metrics.jsonl",
    "metrics.rank1.jsonl",
    "events.jsonl",
    "events.rank2.jsonl",
    "run.json",
    "train.log",
    "a.jsonl",
    "b.log",
]
KNOWN_FIELDS = ["time_s", "step", "rank", "kind", "pid", "pid_start_ticks", "boot_id", "host", "started_s", "seconds", "text", "status", "reason", "cwd", "config", "command", "run", "unit", "world_size", "train/loss", "phase/data_s", "x"]  # fmt: skip
NUMBERS = st.one_of(
    st.integers(), st.floats(), st.sampled_from([2**63, -(2**63) - 1, 2**127, 10**400, 1e308, -1.0, 0, float("nan")])
)
WORDS = st.one_of(
    st.text(max_size=20),
    st.sampled_from(["start", "end", "NaN", "-Infinity", "training", "\ud800", "a\0b", "0001-01-01"]),
)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | WORDS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(KNOWN_FIELDS) | st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)
OBJECTS = st.dictionaries(st.sampled_from(KNOWN_FIELDS) | st.text(max_size=12), VALUES, max_size=8)
JSON_LINES = st.lists(OBJECTS.map(lambda one: json.dumps(one).encode()) | st.binary(max_size=60), max_size=8).map(
    b"\n".join
)
LOG_LINES = st.lists(st.text(max_size=60) | st.from_regex(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d([.,]\d{1,9})?([+-]\d\d:\d\d|Z)? ?(INFO|ERROR)?", fullmatch=True), max_size=8).map(lambda found: "\n".join(found).encode("utf-8", "surrogatepass"))  # fmt: skip
CONTENTS = st.one_of(JSON_LINES, LOG_LINES, st.binary(max_size=400), OBJECTS.map(lambda one: json.dumps(one).encode()))
BYTE_NAMES = st.binary(min_size=1, max_size=20).filter(lambda name: not set(name) & set(b"/\0") and name not in (b".", b"..")).map(os.fsdecode)  # fmt: skip
FILE_NAMES = (
    st.sampled_from(KNOWN_FILES)
    | BYTE_NAMES.map(lambda name: f"{name}.log")
    | BYTE_NAMES.map(lambda name: f"{name}.jsonl")
)
TREES: st.SearchStrategy[Tree] = st.recursive(
    st.dictionaries(FILE_NAMES, CONTENTS, min_size=1, max_size=4),
    lambda inner: st.dictionaries(BYTE_NAMES | FILE_NAMES, CONTENTS | inner, min_size=1, max_size=3),
    max_leaves=4,
)


def plant(folder: Path, tree: Tree) -> None:
    folder.mkdir()
    for name, content in tree.items():
        if isinstance(content, bytes):
            (folder / name).write_bytes(content + b"\n")
        else:
            plant(folder / name, content)


def beside_a_tree(house: House, tree: Tree) -> None:
    """A good file that is written after the tree is read beside it, and whoever asks for the tree's runs is answered."""
    folder = house.running.log_dir / f"fuzz-{time.monotonic_ns()}"
    plant(folder, tree)
    (folder / "good").mkdir()
    (folder / "good" / "metrics.jsonl").write_bytes(GOOD)
    run = f"{folder.name}/good"
    scene = Scene(house.running, house.healthy.pid, run)
    deadline = time.monotonic() + SOON_S
    while scene.steps() != [1]:
        assert time.monotonic() < deadline, f"the good file beside it is not read: {house.told()}"
        time.sleep(0.02)
    for row in scene.running.get("/api/v1/runs")["runs"]:
        if row["run"].startswith(folder.name):
            for route in ("run", "files", "series", "events", "logs"):
                assert asked(house, f"/api/v1/{route}?run={quote(row['run'])}".encode()) < 500
    shutil.rmtree(folder)


# -- requests ----------------------------------------------------------------------------------------------------------

ROUTES = ["runs", "run", "files", "series", "points", "logs", "events", "flame", "flamechart", "blame", "source", "gpus", "processes", "host_processes", "nope"]  # fmt: skip
PARAMETERS = ["run", "series", "from", "to", "axis", "buckets", "gpu", "q", "level", "before", "limit", "rank", "pid", "thread", "view", "phase", "baseline", "waits", "focus", "hide", "roll", "invert", "prune", "format", "file", "line", "context", "width", "match"]  # fmt: skip
ARGUMENTS = st.one_of(
    st.sampled_from(["healthy", "@healthy", "0-9", "9-0@healthy", "train/loss", "*", "host/*", "normal", "joined", "threads", "folded", "speedscope", "time", "step", "true", "nan", "inf", "-inf", "1e308"]),
    st.floats().map(str),
    st.integers().map(str),
    st.text(max_size=12),
    st.just("now"),
)  # fmt: skip
QUERIES = st.lists(st.tuples(st.sampled_from(PARAMETERS) | st.text(max_size=5), ARGUMENTS), max_size=8)
PATHS = st.one_of(
    st.sampled_from(ROUTES).map(lambda route: f"/api/v1/{route}"),
    st.sampled_from(["/", "/healthz", "/metrics", "/openmetrics", "/api/docs", "/openapi.json", "/assets/", "/_dash-layout", "/_dash-component-suites/", "/flame", "/hosts"]),
    st.text(string.printable, max_size=20).map(lambda text: "/" + quote(text, safe="/%.")),
)  # fmt: skip


@st.composite
def targets(draw: st.DrawFn) -> bytes:
    query = [(name, str(time.time()) if value == "now" else value) for name, value in draw(QUERIES)]
    if draw(st.booleans()):  # most routes answer 400 without them
        query += [
            ("run", "healthy"),
            ("from", str(time.time() - 5)),
            ("to", str(time.time())),
            ("series", "*"),
            ("file", "x"),
        ]
    words = "&".join(f"{quote(name, errors='replace')}={quote(value, errors='replace')}" for name, value in query)
    return f"{draw(PATHS)}?{words}".encode()


def asked(
    house: House, target: bytes, method: bytes = b"GET", body: bytes = b"", head: bytes = b"Host: localhost\r\n"
) -> int:
    """The status of the answer to a raw request; 0 where the server only closed."""
    port = int(house.running.address.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
        length = b"Content-Length: %d\r\n" % len(body) if body else b""
        client.sendall(b"%b %b HTTP/1.1\r\n%bConnection: close\r\n%b\r\n%b" % (method, target, head, length, body))
        answer = client.makefile("rb").readline().split()
    return int(answer[1]) if len(answer) > 1 else 0


METHODS = st.sampled_from([b"GET", b"GET", b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"TRACE", b"X"])
HEADS = st.sampled_from([b"Host: localhost\r\n", b"", b"Host: evil.example\r\n", b"Host: localhost\r\nHost: localhost\r\n", b"Host: localhost\r\nContent-Type: application/json\r\n", b"Host: \xff\r\n"])  # fmt: skip

# -- messages ----------------------------------------------------------------------------------------------------------

WANTS = st.fixed_dictionaries({}, optional={"run": WORDS | st.just("healthy"), "source": st.sampled_from(["gpu", "host", "x"]), "series": st.lists(WORDS | st.just("*"), max_size=3) | VALUES})  # fmt: skip
MESSAGES = st.one_of(
    st.fixed_dictionaries({"subscribe": st.lists(WANTS, max_size=4) | VALUES, "cursor": NUMBERS | VALUES}).map(lambda one: json.dumps(one).encode()),
    VALUES.map(lambda value: json.dumps(value).encode()),
    st.binary(max_size=200),
)  # fmt: skip
FRAMES = st.lists(st.tuples(MESSAGES, st.sampled_from([1, 1, 1, 2, 0, 8, 9, 10, 3, 15])), max_size=5)


def send_frames(house: House, frames: list[tuple[bytes, int]]) -> None:
    scene = Scene(house.running, house.healthy.pid, "")
    with upgraded(scene) as client, contextlib.suppress(OSError):  # it may close on us
        for data, opcode in frames:
            client.sendall(framed(data, opcode))
        client.settimeout(0.02)
        client.recv(1 << 16)


# -- the promise -------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def untouched(houses: Houses) -> Iterator[House]:
    """A house whose healthy run is as well after it as before."""
    house = houses.living()
    house.watch.begin()
    try:
        yield house
        before_s = time.time()
        while house.watch.newest_s < before_s:
            assert time.time() < before_s + SOON_S, f"no point of the healthy run arrives: {house.told()}"
            time.sleep(0.02)
        assert house.harm(house.watch.worst(), MEMORY_MB) == []
        assert house.is_well(), house.told()
    except BaseException:
        houses.leave()
        raise


def fuzz_files(houses: Houses, chosen: settings) -> None:
    with untouched(houses) as house:
        chosen(given(TREES)(lambda tree: beside_a_tree(house, tree)))()


def fuzz_requests(houses: Houses, chosen: settings) -> None:
    with untouched(houses) as house:

        def ask(target: bytes, method: bytes, body: bytes, head: bytes) -> None:
            assert asked(house, target, method, body, head) < 500

        def noise(data: bytes) -> None:
            with open_socket(Scene(house.running, 0, "")) as client:
                client.sendall(data + b"\r\n\r\n")

        chosen(given(targets(), METHODS, st.binary(max_size=100), HEADS)(ask))()
        chosen(given(st.binary(max_size=300))(noise))()


def fuzz_messages(houses: Houses, chosen: settings) -> None:
    with untouched(houses) as house:
        chosen(given(FRAMES)(lambda frames: send_frames(house, frames)))()


KINDS = pytest.mark.parametrize(
    "fuzz", [fuzz_files, fuzz_requests, fuzz_messages], ids=["files", "requests", "messages"]
)


@KINDS
def test_random_input_costs_only_itself(fuzz: Any, houses: Houses) -> None:
    fuzz(houses, QUICK)


@KINDS
@pytest.mark.long
@pytest.mark.timeout(900)
def test_much_random_input_costs_only_itself(fuzz: Any, houses: Houses) -> None:
    fuzz(houses, FUZZ)
