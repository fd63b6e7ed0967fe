"""wandb's calls, written as a run: `import deepseek.integrations.wandb as wandb`. wandb itself is not needed, and nothing is sent.

    with wandb.init(project="shop", name="small", config={"lr": 1e-3}) as run:
        for step in range(1000):
            run.log({"train": {"loss": 1 / (step + 1)}})      # the series train.loss

`init`, `log`, `config`, `summary`, `finish` and `alert` do what wandb's documentation says, as far as a run here has it. All other
names are accepted: each says once that it is not logged. Numbers are logged; images, tables, histograms and artifacts are not.
"""

from __future__ import annotations

import atexit
import functools
import os
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from .guard import guarded, say_once
from .inert import Inert
from .late_log import LateLog, place
from .wandb_config import WandbConfig

PLAIN = frozenset((float, int))
RESUMES = ("allow", "must", "auto", True)


class Error(Exception):
    """What scripts catch; it is never raised."""


class WandbRun:
    """A run between `init` and `finish`; without a log (`mode="disabled"`, or a folder that cannot be written) its calls do nothing."""

    def __init__(self, late: LateLog, name: str, project: str, id: str) -> None:
        self.name, self.project, self.id = name, project, id
        self.config = WandbConfig(guarded(late.add_config))
        self.summary = WandbConfig()  # what a script sets there goes into the event `summary` at the end
        self._late = late
        self._pending: dict[str, Any] = {}  # of a step that is not finished
        self._step = 0

    @property
    def step(self) -> int:
        return self._step

    @property
    def dir(self) -> str:
        return str(self._folder() or self._late.log_dir)

    @guarded
    def log(self, data: Mapping[str, Any], step: int | None = None, commit: bool | None = None, **others: Any) -> None:
        """Data of a step gathers until the step is finished: by `commit`, which is the default without `step`, or by a later step."""
        if step is not None and step != self._step:
            if step < self._step:
                say_once("log: data of a step that is over is left out; steps only grow")
                return
            self._write()
            self._step = step
        self._pending.update(flat(data))
        if commit or (commit is None and step is None):
            self._write()
            self._step += 1

    @guarded
    def alert(self, title: str, text: str = "", level: Any = "INFO", **others: Any) -> None:
        self._late.get().event("alert", step=self._step, text=f"{title}: {text}" if text else title)

    @guarded
    def finish(self, exit_code: int | None = None, **others: Any) -> None:
        """Also at the end of the process."""
        self._write()
        self._leave(SystemExit(exit_code) if exit_code else None)

    def define_metric(self, *positional: Any, **named: Any) -> Inert:
        """Charts have the step on their axis; the definition is accepted."""
        return Inert()

    def __enter__(self) -> WandbRun:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._exit(error)

    def __getattr__(self, name: str) -> Any:
        return _not_logged(name)

    @guarded
    def _exit(self, error: BaseException | None) -> None:
        self._write()
        self._leave(error)

    def _write(self) -> None:
        if self._pending:
            values, self._pending = self._pending, {}
            self._late.get().scalars(self._step, values)

    def _leave(self, error: BaseException | None) -> None:
        global run, config, summary
        if run is self:
            run, config, summary = None, WandbConfig(), WandbConfig()
        atexit.unregister(self._flush)
        if self.summary:
            self._late.get().event("summary", **{"step": self._step, **dict(self.summary)})
            self.summary.clear()
        self._late.close(error)
        self._late.never()

    @guarded
    def _begin(self) -> None:
        self._late.get()
        atexit.register(self._flush)  # before the log's own: what comes last is called first

    @guarded
    def _flush(self) -> None:
        self._write()

    @guarded
    def _folder(self) -> str | None:
        return str(self._late.get().folder)


run: WandbRun | None = None
config = WandbConfig()
summary = WandbConfig()
errors = SimpleNamespace(Error=Error, CommError=Error, UsageError=Error, AuthenticationError=Error)


def init(
    project: str | None = None,
    config: Any = None,
    name: str | None = None,
    dir: str | os.PathLike[str] | None = None,
    id: str | None = None,
    mode: str | None = None,
    resume: Any = None,
    reinit: Any = None,
    **others: Any,
) -> WandbRun:
    """The run is called `name`, else `id`, else after the script and the time. A second run of a name gets a number, unless `resume`.

    The log folder is `dir`, else DEEPSEEK_LOG_DIR, else ./logs. While a run is open it is returned, unless `reinit` asks for a new one.
    """
    return _init(project, config, name, dir, id, mode, resume, reinit) or WandbRun(_closed(), "", "", "")


def log(data: Mapping[str, Any], step: int | None = None, commit: bool | None = None, **others: Any) -> None:
    if run is None:
        say_once("log: call init first; what is logged before is left out")
    else:
        run.log(data, step, commit)


def finish(exit_code: int | None = None, **others: Any) -> None:
    if run is not None:
        run.finish(exit_code)


def alert(title: str, text: str = "", level: Any = "INFO", **others: Any) -> None:
    if run is not None:
        run.alert(title, text, level)


def define_metric(*positional: Any, **named: Any) -> Inert:
    return Inert()


def login(*positional: Any, **named: Any) -> bool:
    """Nothing is sent."""
    return True


def setup(*positional: Any, **named: Any) -> Inert:
    return Inert()


def flat(data: Mapping[str, Any], prefix: str = "") -> Mapping[str, Any]:
    """`{"train": {"loss": 0.5}} -> {"train.loss": 0.5}`, as wandb names them; media is left out."""
    if not prefix and PLAIN.issuperset(map(type, data.values())):  # the usual data, kept cheap
        return data
    found: dict[str, Any] = {}
    for name, value in data.items():
        if isinstance(value, Mapping):
            found.update(flat(value, f"{prefix}{name}."))
        elif not isinstance(value, Inert):
            found[f"{prefix}{name}"] = value
    return found


def __getattr__(name: str) -> Any:
    """`Image`, `Table`, `Settings`, ... are classes of inert things; other names are inert calls."""
    return _not_logged(name)


def _not_logged(name: str) -> Any:
    if name.startswith("_"):
        raise AttributeError(name)
    if name[:1].isupper():
        return _inert_class(name)
    return _InertCall(name)


@functools.lru_cache(maxsize=256)
def _inert_class(name: str) -> type[Inert]:
    """`isinstance(value, wandb.Image)` asks for the same class again."""
    return type(name, (Inert,), {})


class _InertCall(Inert):
    def __init__(self, name: str) -> None:
        object.__setattr__(self, "_name", name)

    def __call__(self, *positional: Any, **named: Any) -> Inert:
        say_once(f"wandb's {self._name} is not logged here")
        return Inert()


def _closed() -> LateLog:
    late = LateLog()
    late.never()
    return late


@guarded
def _init(project: Any, given: Any, name: Any, dir: Any, id: Any, mode: Any, resume: Any, reinit: Any) -> WandbRun:
    global run, config, summary
    if run is not None:
        if reinit in (None, False, "default", "return_previous"):
            run.config.update(given or {})
            return run
        run.finish()
    project = _text(project) or os.environ.get("WANDB_PROJECT", "")
    name = _text(name) or os.environ.get("WANDB_NAME", "") or _text(id)
    late = LateLog(dir)
    if (mode or os.environ.get("WANDB_MODE")) == "disabled":
        late.never()
    elif name:
        late.run = _free(late.log_dir, name) if resume not in RESUMES and place()[1] == 1 else _plain(name)
    if wandb := {key: value for key, value in (("project", project), ("name", name)) if value}:
        late.add_config({"wandb": wandb})
    run = WandbRun(late, name or "run", project, _text(id) or name or "run")
    run.config.update({**config, **WandbConfig.plain(given)})
    config, summary = run.config, run.summary
    run._begin()
    return run


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _plain(name: str) -> str:
    """A name that stays in the log folder: `../a -> a`"""
    return "/".join(part for part in Path(name).parts if part not in ("..", "/")) or "run"


def _free(log_dir: Path, name: str) -> str:
    """In wandb two runs may have one name."""
    name = free = _plain(name)
    count = 1
    while (log_dir / free).exists():
        count += 1
        free = f"{name}-{count}"
    return free
