"""A model that is served: the version in use, the one before, and the change from one to the next without a failed request."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from ...errors import ModelsError
from .background import in_background
from .figures import ServingFigures
from .loading import ServingOptions, load
from .pending import NEVER_S, ModelAnswer, TensorMap
from .refusal import RefusalKind, ServingRefusal, not_found
from .version import END_S, ServedVersion, ServingState, busy

LOG = logging.getLogger("deepseek.serving")


class ServedModel:
    """For one event loop. `trouble`: why the last load failed; the version before it goes on."""

    def __init__(
        self, name: str, folder: Path, options: ServingOptions, noted: Callable[[str], None] = lambda _: None
    ) -> None:
        self.name, self.folder, self.options = name, folder, options
        self.figures = ServingFigures()
        self.trouble = ""
        self.loading: ServingState | None = None  # of the version that comes
        self.current: ServedVersion | None = None
        self.previous: ServedVersion | None = None
        self._changing = asyncio.Lock()
        self._closing: set[asyncio.Task[None]] = set()  # versions that answer what they have
        self._numbers = 0
        self._noted = noted

    @property
    def state(self) -> ServingState:
        return self.current.state if self.current else self.loading or ServingState.CLOSED

    @property
    def is_ready(self) -> bool:
        return self.current is not None and self.current.state is ServingState.READY

    def version(self, number: str = "") -> ServedVersion:
        """Without a number the one in use. Raises ServingRefusal."""
        current = self.current
        if current is None:
            raise ServingRefusal(RefusalKind.NOT_READY, f"{self.name!r} is {self.state}; try again later", 1.0)
        if not number or number == current.number:
            return current
        if self.previous and number == self.previous.number:
            return self.previous
        there = " and ".join(version.number for version in (self.previous, current) if version)
        raise not_found(f"{self.name!r} has no version {number[:40]!r}; it has {there}")

    def submit(
        self, inputs: TensorMap, number: str = "", arrived_s: float | None = None, deadline_s: float = NEVER_S
    ) -> asyncio.Future[ModelAnswer]:
        """Raises ServingRefusal; so does the future."""
        return self.version(number).submit(inputs, time.monotonic() if arrived_s is None else arrived_s, deadline_s)

    def refuse_early(self, lag_s: float) -> None:
        """Before a request is read: raises ServingRefusal where it would have to wait too long. `lag_s`: of the event loop."""
        if self.current and (wait_s := self.current.wait_s() + lag_s) > self.current.most_wait_s:
            raise busy(self.name, wait_s, self.current.most_wait_s)

    async def load(self, folder: Path | None = None) -> ServedVersion:
        """The next version: loaded, warmed up and compared beside the one in use, then put in its place; the one in use is kept, the one before it is closed.

        Raises ModelsError, and nothing has changed then.
        """
        async with self._changing:
            wanted = folder or self.folder
            try:
                loaded = await in_background(lambda: load(wanted, self.options, self._stage), f"load-{self.name}")
                if self.current and _face(self.current) != (loaded.layout.inputs, loaded.layout.outputs):
                    self._noted(f"{self.name}: inputs or outputs of the new version differ")
            except Exception as error:
                known = error if isinstance(error, ModelsError) else ModelsError(_unforeseen(wanted, error))
                self.trouble = str(known)
                self._noted(f"{self.name}: not loaded: {known}")
                raise known from error
            finally:
                self.loading = None
            self._numbers += 1
            loop = asyncio.get_running_loop()
            new = ServedVersion(self.name, str(self._numbers), loaded, self.figures, loop, self.options.most_wait_s)
            retired, self.previous, self.current = self.previous, self.current, new
            self.folder, self.trouble = wanted, ""
            self._noted(f"{self.name}: version {new.number} is in use, batches of up to {new.queue.most_rows}")
            if retired:
                closing = asyncio.create_task(retired.close())
                self._closing.add(closing)
                closing.add_done_callback(self._closing.discard)
            return new

    async def close(self) -> None:
        """Answers what waits first. A load that does not end in time is left."""
        with suppress(TimeoutError):
            async with asyncio.timeout(END_S), self._changing:
                pass
        await asyncio.gather(*(version.close() for version in (self.current, self.previous) if version), *self._closing)

    def _stage(self, state: ServingState) -> None:
        self.loading = state


def _unforeseen(folder: Path, error: Exception) -> str:
    LOG.error("%s: a load failed", folder, exc_info=error)
    return f"{folder} cannot be loaded ({type(error).__name__}: {str(error)[:200]}); fetch or make the model again"


def _face(version: ServedVersion) -> tuple[object, object]:
    return version.layout.inputs, version.layout.outputs
