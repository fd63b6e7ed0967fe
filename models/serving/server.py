"""The server: models, HTTP, gRPC and the run of what it does, in one process and one event loop."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from ..errors import ModelsError, WrongOption
from ..extras import is_there, needed
from .access.door import ServingDoor
from .access.token_file import open_tokens
from .core.loading import ServingOptions
from .core.served_models import ServedModels
from .faces.app import make_serving_app, watch_lag
from .faces.connection import guarded
from .service_run import ServiceRun, started_text

BACKLOG = 2048
KEEP_ALIVE_S = 75
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
    if not is_loopback(plan.host) and plan.tokens is None:
        raise WrongOption(
            f"--host {plan.host} is reachable from other machines: give --tokens FOLDER, and make one with deepseek-models token new NAME"
        )
    runner: Any = needed("uvloop").run if is_there("uvloop") else asyncio.run
    runner(_Serving(plan, started, stop).whole())


class _Serving:
    def __init__(
        self, plan: ServingPlan, started: Callable[[dict[str, str]], None], stop: threading.Event | None
    ) -> None:
        self._plan, self._started, self._stop_event = plan, started, stop
        self._run: ServiceRun | None = None
        self._tasks: list[asyncio.Task[Any]] = []
        self._reloading, self._reloads_wait = asyncio.Lock(), False

    async def whole(self) -> None:
        began_s, plan = time.monotonic(), self._plan
        door = ServingDoor(open_tokens(plan.tokens) if plan.tokens else None, plan.host, plan.hosts)
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

    async def _serving(self, models: ServedModels, door: ServingDoor, http: socket.socket, began_s: float) -> None:
        uvicorn = needed("uvicorn")
        config = uvicorn.Config(
            make_serving_app(models, door),
            lifespan="off",
            ws="none",
            access_log=False,
            log_config=None,
            server_header=False,
            http=guarded(needed("uvicorn.protocols.http.auto").AutoHTTPProtocol),
            backlog=BACKLOG,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=STOP_S,
        )
        server = _without_signals(uvicorn)(config)
        addresses = {"http": place_of(*http.getsockname()[:2])}
        grpc_server = None
        self._tasks = [asyncio.create_task(watch_lag(models))]
        if self._plan.grpc_port is not None:
            from .faces.oip_grpc import start_grpc

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


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches it, as far as the word says: other names are not looked up."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


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
