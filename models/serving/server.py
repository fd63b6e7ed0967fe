"""A model server as a run of kind `service`."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deepseek.log import RunLog

from ..errors import ModelsError, WrongOption, is_there, needed
from ..runtimes.pick import quantile
from .access import ServingAuth, open_tokens
from .app import error_of, make_serving_app, watch_lag
from .http import MAX_BODY_BYTES, SEND_S, as_json
from .model import ServedModels, ServingOptions
from .queue import PHASES, ServedSecond

EVERY_S = 1.0
GONE = "ASGI callable returned without"
QUIET_S = 10.0  # between lines of a service that is not asked: it is alive, and its rate is 0


class ServiceRun:
    """Raises OSError where the log folder cannot be written. `close` writes the last line."""

    def __init__(self, logs: Path, run: str | None, config: Mapping[str, Any]) -> None:
        self._log = RunLog(logs, run, kind="service", unit="request", name="serve", config=config)
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


# The server: models, HTTP, gRPC and the run of what it does, in one process and one event loop.

BACKLOG = 2048
HEAD_S, BODY_S = 30.0, 30.0  # for the headers of a request, and for all of its body
KEEP_ALIVE_S = 75.0
MAX_HEAD_BYTES = 64 << 10
MAX_READING_BYTES = 512 << 20  # of all bodies that are half there
MAX_CONNECTIONS = 8192  # of one client, too: it may be a gateway
STOP_S = 10  # for requests that are under way


@dataclass(frozen=True)
class ServingPlan:
    """`port` 0: any that is free; `grpc_port` None: no gRPC. `tokens`: the folder with `tokens.json`; None: only processes of this user are answered, on loopback only."""

    folders: dict[str, Path]
    options: ServingOptions = field(default_factory=ServingOptions)
    host: str = "127.0.0.1"
    port: int = 8100
    grpc_port: int | None = 8101
    tokens: Path | None = None
    hosts: tuple[str, ...] = ()  # names under which it may be asked, besides its own
    logs: Path | None = Path("logs")  # None: no run
    run: str | None = None
    target_s: float | None = None  # of p99, for the run's findings


def serve(
    plan: ServingPlan, started: Callable[[dict[str, str]], None] = lambda _: None, stop: threading.Event | None = None
) -> None:
    """Until SIGTERM, SIGINT or `stop`. `started` gets the addresses, `{"http": "127.0.0.1:8100", "grpc": ...}`, once all models are ready.

    SIGHUP loads all models anew. Raises ModelsError: a damaged model, a port that is taken, a missing package.
    """
    if not needed("access.hosts").is_loopback(plan.host) and plan.tokens is None:
        raise WrongOption(
            f"--host {plan.host} is reachable from other machines: give --tokens FOLDER, and make one with deepseek-models token new NAME"
        )
    runner: Any = needed("uvloop").run if is_there("uvloop") else asyncio.run
    runner(_ServerRun(plan, started, stop).whole())


class _ServerRun:
    def __init__(
        self, plan: ServingPlan, started: Callable[[dict[str, str]], None], stop: threading.Event | None
    ) -> None:
        self._plan, self._started, self._stop_event = plan, started, stop
        self._run: ServiceRun | None = None
        self._tasks: list[asyncio.Task[Any]] = []
        self._reloading, self._reloads_wait = asyncio.Lock(), False

    async def whole(self) -> None:
        began_s, plan = time.monotonic(), self._plan
        door = ServingAuth(open_tokens(plan.tokens) if plan.tokens else None, plan.host, plan.hosts)
        http = self._socket(plan.port)
        try:
            self._run = self._opened_run()
            models = ServedModels(plan.folders, plan.options, self._note)
            try:
                await models.load()
                await self._serving(models, door, http, began_s)
            finally:
                await models.close()
                if self._run:
                    self._run.close(models)
        finally:
            http.close()

    async def _serving(self, models: ServedModels, door: ServingAuth, http: socket.socket, began_s: float) -> None:
        uvicorn, edge_module = needed("uvicorn"), needed("access.http")
        edge = edge_module.Edge(
            edge_module.Limits(
                head_s=HEAD_S,
                head_bytes=MAX_HEAD_BYTES,
                idle_s=KEEP_ALIVE_S,
                send_s=SEND_S,
                connections=MAX_CONNECTIONS,
                client_share=1.0,
            ),
            sockets=False,
        )
        config = uvicorn.Config(
            edge.around(_limited(make_serving_app(models, door))),
            lifespan="off",
            ws="none",
            access_log=False,
            log_config=None,
            server_header=False,
            http=edge.protocol,
            backlog=BACKLOG,
            timeout_keep_alive=edge_module.NEVER_S,
            timeout_graceful_shutdown=STOP_S,
        )
        server = _without_signals(uvicorn)(config)
        addresses = {"http": place_of(*http.getsockname()[:2])}
        grpc_server = None
        self._tasks = [asyncio.create_task(watch_lag(models))]
        if self._plan.grpc_port is not None:
            from .oip_grpc import start_grpc

            grpc_server, port, ending = await start_grpc(models, door, self._plan.host, self._plan.grpc_port)
            addresses["grpc"] = place_of(self._plan.host, port)
            self._tasks.append(ending)
        serving = asyncio.create_task(server.serve(sockets=[http]))
        if self._run:
            self._tasks.append(asyncio.create_task(self._run.write(models)))
        if self._stop_event:
            self._tasks.append(asyncio.create_task(self._until_stopped(server)))
        with self._signals(server, models):
            while not server.started and not serving.done():
                await asyncio.sleep(0.005)
            self._note(started_text(addresses, began_s))
            self._started(addresses)
            await serving
        models.closing = True
        if grpc_server is not None:
            await grpc_server.stop(STOP_S)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _until_stopped(self, server: Any) -> None:
        assert self._stop_event
        while not self._stop_event.is_set():
            await asyncio.sleep(0.02)
        server.should_exit = True

    @contextmanager
    def _signals(self, server: Any, models: ServedModels) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        loop = asyncio.get_running_loop()

        def stop() -> None:
            models.closing = True  # readiness first, so that no new requests are sent here
            server.force_exit = server.should_exit  # asked twice, it does not wait for its clients
            server.should_exit = True

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop)
        loop.add_signal_handler(signal.SIGHUP, lambda: self._tasks.append(asyncio.create_task(self._reload(models))))
        try:
            yield
        finally:
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                loop.remove_signal_handler(number)

    async def _reload(self, models: ServedModels) -> None:
        """One at a time; of those asked for meanwhile one follows, which finds what they would."""
        if self._reloads_wait:
            return
        self._reloads_wait = True
        async with self._reloading:
            self._reloads_wait = False
            for model in models:
                with suppress(ModelsError):  # it is noted, and the version in use goes on
                    await model.load()

    def _socket(self, port: int) -> socket.socket:
        try:
            family = socket.AF_INET6 if ":" in self._plan.host else socket.AF_INET
            return socket.create_server((self._plan.host, port), family=family, backlog=BACKLOG)
        except (OSError, OverflowError) as error:
            why = getattr(error, "strerror", None) or str(error)
            raise ModelsError(
                f"port {port} of {self._plan.host} cannot be opened ({why}); give another --port or --host"
            ) from error

    def _opened_run(self) -> ServiceRun | None:
        plan = self._plan
        if plan.logs is None:
            return None
        options = plan.options
        config = {
            "models": {name: str(folder) for name, folder in plan.folders.items()},
            "runtime": options.runtime,
            "threads": options.threads,
            "workers": options.workers,
            "most_rows": options.most_rows,
            **({"p99_target_s": plan.target_s} if plan.target_s is not None else {}),
        }
        try:
            return ServiceRun(plan.logs, plan.run, config)
        except (OSError, ValueError) as error:
            raise ModelsError(f"the log folder {plan.logs} cannot be written ({error}); give another --logs") from error

    def _note(self, text: str) -> None:
        logging.getLogger("deepseek.serving").info(text)
        if self._run:
            self._run.note(text)


def _limited(app: Any) -> Any:
    """With limits for bodies, refused in the words of each path's clients."""
    bodies = needed("access.bodies")
    too_large = f"the body is longer than {MAX_BODY_BYTES >> 20} MiB; send fewer rows at a time"
    limits = bodies.BodyLimits(lambda scope: MAX_BODY_BYTES, too_large, MAX_READING_BYTES, BODY_S)

    def written(scope: Any, refusal: Any) -> bytes:
        return as_json(error_of(scope["path"], refusal.sentence))

    return bodies.PlainAnswers(bodies.LimitBodies(app, limits, written))


def place_of(host: str, port: int) -> str:
    """`127.0.0.1:8100`, `[::1]:8100`"""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _without_signals(uvicorn: Any) -> Any:
    """uvicorn's server raises the signals again that it caught, and would end this process before its last line."""

    class QuietServer(uvicorn.Server):
        @contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield

    return QuietServer
