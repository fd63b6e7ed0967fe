"""A store in which each text holds what a viewer may not see: a folder, a secret, and command lines; and questions that may show it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlencode

from collectors.records import (
    Event,
    Finding,
    Frame,
    LogLine,
    Offset,
    Points,
    ProgressBar,
    Record,
    RunInfo,
    Sample,
    SourceText,
    StackRecording,
    StackSpan,
    labels_of,
)
from tests.support.secret_forms import secret_forms

FOLDER, COMMAND, SECRET = "/zzhome/zzada", "zzcommand", "zzwalnut"
FORBIDDEN = ("zzhome", "zzada", COMMAND, SECRET, *{each.hidden for each in secret_forms()})
PATH = f"{FOLDER}/job/data.bin"
TEXT = f"reads {PATH} with api_key={SECRET} now"
T0 = 1_764_000_000.0
FORMS = secret_forms()
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
        "forms": [form.example for form in FORMS],
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
            for line in form.example.split("\n"):
                yield LogLine(run, "out.log", T0 + 200, 30, line)
            yield Event(
                run, "note", T0 + 150, 0, 150, None, form.example, {"words": [form.example], "said": form.example}
            )
        yield ProgressBar(run, "bar.log", T0 + 200, f"{TEXT} 45%")
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
            {
                "place": {"function": "main", "file": PATH, "line": 3},
                "text": TEXT,
                "type": PATH,
                "lines": [form.example for form in FORMS],
                "stacks": [
                    {"rank": 0, "pid": 1, "role": "main", "thread": PATH, "frames": [["main", PATH, 3]]},
                ],
            },
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
        forms = "\n".join(form.example for form in FORMS)
        yield Sample(run, "forms", "text", "text/plain", T0, 2, 0, forms.encode())
        yield Sample(
            run, "rows", "table", "application/json", T0, 1, 0, f'{{"columns": ["a"], "data": [["{PATH}"]]}}'.encode()
        )
        yield Sample(run, "picture", "image", "image/png", T0, 1, 0, b"", PATH, 0, 100)


KNOWN: dict[
    str, list[Any]
] = {  # by the name of a parameter, what this store has; of others the type says what is asked
    "run": ["a", PATH],
    "against": ["b"],
    "baseline": ["b", "normal", f"{T0}-{T0 + 50}", "@b"],
    "series": ["train/loss", "*"],
    "match": ["train", "zzhome"],
    "file": [PATH, "out.log", "…/data.bin"],
    "from": [T0],
    "to": [T0 + 300],
    "at": [T0 + 100],
    "q": ["zzhome", COMMAND, "data", "api", "a"],
    "id": [*range(1, 9), "f-a"],
    "number": [1, 2, 3, 50, *range(400, 430)],
    "name": ["answer", "rows", "picture", PATH],
    "expr": ["train/loss * 2", "a + ", PATH],
    "chart": ["{kind: line, series: [train/loss]}", f"{{kind: line, series: [{PATH}]}}"],
    "x": ["time", "step", PATH],
    "axis": ["time", "step"],
    "columns": ["name,config.data,info.argv,env.HOME", f"config.{PATH}"],
    "sort": ["run", "config.data", "argv"],
    "group": ["config.lr", "config.data", "argv", "user"],
    "template": [1, 2, 3],
}


def questions_of(described: Any) -> Iterator[str]:
    """Each GET of an OpenAPI description: with all that it needs, and with each of its other parameters beside that."""
    for path, methods in described["paths"].items():
        if "get" not in methods:
            continue
        given = {each["name"]: each for each in methods["get"].get("parameters", []) if each["in"] == "query"}
        usual = {name: values_of(each)[:1] for name, each in given.items() if each.get("required")}
        usual |= {name: KNOWN[name][:1] for name in given.keys() & {"run", "from", "to"}}
        asked: list[dict[str, list[Any]]] = [
            {name: usual[name] for name in usual if given[name].get("required")},
            usual,
        ]
        asked += [{**usual, name: [value]} for name, each in given.items() for value in values_of(each)]
        for name in re.findall(r"{(\w+)", path) or [""]:
            for place in ["gpus", "a", PATH] if name else [""]:
                there = re.sub(r"{[^}]*}", quote(place, safe=""), path)
                yield from dict.fromkeys(f"{there}?{urlencode(query, doseq=True)}" for query in asked)


def values_of(parameter: Any) -> list[Any]:
    known = KNOWN.get(parameter["name"])
    return [
        value for kind in parameter["schema"].get("anyOf", [parameter["schema"]]) for value in known or _of_type(kind)
    ]


def _of_type(schema: Any) -> list[Any]:
    if "enum" in schema or "const" in schema:
        return [*schema.get("enum", [schema.get("const")])]
    kinds: dict[str, list[Any]] = {"boolean": [True, False], "integer": [1], "number": [T0], "string": ["a", PATH]}
    return kinds.get(schema.get("type", ""), _of_type(schema["items"]) if "items" in schema else [])


def questions() -> Iterator[str]:
    """What a description does not say: columns and groups of all names, pages and their layouts."""

    def of(route: str, **given: Any) -> str:
        return f"/api/v1/{route}?{urlencode({name.rstrip('_'): value for name, value in given.items()}, doseq=True)}"

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
        yield f"/_dash-layout?{urlencode({'at': f'/{page}', 'search': '?run=a&run=b'})}"
