"""How much of a core the alerts take: nothing configured, 1,000 rules over 100 runs, and what a message costs; and the memory of Apprise.

python -m benchmarks.alerts     about two minutes
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from alerts.collector import AlertsCollector
from alerts.config import Receiver
from alerts.messages import AlertMessage
from collectors.machine.finder import Finder
from collectors.records import Finding, Points, Record, labels_of
from collectors.store.engines import open_store

from .report import Row, run

RUNS, RULES, SERIES = 100, 1000, 10
SECONDS = 60  # of the runs' time
STEPS_PER_S = 2
T0 = 1_795_000_000.0
MESSAGES = 300
LABELS = labels_of(host="box")


class _NoProcesses(Finder):
    def found(self) -> Any:
        return {}


def measure() -> list[Row]:
    rows = [
        _rules("no rules, no receivers", lambda number: "", 0.3),
        _rules(f"{RULES:,} comparisons over {RUNS} runs", _comparison, 5.0),
        _rules(
            f"{RULES:,} rules of all kinds over {RUNS} runs (a tenth each absent, anomaly, expression)", _mixed, 5.0
        ),
        _rules(f"{RULES:,} expressions over {RUNS} runs, in turn", _expression, 5.0),
        _messages(),
    ]
    with_it, without = (
        _rss_bytes(text) for text in ("import apprise; apprise.Apprise().add('json://localhost')", "pass")
    )
    return [*rows, Row("Apprise, once such a receiver has a message", (with_it - without) / 2**20, "MiB")]


def _rules(name: str, rule: Callable[[int], str], budget: float) -> Row:
    """CPU of taking the points and looking, as a share of the time that passes for the runs."""
    with tempfile.TemporaryDirectory(prefix="alerts-bench-") as folder:
        now_s = [T0]
        text = "".join(f"- name: r{number}\n{rule(number)}" for number in range(RULES)) if rule(0) else ""
        (Path(folder) / "alerts.yaml").write_text(f"rules:\n{text}" if text else "")
        store = open_store(Path(folder), write=True)
        collector = AlertsCollector(
            store, Path(folder), _NoProcesses("box"), clock=lambda: now_s[0], send=_nowhere, threads=False
        )
        took_s, begun = 0.0, 0
        since_s = time.monotonic()
        for second in range(SECONDS):
            records = _second(now_s[0], second)
            store.append(records)
            now_s[0] += 1.0
            before_s = time.thread_time()
            collector.take(records)
            news = collector.collect()
            took_s += time.thread_time() - before_s
            begun += len(news)
            if news:
                store.append(news)
                collector.take(news)
            time.sleep(
                max(0.0, since_s + second + 1 - time.monotonic()) if "in turn" in name or "all kinds" in name else 0.0
            )
        collector.close()
        store.close()
    return Row(name, 100 * took_s / SECONDS, "% of a core", budget, spread=f"{begun} findings")


def _second(time_s: float, second: int) -> list[Record]:
    names = tuple(f"s{number}" for number in range(SERIES))
    return [
        Points(
            f"run{number}",
            LABELS,
            names,
            tuple(float((number + second) % 7) for _ in names),
            time_s + half / STEPS_PER_S,
            second,
        )
        for half in range(STEPS_PER_S)
        for number in range(RUNS)
    ]


def _comparison(number: int) -> str:
    return f"  when: s{number % SERIES} > {100 + number}\n  for: 10 s\n"


def _expression(number: int) -> str:
    return f"  when: s{number % SERIES} - s{(number + 1) % SERIES} > {100 + number}\n"


def _mixed(number: int) -> str:
    match number % 10:
        case 0:
            return f"  absent: s{number % SERIES}\n  for: 5 min\n"
        case 1:
            return f"  anomaly: s{number % SERIES}\n"
        case 2:
            return _expression(number)
    return _comparison(number)


def _messages() -> Row:
    """From a finding to its place in sent/, with all files written through to the disk."""
    with tempfile.TemporaryDirectory(prefix="alerts-bench-") as folder:
        now_s = [T0]
        (Path(folder) / "alerts.yaml").write_text(
            "rate: 9999/min\nreceivers:\n- {name: r, kind: webhook, url: 'http://localhost:9'}\n"
        )
        store = open_store(Path(folder), write=True)
        collector = AlertsCollector(
            store, Path(folder), _NoProcesses("box"), clock=lambda: now_s[0], send=_nowhere, threads=False
        )
        found = [
            Finding(f"f{number}", "a", f"cause{number}", "alert", T0, T0, True, "It failed.")
            for number in range(MESSAGES)
        ]
        store.append(found)
        before_s = time.thread_time()
        collector.take(found)
        for _ in range(5):
            now_s[0] += 1.0
            collector.collect()
        took_s = time.thread_time() - before_s
        assert len(list((Path(folder) / "alerts" / "sent").glob("*.json"))) == MESSAGES
        collector.close()
        store.close()
    return Row("a message", 1e3 * took_s / MESSAGES, "ms of CPU", 5.0)


def _rss_bytes(code: str) -> int:
    read = "; print(next(line for line in open('/proc/self/status') if line.startswith('VmRSS')).split()[1])"
    shown = subprocess.run([sys.executable, "-W", "ignore", "-c", code + read], capture_output=True, check=True)
    return 1024 * int(shown.stdout)


def _nowhere(receiver: Receiver, message: AlertMessage) -> None:
    """The receiver takes it at once."""


if __name__ == "__main__":
    raise SystemExit(run(measure, __doc__ or ""))
