"""No request answers 500, whatever its parameters are, over a store with odd runs in it."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collectors.logs.formats.tensorboard import OF_HISTOGRAM
from collectors.records import (
    Event,
    Frame,
    LogLine,
    Points,
    Record,
    RunInfo,
    Sample,
    StackRecording,
    StackSpan,
    labels_of,
)
from collectors.store.engines import open_store
from dashboard.queries import Queries
from tests.support.serving import Answer, Web, served

T0 = 1_764_000_000.0
HOST = labels_of(host="box")
RUNS = ("steps", "no times", "repeated", "odd", "nothing at all")
ODD_NAMES = ("", ",", "a,b", "*", "[x]?", "ä/\U0001f600", "x" * 300)
EXPECTED = {200, 307, 400, 404, 405, 413, 503}  # 307: with or without a slash at the end

FOREIGN = re.compile(  # what pydantic, its types or Python's JSON say of a value
    r"literal\[|function-|constrained|nullable|union|Expecting|enclosed|delimiter|Invalid control|Extra data|Unterminated|parsing the body"
    r"|Input should|valid |\bint\b|\bfloat\b|\bstr\b|\bdict\b|\bNone\b|Traceback|codec|Errno"
)
ODD_TEXT = ("", "warning", "0x10", "nan", "1e999", "-1", "9" * 5000, "\ud800", "\0", "[1]", "{}", "x" * 5000)
ODD_JSON = (
    *(None, True, -1, 1.5, 10**400, float("nan"), "", "0x10", "\ud800", "x" * 200_000),
    *([], [None], ["\ud800"], [[]], {}, {"\ud800": 1}, {"kind": 7}),
)
ODD_BODIES = (
    b"",
    b"{",
    b"{'x': 1}",
    b"[" * 100_000,
    b'{"x":' + b"1" * 5000 + b"}",
    b"\xff\xfe",
    b'{"x": "\n"}',
    b"{} {}",
    b"7",
    b"null",
    b'""',
    b"[]",
)


def records() -> Iterator[Record]:
    """A run as it should be, one without times, one that repeats a phase on some lines, one of odd names and values, and the machine."""
    names = ("train/loss", "phase/data_s", "phase/forward_s")
    for step in range(300):
        yield Points("steps", HOST, names, (1 / (step + 1), 0.25, 0.5), T0 + step, step)
        yield Points("no times", HOST, ("loss",), (1.0,), None, step)
        yield Points("repeated", HOST, names, (1.0, 0.2, 0.3), T0 + step, step)
        if step % 10 == 0:
            yield Points("repeated", HOST, ("phase/data_s", "val/loss"), (0.1, 2.0), T0 + step + 0.5, step)
        yield LogLine("steps", "train.log", T0 + step, 20 + 20 * (step % 7 == 0), f"line {step} \x1b[31mred\x00")
        yield Points(None, HOST, ("host/cpu_pct",), (50.0,), time.time() - 300 + step, None)
    for i, name in enumerate(ODD_NAMES):
        yield Points(
            "odd", labels_of(host="box", rank=i), (name,), ([float("nan"), float("inf"), 1e308][i % 3],), T0 + i, 2**61
        )
    yield RunInfo(
        "odd", {"cwd": "/nowhere\x00", "started_s": T0, "config": {"seed": 2**61, "name": "ä" * 99}, "unit": 7}
    )
    yield RunInfo("nothing at all", {})
    yield Event("odd", "checkpoint", T0 + 1, fields={"path": "x" * 999})
    for i, name in enumerate(ODD_NAMES[2:]):
        yield Sample("odd", name, "text", "text/plain", None, i - 2 or None, i, name.encode())
        yield Sample(
            "odd",
            name,
            "histogram",
            OF_HISTOGRAM,
            T0,
            2**53,
            path=f"../{name}\0",
            offset=2**62,
            length=2**62,
            head_crc=7,
        )
        yield Sample("steps", name, "image", "image/png", T0, -i, path=f"/{name}.png", written_s=1e300)
    step, forward = Frame("step", "/job/train.py", 3), Frame("forward", "/job/model.py", 5)
    samples = [StackSpan(t * 10**9, 10**9, 7, (step, forward) if t % 3 else (step,), False) for t in range(290)]
    for run in ("steps", "repeated"):
        about = (run, 0, 7, "main", "box", "native", 100.0)
        yield StackRecording(*about, T0, 0, 290 * 10**9, {7: "MainThread"}, samples, 29000)


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    data_dir = tmp_path_factory.mktemp("odd")
    writer = open_store(data_dir, write=True)
    writer.append(records())
    queries = Queries(open_store(data_dir, write=False), data_dir, data_dir)
    with served(queries) as web:
        yield web
    queries.close()
    writer.close()


@pytest.fixture(scope="module")
def operations(web: Web) -> list[tuple[str, str, list[dict[str, Any]]]]:
    """Method, path and parameters of every route that OpenAPI describes."""
    return [
        (method.upper(), path, operation.get("parameters", []))
        for path, methods in web.ask("/openapi.json").json["paths"].items()
        for method, operation in methods.items()
    ]


NUMBERS = st.one_of(
    st.sampled_from(
        [T0, T0 + 10, T0 + 290, T0 - 1e6, 0, -1, 1, 7, 50, 1e15, -1e15, 1e300, -1e300, 10**30, 2**63, -(2**63)]
    ),
    st.floats(),
    st.integers(),
).map(str)
WORDS = st.one_of(
    st.sampled_from(
        [*RUNS, *ODD_NAMES, "train/loss", "phase/*", "host/*", "**", "0", "time", "step", "joined", "threads", "normal"]
    ),
    st.text(max_size=20),
    st.sampled_from(
        ["a" * 5000, "*a" * 40, "\x00", "' OR 1=1 --", "../../etc/passwd", "/job/train.py", "true", "null"]
    ),
).map(lambda text: quote(text, safe=""))
BYTES = st.binary(max_size=12).map(quote)  # broken UTF-8, lone surrogates
RAW = st.one_of(NUMBERS, WORDS, BYTES, st.sampled_from(["%ED%A0%80", "%FF", "%", "%zz", "+", ""]))


def values(parameter: dict[str, Any]) -> st.SearchStrategy[str]:
    """Mostly of the right kind, so that an odd one is met deep inside."""
    schema = parameter["schema"]
    kinds = {kind for part in schema.get("anyOf", [schema]) for kind in [part.get("type"), *part.get("enum", [])]}
    if parameter["name"] == "run":
        return st.one_of(st.sampled_from(RUNS).map(quote), RAW)
    if kinds & {"number", "integer"}:
        return st.one_of(NUMBERS, st.sampled_from(["0", "1", "7", str(T0), str(T0 + 200)]), RAW)
    return st.one_of(WORDS, RAW, *[st.just(quote(kind)) for kind in kinds if isinstance(kind, str)])


@st.composite
def queries_of(draw: st.DrawFn, parameters: list[dict[str, Any]]) -> str:
    pairs = [
        f"{quote(one['name'])}={draw(values(one))}"
        for one in parameters
        if draw(st.booleans()) or (one.get("required") and draw(st.integers(0, 9)))
    ]
    return "&".join([*pairs, *draw(st.lists(RAW, max_size=1))])


@settings(
    max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(data=st.data())
def test_no_parameters_answer_500(web: Web, operations: list[tuple[str, str, list[Any]]], data: st.DataObject) -> None:
    method, path, parameters = data.draw(st.sampled_from(operations))
    check(web, method, f"{path}?{data.draw(queries_of(parameters))}")


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    method=st.sampled_from(["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"]),
    root=st.sampled_from(
        [
            "/",
            "/api/",
            "/api/v1/",
            "/api/v1/profile",
            "/assets/",
            "/_dash-",
            "/_dash-component-suites/",
            "/_dash-component-suites/dash/",
        ]
    ),
    rest=st.one_of(
        RAW, st.sampled_from(["..%2f..%2fetc", "layout", "dependencies", "update-component", "dash.py", "deps/x.js"])
    ),
    body=st.one_of(st.none(), st.binary(max_size=50), st.just(b'{"action": "on"}'), st.just(b"[" * 5000)),
)
def test_no_path_method_or_body_answers_500(web: Web, method: str, root: str, rest: str, body: bytes | None) -> None:
    check(web, method, f"{root}{rest}", body)


def check(web: Web, method: str, address: str, body: bytes | None = None) -> None:
    """An expected status; where the API refuses, one sentence that says why."""
    answer = web.ask(address, method, body)
    assert answer.status in EXPECTED, (address, answer.status, answer.body[:500])
    if method != "HEAD" and address.startswith("/api/v1/") and answer.status != 200:
        told = answer.json
        assert set(told) == {"error"} and isinstance(told["error"], str) and len(told["error"]) > 10, address


def test_a_parameter_of_a_wrong_kind_is_named_with_what_it_may_be(
    web: Web, operations: list[tuple[str, str, list[dict[str, Any]]]]
) -> None:
    """In the dashboard's own words, on every route: pydantic's are about its parsing."""
    asked, given = 0, {"run": "steps", "from": str(T0), "to": str(T0 + 10)}
    for method, path, parameters in operations:
        for parameter in parameters:
            schema = parameter["schema"]
            kinds = {part.get("type") for part in schema.get("anyOf", [schema])}
            if (
                method != "GET"
                or parameter["in"] != "query"
                or ("enum" not in schema and "string" in kinds)
                or "array" in kinds
            ):
                continue
            required = {one["name"]: given.get(one["name"], "1") for one in parameters if one.get("required")}
            answer = web.ask(path.replace("{run}", "steps"), **{**required, parameter["name"]: "warning"})
            asked += 1
            assert answer.status == 400, (path, parameter["name"])
            said = answer.json["error"]
            assert said.startswith(f"{parameter['name']} must be "), (path, said)
            assert not any(word in said for word in ("Input", "parse", "valid ")), (path, said)
            limits = {part.get(key) for part in schema.get("anyOf", [schema]) for key in ("minimum", "maximum")} - {
                None
            }
            assert all(f"{limit:,}".removesuffix(".0") in said for limit in limits), (path, said)
            assert all(word in said for word in schema.get("enum", [])), (path, said)
    assert asked > 30


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("logs?level=warning", "level must be a whole number from 0 to 50"),
        ("logs?level=60", "level must be a whole number from 0 to 50"),
        ("logs?from=now", "from must be a finite number"),
        ("logs?from=inf", "from must be a finite number"),
        ("logs?before=", "before must be a whole number from 0 to 4,611,686,018,427,387,904"),
        ("logs?limit=0", "limit must be a whole number from 1 to 5,000"),
        ("blame?run=steps&to=3", "from is missing"),
        ("flame?run=steps&from=1&to=2&format=svg", "format must be 'tree', 'folded', 'speedscope' or 'perfetto'"),
        ("flame?run=steps&from=1&to=2&view=0x10", "view must be 'main', 'joined', 'threads' or 'kernels'"),
        ("logs/lines?rank=x", "rank must be a whole number from 0 to 2,147,483,647"),
        ("logs?q=" + "x" * 5000, "q must have at most 4,096 characters"),
    ],
)
def test_a_wrong_parameter_answers_one_plain_sentence(web: Web, path: str, said: str) -> None:
    answer = web.ask(f"/api/v1/{path}")
    assert (answer.status, answer.json["error"].partition(";")[0]) == (400, said)


def refused_in_our_words(answer: Answer, asked: object) -> str:
    assert answer.status in {200, 400, 404, 405, 409, 413, 503}, (asked, answer)
    said = str(answer.json["error"]) if answer.status == 400 else ""
    assert not FOREIGN.search(said), (asked, said)
    return said


def test_no_answer_to_an_odd_value_of_a_parameter_has_words_of_the_framework(web: Web) -> None:
    refused = 0
    for path, methods in web.ask("/openapi.json").json["paths"].items():
        for method, operation in methods.items():
            parameters = [one for one in operation.get("parameters", []) if one["in"] == "query"]
            given = {"run": "steps", "from": T0, "to": T0 + 9, "file": "x"}
            required = {one["name"]: given.get(one["name"], "1") for one in parameters if one.get("required")}
            for one, odd in ((one, odd) for one in parameters for odd in ODD_TEXT):
                query = urlencode({**required, one["name"]: odd.encode(errors="surrogatepass")})
                body = b"{}" if method == "post" else None
                said = refused_in_our_words(
                    web.ask(f"{path.replace('{run}', 'steps')}?{query}", method.upper(), body),
                    (path, one["name"], odd[:9]),
                )
                refused += bool(said)
                if " must be " in said and said.endswith("lists the parameters"):
                    assert said.startswith(f"{one['name']} ") or method == "post", (path, one["name"], said)
    assert refused > 500


def test_no_answer_to_an_odd_body_has_words_of_the_framework(web: Web) -> None:
    described = web.ask("/openapi.json").json
    fields = 0
    for path, methods in described["paths"].items():
        body = (
            methods.get("post", {}).get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
        )
        if body is None:
            continue
        address = re.sub(r"\{[^}]*\}", "steps", path)
        for raw in (*ODD_BODIES, *(json.dumps(odd).encode() for odd in ODD_JSON)):
            refused_in_our_words(web.ask(address, "POST", raw), (path, raw[:30]))
        schema = described["components"]["schemas"].get(body.get("$ref", "").rpartition("/")[2], body)
        for field, odd in ((field, odd) for field in schema.get("properties", {}) for odd in ODD_JSON):
            whole = dict.fromkeys(schema.get("required", []), "x") | {field: odd}
            fields += bool(
                refused_in_our_words(web.ask(address, "POST", json.dumps(whole).encode()), (path, field, str(odd)[:9]))
            )
    assert fields > 200


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("alerts/mute", {"rule": "x", "hours": "\ud800"}, "hours must be a number greater than 0 and at most 87,600;"),
        ("alerts/mute", {"rule": "\ud800"}, "rule must be text in UTF-8;"),
        ("alerts/mute", {"rule": ""}, "rule must not be empty;"),
        ("alerts/mute", {"rule": "x", "on": "\ud800"}, "on must be true or false"),
        ("alerts/mute", {"rule": 7}, "rule must be text;"),
        ("share", {"address": "/", "days": 2}, "days must be 1, 7 or 30;"),
        ("share", {"address": "/", "grants": ["all"]}, "grants must be 'source', 'exports', 'processes' or 'details';"),
        (
            "board_edits",
            {"text": "", "edits": [{"kind": "set", "place": [1.5]}]},
            "place must be a whole number from 0 to 10,000 or text;",
        ),
        ("board_edits", {"text": "", "edits": [{"place": []}]}, "kind is missing;"),
        ("events", {"run": "steps", "step": "\udfff"}, "step must be a whole number from "),
        ("events", 7, "the request's body must be a JSON object;"),
        (
            "events",
            b"{'x': 1}",
            "the request's body is not JSON from character 2 on: check its quotes, commas and brackets",
        ),
        ("events", b"[" * 100_000, "the request's body is nested too deeply: send the JSON that /api/docs describes"),
        (
            "events",
            b'{"x":' + b"1" * 5000 + b"}",
            "the request's body has a whole number of more than 4,300 digits: send a smaller one",
        ),
        ("events", b'{"x": "\xff"}', "the request's body is not UTF-8: send JSON in UTF-8"),
    ],
)
def test_a_wrong_body_answers_which_field_and_what_it_must_be(web: Web, path: str, body: Any, said: str) -> None:
    answer = web.ask(f"/api/v1/{path}", "POST", body if isinstance(body, bytes) else json.dumps(body).encode())
    assert answer.status == 400
    assert answer.json["error"].startswith(said)


@pytest.mark.parametrize("run", RUNS)
def test_every_series_that_is_listed_can_be_asked_for(web: Web, run: str) -> None:
    for one in web.ask("/api/v1/series", run=run).json["series"]:
        answer = web.ask("/api/v1/curves", run=run, expr=one["name"], x="step")
        found = [
            curve
            for curve in answer.json["curves"]
            if curve["name"] == one["name"] and curve["labels"] == one["labels"]
        ]
        assert [curve["points_total"] for curve in found] == [one["points"]]


@pytest.mark.parametrize("axis", ["time", "step"])
@pytest.mark.parametrize("run", RUNS)
def test_a_run_answers_its_own_points_in_weeks_without_machine_samples(web: Web, run: str, axis: str) -> None:
    window = {"from": T0, "to": T0 + 300} if axis == "time" else {}
    assert web.ask("/api/v1/curves", run=run, expr="*", x=axis, **window).status == 200
    machine = web.ask("/api/v1/curves", expr="host/*", **window)
    assert [one["points_total"] for one in machine.json["curves"]] == [0 if axis == "time" else 300]


def test_a_window_without_machine_samples_is_blamed_beside_a_machine_that_has_some(web: Web) -> None:
    answer = web.ask("/api/v1/blame", run="steps", from_=T0 + 200, to=T0 + 260)
    assert answer.json["verdict"] == "no_difference"
