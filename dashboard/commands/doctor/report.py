"""All checks of a place, a row each: `ok`, `warning` or `wrong`, what it means, and the remedy."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, NamedTuple

from collectors import VERSION
from collectors.redaction import redacted

from .place import CheckedHost, Severity, Symptom, worst

WITHIN_S = 5.0  # for all checks together: a driver or a network file system may hang
LIMIT = 600  # characters of a sentence


class Check(NamedTuple):
    """A check: its name, and its function as `module:function`, which is imported when it is made."""

    name: str
    function: str


CHECKS = (
    Check("versions", "versions:check"),
    Check("sampler", "sampler:check"),
    Check("gpu", "gpu:check"),
    Check("log folder", "folders:check_logs"),
    Check("data folder", "folders:check_data"),
    Check("disk", "disk:check"),
    Check("store", "store:check"),
    Check("inotify", "inotify:check"),
    Check("clock", "clock:check"),
    Check("port", "port:check"),
    Check("dashboard", "running:check"),
)


class Diagnosed(NamedTuple):
    name: str
    symptom: Symptom


def diagnose(place: CheckedHost, checks: Sequence[Check] = CHECKS, within_s: float = WITHIN_S) -> list[Diagnosed]:
    """All checks at the same time, each in a thread of its own. One that fails or hangs is a warning of its row."""
    found: dict[str, Symptom] = {}

    def work(check: Check) -> None:
        found[check.name] = made(check, place)

    threads = [threading.Thread(target=work, args=(check,), name=check.name, daemon=True) for check in checks]
    until_s = time.monotonic() + within_s
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, until_s - time.monotonic()))
    late = Symptom(
        "warning",
        f"this was not answered within {within_s:g} s: a driver or a file system hangs.",
        "Type: sudo dmesg | tail",
    )
    return [Diagnosed(check.name, cleaned(found.get(check.name, late))) for check in checks]


def made(check: Check, place: CheckedHost) -> Symptom:
    module, _, name = check.function.partition(":")
    try:
        function: Callable[[CheckedHost], Symptom] = getattr(import_module(f".{module}", __package__), name)
        return function(place)
    except Exception as error:  # whatever a host is like, it costs this row and no other
        return Symptom("warning", f"this could not be looked at ({type(error).__name__}: {error}).")


def cleaned(symptom: Symptom) -> Symptom:
    """Without secrets, the home folder as ~."""
    facts = {_plain(name): _plain(value) if isinstance(value, str) else value for name, value in symptom.facts.items()}
    return symptom._replace(sentence=_plain(symptom.sentence), remedy=_plain(symptom.remedy), facts=facts)


def verdict_of(rows: Sequence[Diagnosed]) -> Severity:
    return worst([row.symptom.verdict for row in rows])


def lines_of(rows: Sequence[Diagnosed]) -> list[str]:
    """One line each: `wrong    port         port 8080 is taken by nginx (process 7).  Type: deepseek-dashboard --port 8081`."""
    width = max(len(row.name) for row in rows)
    return [
        f"{symptom.verdict:<8} {name:<{width}}  {symptom.sentence}{f'  {symptom.remedy}' if symptom.remedy else ''}"
        for name, symptom in rows
    ]


def json_of(rows: Sequence[Diagnosed]) -> dict[str, Any]:
    checks = [{"name": name, **symptom._asdict()} for name, symptom in rows]
    return {"version": VERSION, "time_s": round(time.time(), 3), "verdict": verdict_of(rows), "checks": checks}


def _plain(text: str) -> str:
    line = " ".join(redacted(text.encode("utf-8", "replace").decode()).split())
    home = os.path.expanduser("~")  # noqa: PTH111  # `~` itself for a user without one
    if len(home) > 1:
        line = line.replace(home, "~")
    return line if len(line) <= LIMIT else f"{line[:LIMIT]}..."
