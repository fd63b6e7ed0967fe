"""The HTTP and WebSocket contracts, against a real dashboard over a folder with known lines."""

from __future__ import annotations

import asyncio
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import websockets

from analysis.traces.summary import summary_of_file
from collectors.records import Frame, StackRecording, StackSpan
from collectors.store.engines import open_store
from dashboard.queries import Queries
from tests.conftest import Dashboard, dashboard, wait_for
from tests.support.serving import run

T0 = 1_764_000_000.0
SPIKE_STEP = 617


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    log_dir = tmp_path_factory.mktemp("api") / "logs"
    run = log_dir / "group" / "a"
    run.mkdir(parents=True)
    with (run / "metrics.jsonl").open("w") as file:
        for step in range(1000):
            loss = 234.5 if step == SPIKE_STEP else 1.0
            file.write(json.dumps({"time_s": T0 + step, "step": step, "train/loss": loss, "other": step}) + "\n")
        file.write('{"time_s": %r, "step": 1000, "train/loss": NaN}\nnot json\n' % (T0 + 1000))
    (run / "train.log").write_text("2025-11-24 16:00:00+00:00 INFO one\n2025-11-24 16:00:01+00:00 ERROR <b>two</b>\n")
    (run / "run.json").write_text(json.dumps({"run": "group/a", "cwd": str(log_dir.parent / "job")}))
    (log_dir.parent / "job").mkdir()
    (log_dir.parent / "job" / "data.py").write_text("def decode():\n    return 1\n")
    (log_dir.parent / "secret.py").write_text("password = 1\n")
    profile(log_dir)
    (run / "events.jsonl").write_text('{"time_s": 1764000500.0, "kind": "checkpoint", "step": 500, "seconds": 0.25}\n')
    with dashboard(log_dir) as running:
        wait_for(lambda: running.run("group/a").get("points") == 2001)
        wait_for(lambda: running.run("group/a").get("lines_read") >= 1005)
        yield running


@pytest.mark.parametrize(
    ("state", "run", "said"),
    [("on", "a", ""), ("refused", "a", ""), ("refused", "b", "No."), ("off", "a", "All."), ("off", "b", "All.")],
)
def test_a_flame_graph_names_the_trouble_of_its_own_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, state: str, run: str, said: str
) -> None:
    theirs = {"b": {"state": "refused", "sentence": "No.", "remedy": "become root"}}
    answer = {"state": state, "sentence": "All.", "remedy": "", "sampler": "native", "runs": theirs}
    monkeypatch.setattr("dashboard.queries.ask", lambda *_: {"profile": answer})
    note = Queries(open_store(tmp_path, write=False), tmp_path, tmp_path).profiler(run).note
    assert (note.sentence if note else "") == said


def profile(log_dir: Path) -> None:
    """Steps of a second, all of it in `forward`; from 300 s on half of it in `decode`, which a link of the same folder names, too."""
    job = log_dir.parent / "job"
    step, forward = Frame("step", str(job / "train.py"), 3), Frame("forward", str(job / "model.py"), 5)
    decode, elsewhere = Frame("decode", str(job / "data.py"), 2), Frame("decode", str(log_dir.parent / "secret.py"), 1)
    times = [(t, (step, forward) if t < 300 or t % 2 else (step, decode)) for t in range(100, 400)] + [
        (400, (step, elsewhere))
    ]
    samples = [StackSpan((t - 100) * 10**9, 10**9, 7, stack, False) for t, stack in times]
    about = ("group/a", 0, 7, "main", "box", "native", 100.0)
    store = open_store(log_dir / ".deepseek", write=True)
    store.append([StackRecording(*about, T0 + 100, 0, 301 * 10**9, {7: "MainThread"}, samples, 30100)])
    store.close()


def status_of(running: Dashboard, path: str, **headers: str) -> tuple[int, Any]:
    try:
        with urllib.request.urlopen(urllib.request.Request(running.address + path, headers=headers)) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def test_runs_tell_state_extent_and_what_was_skipped(running: Dashboard) -> None:
    run = running.run("group/a")
    assert (run["state"], run["state_reason"]) == ("ended", "")
    assert (run["last_step"], run["last_time_s"], run["series"], run["points"]) == (1000, T0 + 1000, 2, 2001)
    assert (run["lines_skipped"], run["fields_skipped"]) == (1, 0)


def test_files_tell_the_first_reason_and_line_number(running: Dashboard) -> None:
    files = {file["path"]: file for file in running.get("/api/v1/files?run=group/a")["files"]}
    assert files["group/a/metrics.jsonl"]["first_skip"] == "line 1002: not JSON"


def test_series_are_found_by_substring_and_by_glob(running: Dashboard) -> None:
    def names(match: str) -> list[str]:
        return [one["name"] for one in running.get(f"/api/v1/series?run=group/a&match={match}")["series"]]

    assert names("LOSS") == ["train/loss"]
    assert names("*other") == ["other"]
    assert names("oth*s") == []


def test_with_enough_buckets_each_point_is_its_own(running: Dashboard) -> None:
    (other,) = running.get("/api/v1/curves?run=group/a&expr=other&buckets=2000")["curves"]
    assert other["last"] == list(range(1000))
    assert other["x"] == other["x_end"] == [T0 + step for step in range(1000)]
    assert (other["count"], other["points_total"]) == ([1] * 1000, 1000)


@pytest.mark.parametrize("buckets", [1, 2, 7, 100, 999])
@pytest.mark.parametrize("axis", ["time", "step"])
def test_a_one_step_spike_is_always_in_the_answer(running: Dashboard, buckets: int, axis: str) -> None:
    (loss,) = running.get(f"/api/v1/curves?run=group/a&expr=train/loss&x={axis}&buckets={buckets}")["curves"]
    assert max(value for value in loss["max"] if value is not None) == 234.5
    assert len(loss["x"]) <= buckets
    assert sum(loss["count"]) == loss["points_total"] == 1001


def test_a_range_is_inclusive_at_both_ends(running: Dashboard) -> None:
    (other,) = running.get("/api/v1/curves?run=group/a&expr=other&x=step&from=10&to=12")["curves"]
    assert other["last"] == [10, 11, 12]


def test_nan_travels_as_a_string(running: Dashboard) -> None:
    (loss,) = running.get(f"/api/v1/curves?run=group/a&expr=train/loss&from={T0 + 999}")["curves"]
    assert loss["last"] == [1.0, "NaN"]
    assert (loss["min"], loss["non_finite"]) == ([1.0, None], [0, 1])


def test_logs_are_searched_and_filtered_by_level(running: Dashboard) -> None:
    page = running.get("/api/v1/logs?run=group/a&q=TWO&level=40")
    assert (page["total"], page["lines"][0]["text"]) == (1, "2025-11-24 16:00:01+00:00 ERROR <b>two</b>")
    assert running.get("/api/v1/logs?run=group/a&q=three")["lines"] == []


def test_events_carry_their_length(running: Dashboard) -> None:
    (event,) = running.get("/api/v1/events?run=group/a")["events"]
    assert (event["kind"], event["step"], event["seconds"]) == ("checkpoint", 500, 0.25)


WINDOW = f"run=group/a&from={T0 + 310}&to={T0 + 370}"


def test_a_window_is_a_tree_beside_the_runs_normal(running: Dashboard) -> None:
    flame = running.get(f"/api/v1/flame?{WINDOW}&baseline=normal")
    names = [flame["frames"][i]["name"] for i in flame["nodes"]["frame"]]
    assert names == ["group/a main thread", "step", "decode", "forward"]
    assert flame["nodes"]["total_s"] == pytest.approx([60, 60, 30, 30], abs=1.01)
    assert (flame["units"], flame["per"], flame["ranks"]) == (pytest.approx(60), "step", [0])
    assert flame["nodes"]["base_total_s"][0] == pytest.approx(flame["baseline_units"], rel=0.02)
    assert {"normal", "unresolved_share", "threads", "phases", "profile_until", "note", "sampler", "hz"} <= flame.keys()
    assert flame["profile_until"] == T0 + 401


def test_a_tree_takes_other_shapes(running: Dashboard) -> None:
    inverted = running.get(f"/api/v1/flame?{WINDOW}&invert=true&hide=forward")
    assert [inverted["frames"][i]["name"] for i in inverted["nodes"]["frame"]][1:] == ["decode", "step", "step"]
    focused = running.get(f"/api/v1/flame?{WINDOW}&focus=DATA.py&roll=file")
    assert [focused["frames"][i]["name"] for i in focused["nodes"]["frame"]][1:] == ["data.py"]
    beside = running.get(f"/api/v1/flame?{WINDOW}&baseline={T0 + 200}-{T0 + 230}")
    assert (beside["baseline_seconds"], beside["normal"]) == (30, [[T0 + 200, T0 + 230]])


def test_a_window_is_exported_for_other_programs(running: Dashboard) -> None:
    speedscope = running.get(f"/api/v1/flame?{WINDOW}&format=speedscope")
    assert sum(speedscope["profiles"][0]["weights"]) == pytest.approx(60)
    with urllib.request.urlopen(f"{running.address}/api/v1/flame?{WINDOW}&format=folded") as answer:
        assert sum(int(line.rpartition(" ")[2]) for line in answer.read().decode().splitlines()) == pytest.approx(60e6)


def test_a_window_is_exported_as_a_trace(running: Dashboard, tmp_path: Path) -> None:
    trace = running.get(f"/api/v1/flame?{WINDOW}&format=perfetto")
    slices = [event for event in trace["traceEvents"] if event["ph"] == "X"]
    outer = [event for event in slices if event["name"].endswith(": step")]
    assert sum(event["dur"] for event in outer) == pytest.approx(60e6, rel=0.02)
    numbers = [event["name"] for event in slices if event["cat"] == "user_annotation"]
    assert len(numbers) == pytest.approx(60, abs=2) and all(name.startswith("ProfilerStep#") for name in numbers)
    of_ranks = [running.get(f"/api/v1/flame?{WINDOW}&format=perfetto&rank={rank}")["traceEvents"] for rank in (0, 5)]
    stacks = [sum(event.get("cat") == "python_function" for event in events) for events in of_ranks]
    assert stacks == [len(slices) - len(numbers), 0]
    (tmp_path / "window.trace.json").write_text(json.dumps(trace))
    found = summary_of_file(tmp_path / "window.trace.json", tmp_path)
    assert found.from_s == pytest.approx(T0 + 310, abs=1.01)
    assert {"decode", "forward"} <= {kernel.stack[-1].name for kernel in found.kernels}


def test_a_window_is_a_chart_in_time_order(running: Dashboard) -> None:
    chart = running.get(f"/api/v1/flamechart?{WINDOW}&width=60")
    (lane,) = chart["lanes"]
    assert (lane["name"], lane["depth"], lane["spans"]["depth"].count(0)) == ("MainThread", 2, 1)
    assert lane["spans"]["depth"].count(1) == 60
    assert (chart["from"], chart["to"], chart["profile_until"]) == (T0 + 310, T0 + 370, T0 + 401)


def test_a_window_is_blamed_on_a_line(running: Dashboard) -> None:
    blame = running.get(f"/api/v1/blame?{WINDOW}")
    assert blame["verdict"] == "no_difference", "steps take a second, whatever they do"
    nothing = running.get(f"/api/v1/blame?run=group/a&from={T0 + 800}&to={T0 + 810}")
    assert (nothing["verdict"], nothing["function"], nothing["evidence"][0]["name"]) == ("no_profile", None, "Steps/s")


def test_source_lines_are_those_of_the_runs_own_folder_that_were_shown(running: Dashboard) -> None:
    running.get(f"/api/v1/flame?run=group/a&from={T0 + 310}&to={T0 + 401}")
    job = running.log_dir.parent / "job"
    shown = running.get(f"/api/v1/source?run=group/a&file={job / 'data.py'}&line=2")
    assert (shown["first"], shown["lines"]) == (1, ["def decode():", "    return 1"])
    assert running.get("/api/v1/source?run=group/a&file=%E2%80%A6%2Fdata.py&line=2")["lines"] == shown["lines"], (
        "as viewers are shown it"
    )
    for file in (running.log_dir.parent / "secret.py", job / ".." / "secret.py", job / "unseen.py"):
        code, body = status_of(running, f"/api/v1/source?run=group/a&file={file}")
        assert (code, "password" in body["error"]) == (404, False)


@pytest.mark.parametrize(
    ("path", "status", "remedy"),
    [
        ("/api/v1/curves?run=group/a", 400, "/api/docs lists"),
        ("/api/v1/curves?run=group/a&expr=x&buckets=0", 400, "/api/docs lists"),
        ("/api/v1/curves?run=group/a&expr=a%20b", 400, "column 3"),
        ("/api/v1/curves?run=nope&expr=x", 404, "/api/v1/runs lists"),
        ("/api/v1/run?run=nope", 404, "/api/v1/runs lists"),
        ("/api/v1/flame?run=group/a&from=0&to=later", 400, "/api/docs lists"),
        ("/api/v1/flame?run=group/a&from=2&to=1", 400, "later than from"),
        ("/api/v1/flame?run=nope&from=1&to=2", 404, "/api/v1/runs lists"),
        ("/api/v1/blame?run=nope&from=1&to=2", 404, "/api/v1/runs lists"),
        ("/api/v1/flamechart?run=group/a&from=1&to=2&width=0", 400, "/api/docs lists"),
        ("/api/v1/source?run=group/a&file=/etc/passwd", 404, "flame graph"),
        ("/api/v1/nothing", 404, "/api/docs lists"),
        ("/api/v1/series?run=nope", 404, "/api/v1/runs lists"),
        ("/api/v1/files?run=nope", 404, "/api/v1/runs lists"),
        ("/api/v1/events?run=nope", 404, "/api/v1/runs lists"),
        ("/api/v1/logs?run=nope", 404, "/api/v1/runs lists"),
        ("/api/v1/curves?run=group/a&expr=other&from=2&to=1", 400, "before from"),
        ("/api/v1/flame?run=group/a&from=-inf&to=1", 400, "finite"),
        ("/api/v1/blame?run=group/a&from=1&to=nan", 400, "finite"),
        ("/api/v1/flame?run=group/a&from=1&to=2&baseline=9-3", 400, "later than from"),
        ("/api/v1/flame?run=group/a&from=1&to=2&baseline=yesterday", 400, "FROM-TO in Unix seconds"),
        ("/api/v1/flame?run=group/a&from=1&to=2&baseline=@nope", 404, "/api/v1/runs lists"),
        ("/api/v1/blame?run=group/a&from=1&to=2&baseline=@group/a", 400, "see /flame"),
        ("/api/v1/ledger?run=group/a&rank=0", 400, "give from and to"),
        ("/api/v1/ledger?run=nope&from=1&to=2", 404, "/api/v1/runs lists"),
        ("/api/v1/ledger?run=group/a&from=2&to=1", 400, "later than from"),
        ("/api/v1/ledger?run=group/a&from=1&to=nan", 400, "finite"),
        ("/api/v1/logs?before=99999999999999999999", 400, "/api/docs lists"),
        ("/_dash-component-suites/..%2f..%2fetc/passwd", 404, "no file"),
        ("/_dash-component-suites/dash/dash.py", 404, "no file"),
        ("/_dash-update-component", 404, "/api/docs lists"),
    ],
)
def test_a_wrong_request_gets_one_sentence_with_the_remedy(
    running: Dashboard, path: str, status: int, remedy: str
) -> None:
    code, body = status_of(running, path)
    assert code == status
    assert remedy in body["error"]


@pytest.mark.parametrize("headers", [{"Host": "evil.example"}, {"Origin": "http://evil.example"}, {"Origin": "null"}])
@pytest.mark.parametrize("path", ["/api/v1/runs", "/healthz", "/", "/assets/tokens.css"])
def test_foreign_hosts_and_origins_are_refused_on_every_route(
    running: Dashboard, path: str, headers: dict[str, str]
) -> None:
    assert status_of(running, path, **headers)[0] == 403


@pytest.mark.parametrize(
    "host", ["x@127.0.0.1", "127.0.0.1:80@evil.example", "localhost:x", "127.0.0.1.evil.example", "localhost/x"]
)
def test_a_host_that_only_looks_like_loopback_is_refused(running: Dashboard, host: str) -> None:
    assert status_of(running, "/healthz", Host=host)[0] == 403


@pytest.mark.parametrize(
    ("path", "status"), [("/api/v1/runs", 403), ("/healthz", 403), ("/metrics", 403), ("/", 200), ("/flame", 200)]
)
def test_a_page_of_another_site_may_link_here_but_not_ask(running: Dashboard, path: str, status: int) -> None:
    request = urllib.request.Request(running.address + path, headers={"Sec-Fetch-Site": "cross-site"})
    try:
        with urllib.request.urlopen(request) as answer:
            assert answer.status == status
    except urllib.error.HTTPError as error:
        assert error.code == status


def test_answers_are_neither_framed_nor_guessed_at_nor_kept(running: Dashboard) -> None:
    with urllib.request.urlopen(running.address + "/api/v1/runs") as answer:
        headers = answer.headers
    assert headers["X-Content-Type-Options"] == "nosniff" and headers["Cache-Control"] == "no-store"
    assert (
        "frame-ancestors 'none'" in headers["Content-Security-Policy"] and headers["Referrer-Policy"] == "same-origin"
    )


def test_an_unknown_page_says_so(running: Dashboard) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(running.address + "/nope<b>")
    page = refused.value.read().decode()
    assert refused.value.code == 404 and "no page /nope&lt;b&gt;" in page and 'href="/flame"' in page


def test_a_tunnel_that_ends_on_another_port_may_look(running: Dashboard) -> None:
    assert status_of(running, "/healthz", Host="localhost:9999", Origin="http://localhost:9999")[0] == 200


def test_every_documented_route_stands_in_the_docs_page(running: Dashboard) -> None:
    with urllib.request.urlopen(running.address + "/api/docs") as answer:
        page = answer.read().decode()
    for path in running.get("/openapi.json")["paths"]:
        assert path in page
    documented = (Path(__file__).parents[2] / "docs" / "http-api.md").read_text()
    for path in running.get("/openapi.json")["paths"]:
        assert path.removeprefix("/api/v1") in documented


# -- the socket ------------------------------------------------------------------------------------------------------------


def socket_url(running: Dashboard) -> str:
    return running.address.replace("http", "ws") + "/api/v1/live"


async def next_of(socket: websockets.ClientConnection, kind: str, has: str = "", timeout_s: float = 60.0) -> Any:
    async with asyncio.timeout(timeout_s):
        while True:
            message = json.loads(await socket.recv())
            if message["type"] == kind and (not has or message.get(has)):
                return message


def test_the_socket_refuses_a_foreign_origin(running: Dashboard) -> None:
    async def connect() -> None:
        async with websockets.connect(socket_url(running), origin=websockets.Origin("http://evil.example")):
            pass

    with pytest.raises(websockets.InvalidStatus):
        run(connect())


def test_the_socket_sends_state_at_once_and_only_what_is_new(running: Dashboard) -> None:
    path = running.log_dir / "live.jsonl"
    path.write_text('{"time_s": 1764000000.0, "step": 1, "x": 1}\n')
    wait_for(lambda: running.values("live", "x") == [1.0])
    cursor = running.get("/api/v1/curves?run=live&expr=x")["cursor"]

    async def follow() -> Any:
        async with websockets.connect(socket_url(running)) as socket:
            state = await next_of(socket, "state")
            assert {"collectors", "profile", "cost", "runs", "gpu_note"} <= state.keys()
            await socket.send(json.dumps({"subscribe": [{"run": "live", "series": ["x"]}], "cursor": cursor}))
            with path.open("a") as file:
                file.write('{"time_s": 1764000001.0, "step": 2, "x": NaN, "unasked": 5}\n')
            return await next_of(socket, "delta")

    delta = run(follow())
    (series,) = delta["series"]
    assert (series["run"], series["name"], series["t"], series["v"], series["step"]) == (
        "live",
        "x",
        [T0 + 1],
        ["NaN"],
        [2.0],
    )
    assert delta["cursor"] > cursor


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/api/v1/runs"), ("DELETE", "/api/v1/blame"), ("PUT", "/api/v1/events")]
)
def test_a_route_that_does_not_take_the_method_says_so(running: Dashboard, method: str, path: str) -> None:
    request = urllib.request.Request(running.address + path, method=method, headers={"Origin": running.address})
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request)
    assert refused.value.code == 405 and "does not take that method" in refused.value.read().decode()
