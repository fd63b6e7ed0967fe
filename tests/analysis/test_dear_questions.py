"""A dear question costs only itself: it is bounded in time and memory, ends with its client, and keeps no cheap one waiting."""

from __future__ import annotations

import itertools
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from analysis.blame import comparison
from analysis.stacks.threads import ThreadSelection
from collectors.records import Frame, Points, StackRecording, StackSpan, labels_of
from collectors.store import store as questions
from collectors.store.engines import open_store
from collectors.store.sqlite import points, stacks
from collectors.store.sqlite.engine import SqliteStore
from collectors.store.store import QueryAborted, QueryDeadline, asked
from dashboard import admission
from dashboard.http_server import GRACE_S
from dashboard.queries import Queries
from dashboard.stacks import flame
from dashboard.stacks.flame import Drawing, Strip, chart
from dashboard.stacks.stacks import strips
from tests.conftest import wait_for
from tests.support.serving import Answer, Web, served

DEAR_S = 20.0  # a question that is answered sooner did not wait for the dear ones
T0 = 1_764_000_000.0
MINUTES = 30
HOST = labels_of(host="box")
STEP = Frame("step", "/job/train.py", 3)


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Half an hour of a run: 20 stacks a second of two threads, 10 steps a second."""
    data_dir = tmp_path_factory.mktemp("dear")
    store = open_store(data_dir, write=True)
    for minute in range(MINUTES):
        start_s = T0 + minute * 60
        samples = [
            StackSpan(
                i * 5 * 10**7, 5 * 10**7, tid, (STEP, Frame(f"f{(i * tid) % 97}", "/job/model.py", 1 + i % 9)), False
            )
            for i in range(1200)
            for tid in (7, 8)
        ]
        about = ("a", 0, 7, "main", "box", "native", 20.0)
        store.append([StackRecording(*about, start_s, 0, 60 * 10**9, {7: "MainThread", 8: "Loader"}, samples, 2400)])
        steps = range(minute * 600, minute * 600 + 600)
        store.append([Points("a", HOST, ("loss", "phase/data_s"), (1.0, 0.05), T0 + step / 10, step) for step in steps])
    store.append(
        [Points("wide", HOST, tuple(f"s{i}" for i in range(150)), (1.0,) * 150, T0 + i, i) for i in range(3000)]
    )
    store.settle()
    store.close()
    return data_dir


@pytest.fixture
def web(data_dir: Path) -> Iterator[Web]:
    queries = Queries(open_store(data_dir, write=False), data_dir, data_dir)
    with served(queries) as web:
        yield web
    queries.close()


@pytest.mark.parametrize("path", ["flame", "flamechart", "blame"])
def test_an_endless_window_is_as_dear_as_what_was_recorded(web: Web, path: str) -> None:
    for window in ((0, 1e10), (-1e15, 1e15), (1e14, 1e15), (-1e300, 1e300)):
        begun_s = time.monotonic()
        answer = web.ask(f"/api/v1/{path}", run="a", from_=window[0], to=window[1])
        assert answer.status == 200 and time.monotonic() - begun_s < 60
        if path == "flame" and window[0] < T0:
            assert answer.json["seconds"] == pytest.approx(MINUTES * 60, rel=0.01)


def test_more_hours_than_may_be_asked_for_get_a_sentence(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flame, "MAX_ASKED", 20)
    answer = web.ask("/api/v1/flame", run="a", from_=0, to=1e10)
    assert answer.status == 400 and "hours of stacks" in answer.json["error"]


def test_more_stacks_than_may_be_read_at_once_get_a_sentence_or_the_nearest(
    web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    window = {"run": "a", "from_": T0 + 1200, "to": T0 + 1230}
    free = web.ask("/api/v1/blame", **window).json
    monkeypatch.setattr(stacks, "MAX_SPANS", 40_000)
    monkeypatch.setattr(comparison, "AFFORDABLE", 20_000)
    bounded = web.ask("/api/v1/blame", **window).json
    assert bounded["verdict"] == free["verdict"] and bounded["normal"] and free["normal"][0] <= bounded["normal"][0]
    monkeypatch.setattr(stacks, "MAX_SPANS", 1_000)
    refused = web.ask("/api/v1/blame", **window)
    assert refused.status == 400 and "choose a shorter one" in refused.json["error"]


def test_more_points_than_may_be_read_one_by_one_get_a_sentence(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(points, "MAX_OPENED", 1000)
    answer = web.ask("/api/v1/curves", run="a", expr="loss", buckets=20_000)
    assert not answer.json["curves"] and "choose a shorter one" in answer.json["left_out"][0]["reason"]


def test_many_series_share_the_buckets_of_an_answer(web: Web) -> None:
    answer = web.ask("/api/v1/curves", run="wide", expr="*", buckets=20_000).json
    assert len(answer["curves"]) == 150 and {one["points_total"] for one in answer["curves"]} == {3000}
    assert sum(len(one["x"]) for one in answer["curves"]) <= 200_000


def test_a_question_that_takes_too_long_ends_with_a_sentence(data_dir: Path) -> None:
    store = open_store(data_dir, write=False)
    late = asked.set(QueryDeadline(-1.0))
    try:
        for ask in (
            lambda: store.stacks(T0, T0 + 900, "a"),
            lambda: store.range([1], None, None),
            lambda: store.stack_counts(0, 1e10, "a"),
        ):
            try:
                ask()
            except QueryAborted as error:
                assert "took longer than" in str(error)
        with pytest.raises(QueryAborted, match="took longer than"):
            store.stacks(T0, T0 + 900, "a")
    finally:
        asked.reset(late)
        store.close()


def endless(monkeypatch: pytest.MonkeyPatch) -> tuple[threading.Event, threading.Event]:
    """Makes questions for stacks that never come to an end by themselves; set when one has begun, and when one has ended."""
    begun, ended = threading.Event(), threading.Event()

    def slow(*_: object) -> None:
        begun.set()
        try:
            while True:
                questions.check()
                time.sleep(0.01)
        finally:
            ended.set()

    monkeypatch.setattr(SqliteStore, "stack_counts", slow)
    return begun, ended


def test_a_question_ends_when_its_client_is_gone(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, ended = endless(monkeypatch)
    with socket.create_connection(("127.0.0.1", web.port)) as client:
        client.sendall(
            f"GET /api/v1/flamechart?run=a&from=0&to=1e10 HTTP/1.1\r\nHost: localhost:{web.port}\r\n\r\n".encode()
        )
        assert begun.wait(60)
        assert not ended.wait(0.3)
    assert ended.wait(60), "it goes on for nobody"


def test_a_server_that_ends_waits_for_no_question_and_answers_those_who_asked(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, ended = endless(monkeypatch)
    queries = Queries(open_store(data_dir, write=False), data_dir, data_dir)
    answers: list[Answer] = []
    with served(queries) as web:
        client = threading.Thread(
            target=lambda: answers.append(web.ask("/api/v1/flamechart", run="a", from_=0, to=1e10))
        )
        client.start()
        assert begun.wait(60)
        assert web.server is not None
        web.server.should_exit = True
        assert ended.wait(GRACE_S + 60)
        client.join()
    queries.close()
    assert answers[0].status == 503 and "ending" in answers[0].json["error"]


def test_dear_questions_take_turns_and_keep_cheap_ones_from_waiting(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    at_work, most, release = itertools.count(), [0], threading.Event()
    working: set[int] = set()

    def slow(*_: object) -> list[tuple[float, float, int]]:
        me = next(at_work)
        working.add(me)
        most[0] = max(most[0], len(working))
        release.wait(DEAR_S)
        working.discard(me)
        return []

    monkeypatch.setattr(SqliteStore, "stack_counts", slow)
    clients = [Web(web.port) for _ in range(60)]
    threads = [
        threading.Thread(target=lambda one=one: one.ask("/api/v1/flamechart", run="a", from_=T0, to=T0 + 60))
        for one in clients
    ]
    for thread in threads:
        thread.start()
    others = admission.STACKS.at_once - 1  # one turn stays free for another client
    wait_for(lambda: most[0] == others)
    for path in ("/healthz", "/api/v1/runs", "/api/v1/curves?run=a&expr=loss", "/"):
        begun_s = time.monotonic()
        assert web.ask(path).status == 200
        assert time.monotonic() - begun_s < DEAR_S / 2, path
    assert most[0] == others
    release.set()
    for thread, client in zip(threads, clients, strict=True):
        thread.join()
        client.close()


def test_too_many_that_wait_are_told_to_ask_again(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = admission.RequestClass("none", at_once=1, waiting=0, most_s=1.0)
    monkeypatch.setitem(admission.KINDS, "/api/v1/blame", kind)
    queries = Queries(open_store(Path("/nowhere"), write=False), Path("/nowhere"), Path("/nowhere"))
    with served(queries) as other:
        answer = other.ask("/api/v1/blame", run="a", from_=0, to=1)
    queries.close()
    assert answer.status == 503 and "ask again" in answer.json["error"]


@pytest.mark.parametrize("view", ["main", "threads"])
@pytest.mark.parametrize("cuts", [[0, 1200], [0, 1, 437, 1199, 1200], [*range(0, 1201, 60)]])
def test_a_chart_drawn_in_strips_is_the_chart(data_dir: Path, view: str, cuts: list[int]) -> None:
    store = open_store(data_dir, write=False)
    window, lanes = (T0 + 3.31, T0 + 63.31), ThreadSelection(view)  # type: ignore[arg-type]
    whole = chart(store.stacks(*window, "a"), window, 1200, lanes)
    drawing = Drawing(window, 1200, lanes)
    for strip in map(Strip, cuts, cuts[1:]):
        drawing.add(store.stacks(*drawing.window_of(strip), "a"), strip)
    store.close()
    drawn = drawing.chart()
    for one, other in zip(drawn.lanes, whole.lanes, strict=True):
        assert one.tid == other.tid and one.seconds == pytest.approx(other.seconds)
        assert names(drawn, one.spans.frame) == names(whole, other.spans.frame)
        np.testing.assert_allclose(one.spans.start, other.spans.start)


def names(chart: flame.Chart, frames: list[int]) -> list[str]:
    return [chart.frames[frame].name for frame in frames]


def test_strips_cover_the_picture_and_hold_little(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = [(T0 + i, T0 + i + 1, 10_000 if i % 10 else 500_000) for i in range(100)]
    found = [*strips((T0, T0 + 100), 50, counts)]
    assert [strip.first for strip in found] == [0, *(strip.end for strip in found[:-1])] and found[-1].end == 50
    assert len(found) > 5
    assert [*strips((0.0, 1e10), 50, [])] == [Strip(0, 50)]


def test_a_chart_that_would_be_too_large_leaves_threads_out(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flame, "MAX_BARS", 10)
    store = open_store(data_dir, write=False)
    drawn = chart(store.stacks(T0, T0 + 60, "a"), (T0, T0 + 60), 100, ThreadSelection("threads"))
    store.close()
    assert (len(drawn.lanes), drawn.left_out) == (1, 1)
