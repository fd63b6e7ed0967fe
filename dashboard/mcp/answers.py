"""Small answers to an assistant's questions, each from one or two of the client's. They raise DashboardError."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from client import Dashboard, DashboardError
from collectors.redaction import LEFT_OUT, is_secret

from . import truncation

CURVES, BUCKETS = 20, 10  # names that may be asked for; rows of each series where nothing else is said
LINES, TOP, CONTEXT = 20, 15, 8
GPU_METRICS = {
    "busy_pct": "gpu/utilization_pct",
    "memory_used_bytes": "gpu/memory_used_bytes",
    "power_w": "gpu/power_w",
    "temperature_c": "gpu/temperature_c",
    "sm_clock_mhz": "gpu/sm_clock_mhz",
}


def runs(dashboard: Dashboard, given: dict[str, Any]) -> str:
    match, state = given.get("match", "").lower(), given.get("state", "")
    found = [row for row in records(dashboard.runs()) if match in row["run"].lower() and state in ("", row["state"])]
    columns = (
        "run",
        "state",
        "started_s",
        "started",
        "last_time_s",
        "last_time",
        "last_step",
        "points",
        "state_reason",
    )
    head = {"total": len(found), "order": "newest first"}
    return truncation.text(head, columns, cells(found, columns), "narrow it with match or state")


def run(dashboard: Dashboard, given: dict[str, Any]) -> str:
    raw = dashboard.run(given["run"]).raw
    names = [
        "run",
        "state",
        "state_reason",
        "pid",
        "started_s",
        "started",
        "ended_s",
        "ended",
        "last_time_s",
        "last_time",
    ]
    names += ["last_step", "cwd", "world_size", "ranks_note", "series", "points", "timed", "trouble"]
    head = dict(zip(names, cells([raw], names)[0], strict=True))
    head |= {
        "attempts": len(raw["attempts"]),
        "pids": ", ".join(str(process["pid"]) for process in raw["processes"]),
        "note": raw["about"]["note"],
    }
    match = given.get("match", "").lower()
    rows = [row for row in fields(raw["info"]) if match in row[0].lower()]
    return truncation.text(head, ("field", "value"), rows, "narrow the fields of its configuration with match")


def series(dashboard: Dashboard, given: dict[str, Any]) -> str:
    found = records(dashboard.series(given.get("run"), given.get("match", "")))
    for row in found:
        row["labels"] = ", ".join(f"{name}={value}" for name, value in row["labels"].items())
    columns = ("name", "labels", "unit", "points", "first_step", "last_step", "last_time_s", "last_time")
    head = {"run": given.get("run"), "total": len(found)}
    return truncation.text(head, columns, cells(found, columns), "narrow it with match, a substring or a glob")


def points(dashboard: Dashboard, given: dict[str, Any]) -> str:
    axis, buckets = given.get("axis", "time"), given.get("buckets", BUCKETS)
    names = given["series"] if isinstance(given["series"], list) else [given["series"]]
    table = dashboard.buckets(given.get("run"), names, *between(given), axis=axis, buckets=buckets).rename(
        columns={"t": "time_s"}
    )
    shown, units = set(table["series"]), table.attrs["unit"]
    where = ("step",) if axis == "step" else ("time_s", "time", "step")
    columns = ("series", *where, "count", "min", "mean", "max", "last")
    head = {"run": given.get("run"), "series": len(shown), "points": int(table["count"].sum())}
    head["a row is"] = "a bucket of points: time is that of its first, step and last are of its last"
    head["units"] = "; ".join(f"{name}: {unit}" for name, unit in units.items() if unit)
    if not shown:
        head["note"] = "no point lies there; a run without times (timed is false) has points with axis=step only"
    more = "ask for fewer series or buckets, or for a shorter range"
    return truncation.text(head, columns, cells(records(table, logged="last"), columns), more)


def logs(dashboard: Dashboard, given: dict[str, Any]) -> str:
    (lo, hi), limit = between(given), given.get("limit", LINES)
    asked = {name: given[name] for name in ("level", "before") if name in given}
    columns = ("time_s", "time", "level", "file", "rank", "text")
    while True:
        table = dashboard.logs(given.get("run"), given.get("q", ""), from_=lo, to=hi, limit=limit, **asked)
        head = {
            "run": given.get("run"),
            "matches": table.attrs["total"],
            "next_older": table.attrs["before"],
            "order": "oldest first",
        }
        more = "ask with before=next_older for older ones"
        answer = truncation.text(head, columns, cells(records(table), columns), more, newest=True)
        shown = len(json.loads(answer)["rows"])
        if shown in (0, len(table)):
            return answer
        limit = shown  # so that next_older continues what is shown


def events(dashboard: Dashboard, given: dict[str, Any]) -> str:
    kind = given.get("kind", "")
    found = [row for row in records(dashboard.events(given.get("run"), *between(given))) if kind in ("", row["kind"])]
    columns = ("time_s", "time", "kind", "rank", "step", "seconds", "text")
    head = {"run": given.get("run"), "total": len(found), "order": "oldest first"}
    more = "for older ones give the first time_s shown as to; kind narrows it"
    return truncation.text(head, columns, cells(found, columns), more, newest=True)


def flame(dashboard: Dashboard, given: dict[str, Any]) -> str:
    asked = {name: given[name] for name in ("rank", "focus", "waits") if name in given}
    graph = dashboard.flame(given["run"], *between(given), **asked)
    lines = records(graph.top(len(graph)))
    head = {
        "run": given["run"],
        "seconds": graph.seconds,
        "samples": graph.raw["samples"],
        "lines": len(lines),
        "note": graph.note,
    }
    head["excess"] = f"{graph.unit} beyond the run's normal; null where there is none"
    head["order"] = "what lost most first" if graph.has_baseline else "most seconds first"
    columns = ("name", "file", "line", "self_s", "total_s", "self_excess_s", "excess_s")
    rows = cells(lines[: given.get("n", TOP)], columns)
    return truncation.text(head, columns, rows, "focus narrows it to stacks with such a frame")


def blame(dashboard: Dashboard, given: dict[str, Any]) -> str:
    found = dashboard.blame(given["run"], *between(given), rank=given.get("rank"))
    names = (
        "verdict",
        "confidence",
        "reason",
        "rank",
        "excess_s",
        "slowdown_s",
        "per",
        "window_unit_s",
        "normal_unit_s",
        "samples",
    )
    head = {
        "run": given["run"],
        "sentence": found.sentence,
        "place": found.place,
        **{name: found.raw[name] for name in names},
    }
    head |= {"contradiction": found.raw["contradiction"], "units": "seconds per unit; per names the unit"}
    columns = ("name", "unit", "window", "normal")
    return truncation.text(
        head, columns, cells(found.raw["evidence"], columns), "the flame tool shows the lines of the window"
    )


def source(dashboard: Dashboard, given: dict[str, Any]) -> str:
    line = given.get("line", 1)
    lines = dashboard.source(given["run"], given["file"], line, given.get("context", CONTEXT))
    rows = sorted(zip(map(int, lines.index), lines, strict=True), key=lambda row: abs(row[0] - line))
    head = {"file": given["file"], "line": line, "which": lines.attrs["note"], "order": "nearest to the line first"}
    return truncation.text(head, ("line", "text"), rows, "lower context, or name another line")


def gpus(dashboard: Dashboard, given: dict[str, Any]) -> str:
    table = dashboard.gpus()
    found, head = records(table), {"note": table.attrs["note"], "total": len(table)}
    if "gpu" not in given:
        columns = ("index", "mig", "name", "state", "reason", *GPU_METRICS)
        rows = [[row.get(GPU_METRICS.get(name, name)) for name in columns] for row in found]
        return truncation.text(head, columns, rows, "gpu=N shows all metrics of one")
    its = [row for row in found if row["index"] == given["gpu"]]
    metrics = [
        [row["mig"], name, row[name]]
        for row in its
        for name in row
        if name.startswith("gpu/") and row[name] is not None
    ]
    return truncation.text(
        head, ("mig", "metric", "value"), metrics, "the points tool has the series gpu/*; units are in their names"
    )


def files(dashboard: Dashboard, given: dict[str, Any]) -> str:
    found = [row for row in records(dashboard.files(given["run"])) if given.get("match", "") in row["path"]]
    columns = ("path", "offset", "lines_read", "lines_skipped", "fields_skipped", "first_skip", "trouble")
    head = {"run": given["run"], "total": len(found), "units": "offset is in bytes that were read"}
    return truncation.text(head, columns, cells(found, columns), "narrow it with match, a part of the path")


def health(dashboard: Dashboard, given: dict[str, Any]) -> str:
    raw = dashboard.health().raw
    head = {
        "status": raw["status"],
        "problems": " ".join(raw["problems"]),
        "cpu_pct": raw["cpu_pct"],
        "rss_bytes": raw["rss_bytes"],
    }
    columns = ("name", "state", "lag_s", "last_error")
    return truncation.text(head, columns, cells(raw["collectors"], columns), "the dashboard's page shows all")


def between(given: dict[str, Any]) -> tuple[float | None, float | None]:
    return seconds(given.get("from"), "from"), seconds(given.get("to"), "to")


def seconds(given: float | str | None, name: str) -> float | None:
    if given is None or not isinstance(given, str):
        return given
    try:
        moment = datetime.fromisoformat(given)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise DashboardError(f"{name} is no time; give Unix seconds, or ISO text as 2025-11-24T16:00:00Z") from None


def fields(info: dict[str, Any], above: str = "", depth: int = 4) -> list[tuple[str, Any]]:
    """`{"a": {"b": 1}} -> [("a.b", 1)]`; the value of a secret's name is left out."""
    rows: list[tuple[str, Any]] = []
    for name, value in info.items():
        if isinstance(value, dict) and value and depth and not is_secret(name):
            rows += fields(value, f"{above}{name}.", depth - 1)
        else:
            rows.append((f"{above}{name}", LEFT_OUT if is_secret(name) else value))
    return rows


def records(table: Any, logged: str = "") -> list[dict[str, Any]]:
    """Rows with None where something is missing; in the column `logged` NaN is a value."""
    rows: list[dict[str, Any]] = table.to_dict("records")
    return [{name: None if value != value and name != logged else value for name, value in row.items()} for row in rows]


def cells(found: Sequence[dict[str, Any]], columns: Sequence[str]) -> list[list[Any]]:
    """`last_time` is the ISO text of a `last_time_s`."""
    return [[row[name] if name in row else truncation.iso(row[f"{name}_s"]) for name in columns] for row in found]
