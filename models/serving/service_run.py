"""A server as a run of kind `service`, whose unit is a request: one line a second for all of its requests."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..extras import needed
from ..runtimes.timing import quantile
from .core.figures import PHASES, ServedSecond
from .core.served_models import ServedModels

EVERY_S = 1.0
GONE = "ASGI callable returned without"
QUIET_S = 10.0  # between lines of a service that is not asked: it is alive, and its rate is 0


class ServiceRun:
    """Raises OSError where the log folder cannot be written. `close` writes the last line."""

    def __init__(self, logs: Path, run: str | None, config: Mapping[str, Any]) -> None:
        run_log = needed("deepseek.trainer.run_log")
        self._log = run_log.RunLog(logs, run, kind="service", unit="request", name="serve", config=config)
        self.folder: Path = self._log.folder
        self._requests = 0
        self._lined_s = time.monotonic()
        self._handler = self._log.handler()
        self._handler.setLevel(logging.WARNING)
        self._handler.addFilter(_is_ours)
        for name in ("deepseek.serving", "uvicorn.error", "asyncio"):
            logging.getLogger(name).addHandler(self._handler)

    def note(self, text: str) -> None:
        """A line of its text, and an event on its axis."""
        self._log.text(text)
        self._log.event("note", text=text)

    async def write(self, models: ServedModels) -> None:
        """A line each second until it is cancelled."""
        loop = asyncio.get_running_loop()
        next_s = loop.time()
        while True:
            next_s += EVERY_S
            await asyncio.sleep(max(0.0, next_s - loop.time()))
            self.line(models)

    def line(self, models: ServedModels) -> None:
        """Of what was answered since the last one; where that is nothing, of what was refused, and every ten seconds that nothing was asked."""
        if not any(model.figures.has_answers for model in models):
            self._quiet_line(models)
            return
        self._lined_s = time.monotonic()
        seconds = {model.name: model.figures.second() for model in models}
        fields = fields_of(list(seconds.values()))
        fields["service/queue"] = sum(len(model.current.queue) for model in models if model.current)
        if len(seconds) > 1:
            for name, second in seconds.items():
                if second.latencies_s:
                    fields[f"service/{name}/p99_s"] = round(quantile(sorted(second.latencies_s), 0.99), 6)
                    fields[f"service/{name}/requests"] = second.requests
        units = sum(second.requests for second in seconds.values())
        self._requests += units
        self._log.scalars(self._requests, fields, units=units)

    def _quiet_line(self, models: ServedModels) -> None:
        if not any(model.figures.has_refusals for model in models) and time.monotonic() - self._lined_s < QUIET_S:
            return
        self._lined_s = time.monotonic()
        seconds = [model.figures.second() for model in models]
        waiting = sum(len(model.current.queue) for model in models if model.current)
        counts = {
            "rejected": sum(each.refused for each in seconds),
            "failed": sum(each.failed for each in seconds),
            "queue": waiting,
        }
        self._log.scalars(self._requests, {f"service/{name}": count for name, count in counts.items()})

    def close(self, models: ServedModels) -> None:
        self.line(models)
        for name in ("deepseek.serving", "uvicorn.error", "asyncio"):
            logging.getLogger(name).removeHandler(self._handler)
        self._log.close()


def _is_ours(record: logging.LogRecord) -> bool:
    """Without a line for each client that speaks no HTTP or is gone: they are answered or counted, and could fill a disk."""
    return record.name != "uvicorn.error" or (
        record.levelno >= logging.ERROR and not record.getMessage().startswith(GONE)
    )


def fields_of(seconds: list[ServedSecond]) -> dict[str, float]:
    """The series of a line, for all models together. Phases are the seconds of all requests; what a batch took counts for each of its requests."""
    latencies_s = sorted(latency_s for second in seconds for latency_s in second.latencies_s)
    batches, rows = sum(second.batches for second in seconds), sum(second.batch_rows for second in seconds)
    fields = {f"phase/{name}_s": round(sum(second.phases_s[name] for second in seconds), 6) for name in PHASES}
    fields["service/p50_s"] = round(quantile(latencies_s, 0.5), 6)
    fields["service/p99_s"] = round(quantile(latencies_s, 0.99), 6)
    fields["service/rejected"] = sum(second.refused for second in seconds)
    fields["service/failed"] = sum(second.failed for second in seconds)
    if batches:
        fields["service/batch_rows"] = round(rows / batches, 2)
    return fields


def started_text(addresses: Mapping[str, str], began_s: float) -> str:
    """`serving on http://127.0.0.1:8100, grpc://127.0.0.1:8101 after 1.2 s`"""
    places = ", ".join(f"{scheme}://{address}" for scheme, address in addresses.items())
    return f"serving on {places} after {time.monotonic() - began_s:.1f} s"
