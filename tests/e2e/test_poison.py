"""Whatever stands in the files of one run, another run is read completely and in time, and the file at fault is named."""

from __future__ import annotations

import json
import os
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collectors.records import Offset
from collectors.store.store import LogQuery
from tests.support.ingesting import MAX_PASSES, Ingest

T = TypeVar("T")


@pytest.fixture
def ingest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ingest]:
    monkeypatch.setattr("collectors.logs.tail.BACK_OFF_S", (0.1, 1.0))
    ingest = Ingest(tmp_path / "logs")
    yield ingest
    ingest.close()


def cases(poisons: dict[str, T], *now: str) -> list[Any]:
    """All of them in `make test-long`, a few now."""
    assert set(now) <= poisons.keys()
    marks = {name: () if name in now else (pytest.mark.long,) for name in poisons}
    return [pytest.param(value, id=name, marks=marks[name]) for name, value in poisons.items()]


def nested(depth: int) -> str:
    return '{"a":' * depth + "1" + "}" * depth


INFOS = {
    "a seed of 127 bits": json.dumps({"config": {"seed": 2**127}}),
    "an argument that is not UTF-8": json.dumps({"command": "python caf\udce9.py"}),
    "raw bytes that are not UTF-8": b'{"command": "python caf\xe9.py", "pid": 7}',
    "300 levels": nested(300),
    "990 levels": nested(990),
    "100,000 levels": nested(100_000),
    "5 MB": json.dumps({"config": {f"key-{i}": "x" * 100 for i in range(45_000)}}),
    "one text of 5 MB": json.dumps({"config": {"text": "x" * 5_000_000}}),
    "a list": "[1, 2]",
    "half of it": '{"pid": 7, "host": "bo',
    "nothing": "",
    "NaN": '{"config": {"lr": NaN, "wd": -Infinity}}',
    "numbers of any size": '{"pid": 1e400, "world_size": -1e30, "started_s": 1%s}' % ("0" * 5000),
    "a start as text": '{"started_s": "2026-11-25T10:00:00", "pid": "7", "host": 7, "cwd": ["/"], "config": 3, "world_size": {}}',
    "null everywhere": json.dumps(
        dict.fromkeys(["run", "kind", "unit", "pid", "host", "started_s", "config", "cwd", "command"])
    ),
}

LINES = {
    "a step of 1e30": '{"time_s": 1764000000, "kind": "note", "step": 1e30}',
    "a step of NaN": '{"time_s": 1764000000, "kind": "note", "step": NaN}',
    "a time of NaN": '{"time_s": NaN, "kind": "note"}',
    "a time in milliseconds": '{"time_s": 1764000000000, "kind": "note", "x": 1}',
    "a time below zero": '{"time_s": -5, "kind": "note", "x": 1}',
    "a rank of Infinity": '{"time_s": 1764000000, "kind": "start", "rank": "Infinity"}',
    "a rank that is huge": '{"time_s": 1764000000, "kind": "start", "rank": 1e300}',
    "half a surrogate pair": '{"time_s": 1764000000, "kind": "\\ud800", "text": "\\udfff", "a\\ud800": 1, "b": "\\ud800", "big": NaN}',
    "a name with NUL": '{"time_s": 1764000000, "kind": "note", "a\\u0000b": 1}',
    "no name": '{"time_s": 1764000000, "kind": "note", "": 1}',
    "a name of 100,000 characters": '{"time_s": 1764000000, "kind": "note", "%s": 1}' % ("x" * 100_000),
    "300 levels": '{"time_s": 1764000000, "kind": "note", "a": ' + nested(300) + "}",
    "990 levels": '{"time_s": 1764000000, "kind": "note", "a": ' + nested(990) + "}",
    "lists in lists": '{"time_s": 1764000000, "kind": "start", "a": ' + "[" * 900 + "]" * 900 + "}",
    "127 bits": '{"time_s": 1764000000, "kind": "start", "pid": 1%s, "seed": 7}' % ("0" * 38),
    "5,000 digits": '{"time_s": 1764000000, "kind": "start", "pid": 1%s}' % ("0" * 5000),
    "70,000 names": json.dumps({"time_s": 1764000000, "kind": "note", **{f"n{i}": 1.5 for i in range(70_000)}}),
    "the same name twice": '{"time_s": 1764000000, "kind": "note", "a": {"b": 1}, "a/b": 2}',
    "fields of all types": '{"time_s": [], "kind": {}, "rank": [1], "step": {"a": 1}, "seconds": "x", "text": {"a": [1]}}',
}

TEXTS = {
    "Go's zero time": b"0001-01-01 00:00:00 INFO hello\n",
    "the year 9999": b"9999-12-31T23:59:59.999999999Z ERROR hello\n",
    "no time there is": b"2026-02-31 25:61:61 hello\n0000-00-00 00:00:00+99:99 hello\nI1399 99:99:99.9 hello\n",
    "not UTF-8": b"caf\xe9 \xff\xfe \xed\xa0\x80\n",
    "NUL bytes": b"\0" * 1000 + b"\n",
    "a mebibyte without a newline": b"x" * 3_000_000,
    "a million empty lines": b"\n" * 1_000_000,
    "colours and controls": b"\x1b[31m\x1b[999999999C\r\r\r\x07\n",
}


def fifo(path: Path) -> None:
    os.mkfifo(path)


def device(path: Path) -> None:
    os.mknod(path, 0o020666, os.makedev(1, 5))  # /dev/zero, which never ends


def unix_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))


def link_outside(path: Path) -> None:
    outside = path.parents[2] / "outside.jsonl"
    outside.write_text('{"time_s": 1764000000.0, "kind": "start", "secret": 1.5}\n')
    path.symlink_to(outside)


def link_to_itself(path: Path) -> None:
    path.symlink_to(path)


def link_to_nothing(path: Path) -> None:
    path.symlink_to("nothing")


def folder(path: Path) -> None:
    path.mkdir()


OTHER_NAMES = ["metrics.jsonl", "events.jsonl", "run.json"]
KINDS: dict[Callable[[Path], None], str] = {
    fifo: "is a pipe (FIFO)",
    device: "is a device",
    unix_socket: "is a socket",
    link_outside: "is a link that leaves the log folder",
    link_to_nothing: "is a link to nothing",
    link_to_itself: "cannot be read (Too many levels of symbolic links)",
    folder: "is a folder",
}


def assert_healthy(ingest: Ingest, poison: Callable[[], object]) -> None:
    """A run that is followed goes on beside the poison, noticed and read first, and after a restart beside it as well."""
    ingest.health_passes()
    poison()
    assert max(ingest.health_passes() for _ in range(3)) <= MAX_PASSES
    ingest.until(lambda: ingest.tail.period_s, "the poison is never read to its end")
    ingest.restart()
    assert ingest.health_passes() <= MAX_PASSES
    assert ingest.store.runs(), "all that is asked for is answered"
    ingest.store.offsets(), ingest.store.events(), ingest.store.logs(LogQuery()), ingest.store.series("poison")


def put(ingest: Ingest, name: str, content: bytes | str) -> None:
    folder = ingest.root / "poison"
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)


@pytest.mark.parametrize(
    "content", cases(INFOS, "a seed of 127 bits", "raw bytes that are not UTF-8", "300 levels", "a start as text")
)
def test_any_run_json(content: bytes | str, ingest: Ingest) -> None:
    assert_healthy(ingest, lambda: put(ingest, "run.json", content))
    run = ingest.run("poison")
    assert run is None or len(json.dumps(run.info)) < 100_000


@pytest.mark.parametrize("name", ["events.jsonl", pytest.param("metrics.jsonl", marks=pytest.mark.long)])
@pytest.mark.parametrize(
    "content", cases(LINES, "a step of 1e30", "a time of NaN", "half a surrogate pair", "990 levels")
)
def test_any_line(content: str, name: str, ingest: Ingest) -> None:
    good = '{"time_s": 1764000001, "kind": "good", "good": 1}'
    assert_healthy(ingest, lambda: put(ingest, name, f"{good}\n{content}\n{good}\n"))
    if name == "events.jsonl":
        assert [event.kind for event in ingest.store.events("poison") if event.kind == "good"] == ["good", "good"]
    else:
        (series,) = ingest.store.series("poison", "good")
        assert series.points == 2


@pytest.mark.parametrize("content", cases(TEXTS, "Go's zero time", "not UTF-8"))
def test_any_text(content: bytes, ingest: Ingest) -> None:
    assert_healthy(ingest, lambda: put(ingest, "x.log", b"good\n" + content + b"\ngood\n"))
    lines = ingest.store.logs(LogQuery(run="poison", text="good")).lines
    assert len(lines) == 2
    assert all(abs(line.time_s - time.time()) < 60 for line in lines), "a stamp that no clock can mean is not believed"


@pytest.mark.parametrize("name", ["x.log", *(pytest.param(name, marks=pytest.mark.long) for name in OTHER_NAMES)])
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_what_is_no_file_is_set_aside_named_and_taken_up_when_it_is_one(
    kind: Callable[[Path], None], name: str, ingest: Ingest
) -> None:
    path = ingest.root / "poison" / name
    path.parent.mkdir()
    if kind is device and os.geteuid() != 0:
        pytest.skip("only root makes devices")
    assert_healthy(ingest, lambda: kind(path))
    ingest.until(
        lambda: f"poison/{name} {KINDS[kind]}" in ingest.tail.trouble(), f"not named: {ingest.tail.trouble()!r}"
    )
    assert KINDS[kind] in aside(ingest, f"poison/{name}")
    run = ingest.run("poison")
    assert run and run.files_aside == 1 and KINDS[kind] in run.trouble
    shutil.rmtree(path) if kind is folder else path.unlink()
    path.write_text('{"time_s": 1764000001, "kind": "good", "good": 1}\n')
    ingest.until(lambda: not ingest.tail.trouble(), "it is never tried again")
    ingest.until(lambda: not aside(ingest, f"poison/{name}"), "the trouble stays in the store")


def aside(ingest: Ingest, path: str) -> str:
    known: Offset | None = ingest.store.offsets().get(path)
    return known.trouble if known else ""


def test_what_is_set_aside_and_then_removed_is_no_trouble_any_more(ingest: Ingest) -> None:
    put(ingest, "other.log", "x\n")
    os.mkfifo(ingest.root / "poison" / "x.log")
    ingest.until(lambda: aside(ingest, "poison/x.log"), "not set aside")
    ingest.restart()
    assert ingest.tail.trouble()
    (ingest.root / "poison" / "x.log").unlink()
    ingest.until(lambda: not ingest.tail.trouble() and not aside(ingest, "poison/x.log"), "still in trouble")


@pytest.mark.parametrize("name", [b"caf\xe9.log", b"caf\xe9.jsonl", b"\xff\xfe/metrics.jsonl", b"a'\"\\\n\x07.log"])
def test_a_name_of_any_bytes_is_read_and_shown_inert(name: bytes, ingest: Ingest) -> None:
    def poison() -> None:
        path = Path(os.fsdecode(os.fsencode(ingest.root) + b"/poison/" + name))
        path.parent.mkdir(parents=True)
        path.write_text('{"time_s": 1764000001, "good": 1}\n')

    assert_healthy(ingest, poison)
    paths = [path for path in ingest.store.offsets() if not path.startswith("healthy")]
    assert len(paths) == 1 and paths[0].encode()
    assert len(ingest.store.runs()) == 2
    if name.startswith(b"caf"):
        assert paths[0].startswith("poison/caf\\xe9.")


def test_a_parser_that_fails_costs_the_line(ingest: Ingest, monkeypatch: pytest.MonkeyPatch) -> None:
    from collectors.logs.formats import text

    def fail(line: str) -> int:
        if "poison" in line:
            raise ZeroDivisionError("a fault of ours")
        return 0

    monkeypatch.setattr(text, "level_of", fail)
    assert_healthy(ingest, lambda: put(ingest, "x.log", "good\npoison\ngood\n"))
    assert len(ingest.store.logs(LogQuery(run="poison")).lines) == 2
    offset = ingest.store.offsets()["poison/x.log"]
    assert (offset.lines_read, offset.lines_skipped, offset.first_skip) == (
        3,
        1,
        "line 2: cannot be read (ZeroDivisionError)",
    )


def test_a_file_that_the_system_cannot_read_costs_that_file(ingest: Ingest, monkeypatch: pytest.MonkeyPatch) -> None:
    put(ingest, "x.log", "one\n")
    put(ingest, "y.log", "one\n")
    ingest.until(lambda: (run := ingest.run("poison")) and run.lines_read == 2, "not read")
    inode, real = (ingest.root / "poison" / "x.log").stat().st_ino, os.pread

    def pread(descriptor: int, size: int, offset: int) -> bytes:
        if os.fstat(descriptor).st_ino == inode:
            raise OSError(5, "Input/output error")
        return real(descriptor, size, offset)

    with monkeypatch.context() as broken:
        broken.setattr(os, "pread", pread)
        for name in ("x.log", "y.log"):
            with (ingest.root / "poison" / name).open("a") as file:
                file.write("two\n")
        assert ingest.health_passes() <= MAX_PASSES
        ingest.until(lambda: ingest.tail.trouble(), "not named")
        assert ingest.tail.trouble() == "poison/x.log cannot be read (Input/output error); it is tried again"
        ingest.until(
            lambda: len(ingest.store.logs(LogQuery(run="poison", text="two")).lines) == 1, "the other file is lost"
        )
    ingest.until(lambda: len(ingest.store.logs(LogQuery(run="poison", text="two")).lines) == 2, "not taken up again")
    assert [line.text for line in ingest.store.logs(LogQuery(run="poison")).lines].count("one") == 2, "nothing twice"
    assert not ingest.tail.trouble()


def test_a_file_that_is_to_be_left_alone_is_set_aside_until_it_need_not(
    ingest: Ingest, monkeypatch: pytest.MonkeyPatch
) -> None:
    reasons, at_work_on = {"poison/x.log": "made the tail hang"}, []
    monkeypatch.setattr(
        ingest.tail, "_left_alone", lambda path: at_work_on.append(ingest.tail.at_work_on) or reasons.get(path, "")
    )
    put(ingest, "x.log", "one\n")
    put(ingest, "y.log", "one\n")
    ingest.until(lambda: ingest.tail.trouble() == "poison/x.log made the tail hang", "it is read")
    assert aside(ingest, "poison/x.log") == "made the tail hang" and ingest.health_passes() <= MAX_PASSES
    reasons.clear()
    ingest.until(lambda: len(ingest.store.logs(LogQuery(run="poison")).lines) == 2, "it is not read when it may be")
    assert {"poison/x.log", "poison/y.log", "healthy/metrics.jsonl"} <= set(at_work_on) and ingest.tail.at_work_on == ""


def test_the_log_folder_goes_and_comes_back(ingest: Ingest) -> None:
    for _ in range(3):
        assert ingest.health_passes() <= MAX_PASSES
        shutil.rmtree(ingest.root)
        ingest.turn()
        assert ingest.tail.trouble().startswith(f"the log folder {ingest.root} is gone")
        ingest.root.mkdir()
        ingest.health_passes(5)  # its steps go on, in files that are new
        assert not ingest.tail.trouble()


def test_another_folder_takes_the_log_folders_name(ingest: Ingest) -> None:
    ingest.health_passes()
    ingest.root.rename(ingest.root.with_name("old"))
    ingest.root.mkdir()
    ingest.health_passes(5)
    ingest.until(lambda: ingest.tail.period_s, "there is always more to read")
    assert max(ingest.health_passes(2) for _ in range(3)) <= MAX_PASSES


def test_runs_that_flap_leave_the_others_alone(ingest: Ingest) -> None:
    ingest.health_passes()
    for _ in range(20):
        put(ingest, "metrics.jsonl", '{"step": 1, "x": 1}\n')
        ingest.turn()
        shutil.rmtree(ingest.root / "poison")
        assert ingest.health_passes(1) <= MAX_PASSES
    put(ingest, "metrics.jsonl", '{"step": 1, "x": 1}\n' * 3)
    ingest.until(lambda: ingest.store.offsets()["poison/metrics.jsonl"].lines_read == 3, "not read in the end")


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    files=st.lists(
        st.tuples(
            st.sampled_from(
                ["run.json", "events.jsonl", "metrics.jsonl", "metrics.rank1.jsonl", "events.rank1.jsonl", "x.log"]
            ),
            st.lists(
                st.one_of(
                    st.binary(max_size=60),
                    st.recursive(
                        st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=20),
                        lambda inner: (
                            st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
                        ),
                        max_leaves=12,
                    ).map(lambda value: json.dumps(value).encode()),
                    st.dictionaries(
                        st.sampled_from(
                            ["time_s", "step", "kind", "rank", "text", "seconds", "loss", "pid", "started_s"]
                        ),
                        st.floats()
                        | st.integers()
                        | st.text(max_size=5)
                        | st.just("start")
                        | st.lists(st.integers(), max_size=2),
                    ).map(lambda value: json.dumps(value).encode()),
                ),
                max_size=12,
            ).map(b"\n".join),
        ),
        max_size=6,
    )
)
def test_any_bytes_in_any_file_of_a_run_leave_another_run_alone(ingest: Ingest, files: list[tuple[str, bytes]]) -> None:
    for name, content in files:
        put(ingest, name, content + b"\n")
    assert ingest.health_passes(3) <= MAX_PASSES
    ingest.store.runs(), ingest.store.events(), ingest.store.logs(LogQuery(run="poison")), ingest.store.series("poison")
