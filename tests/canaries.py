"""A store in which each text holds what a viewer may not see: a folder, a secret, and command lines; and questions that may show it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

from collectors.records import (
    Event,
    Finding,
    Frame,
    LogLine,
    Offset,
    Points,
    Record,
    RunInfo,
    Sample,
    SourceText,
    StackRecording,
    StackSpan,
    labels_of,
)

FOLDER, COMMAND, SECRET = "/zzhome/zzada", "zzcommand", "zzsecret"
FORBIDDEN = ("zzhome", "zzada", COMMAND, SECRET)
PATH = f"{FOLDER}/job/data.bin"
TEXT = f"reads {PATH} with api_key={SECRET} now"
T0 = 1_764_000_000.0
FORMS = (
    "clone https://{}@github.com/a/b.git",
    r'{{"msg": "{{\"password\": \"{}\"}}"}}',
    "Authorization: Token {}",
    "Setting HF_TOKEN to {}",
    "GET /c?X-Amz-Signature={}",
    "https://host.blob.core.windows.net/c?sv=1&sig={}",
    "POST https://hooks.slack.com/services/T00/B00/{}",
    "mysql -u root -p{} db",
    "logged in with key {}9x8y7z",
    "password：{}",
    "curl -u ada:{} https://host",
    "\x1b[36mpassword\x1b[0m=\x1b[35m{}\x1b[0m",
    "| password | {}1 |",
    "api_keys=['{}', 'x']",
    'password="{} and more',
)  # in which texts give secrets away
KEY_LINE = f"MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwgg{SECRET}ABcdEF0123456789+/ab"
RUNS = ("a", "b")
WORDS = (
    "type",
    "kind",
    "tags",
    "x",
    "y",
    "address",
    "key",
    "columns",
    "state",
    "level",
    "version",
    "labels",
    "run",
    "id",
    "board",
    "names",
    "unit",
)


def words_of_users() -> dict[str, Any]:
    """A configuration whose names are those of our own answers, with values of all shapes."""
    return {
        "data": PATH,
        "api_key": SECRET,
        "note": TEXT,
        "mixed": [1, PATH, 2.5],
        "folders": [PATH, {"deep": PATH, "password": SECRET}],
        "words": ["train.py", "--token", SECRET, f"--db=postgres://ada:{SECRET}@host/d", "mysql", f"-p{SECRET}"],
        "pair": ["HF_TOKEN", SECRET],
        "api_keys": [SECRET, {"x": SECRET}],
        "credentials": {"user": "ada", "value": SECRET},
        "variables": [{"name": "HF_TOKEN", "value": SECRET}, {"key": "HF_TOKEN", "value": SECRET}],
        "remote": f"https://{SECRET}@github.com/a/b.git",
        "forms": [form.format(SECRET) for form in FORMS],
        PATH: 1,
        "table": {PATH: {"x": PATH}},
        **dict.fromkeys(WORDS, PATH),
        "nested": {word: [PATH] for word in WORDS},
    }


def canary_records() -> Iterator[Record]:
    host = labels_of(host="box")
    for number, run in enumerate(RUNS):
        info = {
            "argv": ["python", f"{FOLDER}/train.py", COMMAND],
            "command": COMMAND,
            "cwd": f"{FOLDER}/job",
            "user": "zzada",
            "env": {"HOME": f"{FOLDER}/job", "WANDB_API_KEY": SECRET},
            "executable": PATH,
            "config": {**words_of_users(), "lr": number},
            "git": {"remote": f"https://ada:{SECRET}@example.org/a.git", "root": f"{FOLDER}/job"},
            "pid": 2**22 + number,
            "host": "box",
            "notes": TEXT,
            **dict.fromkeys(("type", "kind", "tags", "address", "key", "version"), PATH),
        }
        yield RunInfo(run, info)
        yield Event(
            run,
            "start",
            T0,
            0,
            0,
            None,
            TEXT,
            {"pid": 2**22 + number, "host": "box", "cwd": PATH, "reason": TEXT, "key": PATH, "argv": [COMMAND]},
        )
        for step in range(200):
            yield Points(run, host, ("train/loss", "train/lr"), (1.0 / (step + 1), 0.1), T0 + step, step)
            yield LogLine(run, "out.log", T0 + step, 20 + 20 * (step % 2), f"step {step}: {TEXT} {step * 3}", 0)
            yield LogLine(
                run,
                "rows.jsonl",
                T0 + step,
                40,
                f'{{"level": "{PATH}", "key": "{PATH}", "x": {step}, "api_key": "{SECRET}", "msg": "{PATH}"}}',
            )
        for form in FORMS:
            yield LogLine(run, "out.log", T0 + 200, 30, form.format(SECRET))
        yield LogLine(run, "key.log", T0 + 200, 20, "-----BEGIN PRIVATE KEY-----")
        yield LogLine(run, "key.log", T0 + 200, 20, KEY_LINE)
        yield LogLine(run, "out.log", T0 + 201, 40, "Traceback (most recent call last):")
        yield LogLine(run, "out.log", T0 + 201, 40, f'  File "{PATH}", line 3, in main')
        yield LogLine(run, "out.log", T0 + 201, 40, f"FileNotFoundError: [Errno 2] No such file or directory: '{PATH}'")
        for kind in ("checkpoint", "validation", "note", "overflow"):
            yield Event(
                run,
                kind,
                T0 + 50,
                0,
                50,
                1.0,
                TEXT,
                {"path": PATH, "name": PATH, "type": PATH, "columns": [PATH], "bytes": 5},
            )
        yield Event(run, "end", T0 + 202, 0, 200, None, TEXT, {"status": "failed", "reason": TEXT})
        yield Finding(
            f"f-{run}",
            run,
            "nan_loss",
            "alert",
            T0,
            T0 + 50,
            True,
            TEXT,
            0,
            5,
            {"place": {"function": "main", "file": PATH, "line": 3}, "text": TEXT, "type": PATH, "stacks": [PATH]},
        )
        main, leaf = Frame("main", PATH, 3), Frame("read", f"{FOLDER}/job/read.py", 7)
        samples = [StackSpan(at * 10**8, 10**8, 7, (main, leaf) if at % 2 else (main,), False) for at in range(2000)]
        yield StackRecording(
            run,
            0,
            2**22 + number,
            "main",
            "box",
            "native",
            10,
            T0,
            0,
            200 * 10**9,
            {7: f"thread {PATH}"},
            samples,
            2000,
        )
        yield SourceText(run, PATH, "ab" * 32, f"open({PATH!r})\n", T0)
        yield Offset(f"{run}/out.log", run, 1, 2, 300, 12, 1, 0, f"line 3: {PATH}", {}, f"cannot read {PATH}")
        yield Sample(run, "answer", "text", "text/plain", T0, 1, 0, TEXT.encode())
        yield Sample(
            run, "rows", "table", "application/json", T0, 1, 0, f'{{"columns": ["a"], "data": [["{PATH}"]]}}'.encode()
        )
        yield Sample(run, "picture", "image", "image/png", T0, 1, 0, b"", PATH, 0, 100)


def questions() -> Iterator[str]:
    """Addresses of the API that may show it, with filters and groups by what is left out."""
    window = {"from": T0, "to": T0 + 300}

    def of(route: str, **given: Any) -> str:
        return f"/api/v1/{route}?{urlencode({name.rstrip('_'): value for name, value in given.items()}, doseq=True)}"

    for route in (
        "runs",
        "gpus",
        "processes",
        "host_processes",
        "settings",
        "diagnosis",
        "columns",
        "directions",
        "tokens",
        "forgotten",
        "alerts",
        "boards",
        "findings",
        "events",
        "series",
        "tags",
        "logs",
        "findings/rules",
    ):
        yield of(route)
    for route in (
        "run",
        "files",
        "diff",
        "events",
        "tags",
        "logs",
        "logs/lines",
        "logs/density",
        "logs/templates",
        "logs/crash",
        "samples",
        "checkpoints",
        "last_stacks",
        "findings",
        "goodput",
        "trace",
        "since_last",
        "series",
        "boards",
    ):
        yield of(route, run="a")
        yield of(route, run=PATH)
    for route in ("logs/difference", "flame", "flamechart", "blame", "ledger", "report", "source", "export"):
        yield of(route, run="a", file=PATH, series="train/loss", **window)
    for format_ in ("folded", "speedscope"):
        yield of("flame", run="a", format=format_, **window)
    for view in ("focus", "hide", "phase", "thread"):
        yield of("flame", run="a", **{view: PATH}, **window)
    yield of("ledger/compare", run="a", against="b")
    for text in ("zzhome", "zzcommand", "data", "api", "a"):
        yield of("search", q=text)
        yield of("search", q=text, run="a")
        yield of("logs/lines", run="a", q=text)
        yield of("runs", q=text)
    yield of("compare", run=RUNS, all=True)
    yield of("compare", run=RUNS, series="train/loss")
    keys = [
        f"config.{word}" for word in (*WORDS, "data", "api_key", "mixed", "folders", "nested.x", "note", "table", PATH)
    ]
    keys += [
        "argv",
        "command",
        "cwd",
        "user",
        "env",
        "env.HOME",
        "executable",
        "git.remote",
        "git.root",
        "notes",
        "key",
        "type",
        "address",
        "host",
        "run",
        "reason",
        "trouble",
    ]
    for key in keys:
        for place in (key, f"info.{key}", f"run.{key}"):
            yield of("table", columns=place)
            yield of("table", group=place)
            yield of("table", sort=place, columns=place)
            yield of("table", q=f"{place}:zzhome")
        yield of("curves", run=RUNS, series="train/loss", group=key)
    yield of("table", format="csv")
    for number in range(1, 8):
        yield of("sample", run="a", id=number)
    for name in ("answer", "rows", "picture"):
        yield of("samples", run="a", name=name)
    for number in (1, 2, 3, 50, *range(400, 424)):
        yield of("logs/line", run="a", number=number)
        yield of("logs/next", number=number)
    yield of("finding", id="f-a")
    yield of("expression", expr="a + ", run="a")
    yield of("expression", expr=PATH, run="a")
    yield from ("/openapi.json", "/metrics", "/healthz", "/api/docs", "/_dash-layout", "/_dash-dependencies")
    for page in (
        "",
        "live",
        "runs",
        "training",
        "flame",
        "gpus",
        "logs",
        "samples",
        "compare",
        "boards",
        "settings",
        "alerts",
        "nowhere",
    ):
        yield f"/{page}?run=a"
