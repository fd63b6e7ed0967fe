"""wandb's calls, written as a run: `import deepseek.log.adapters.wandb as wandb`. wandb itself is not needed, and nothing is sent.

    with wandb.init(project="shop", name="small", config={"lr": 1e-3}) as run:
        for step in range(1000):
            run.log({"train": {"loss": 1 / (step + 1)}})      # the series train.loss

`init`, `log`, `config`, `summary`, `finish` and `alert` do what wandb's documentation says, as far as a run here has it. All other
names are accepted: each says once that it is not logged. Numbers, images, audio, HTML, tables and histograms are logged; artifacts are not.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from .guard import Inert, guarded, say_once
from .late_log import LateLog, place
from .wandb_config import WandbConfig, WandbSummary
from .wandb_media import Audio, Histogram, Html, Image
from .wandb_run import WandbRun, begun, closed, config_of, folder_name, known, next_step, not_logged, text
from .wandb_stand_ins import (
    AlertLevel,
    AuthenticationError,
    CommError,
    DataTypes,
    Error,
    Errors,
    LoggedTable,
    Sdk,
    UsageError,
    Util,
)

__all__ = (
    "AlertLevel",
    "Audio",
    "AuthenticationError",
    "CommError",
    "Error",
    "Histogram",
    "Html",
    "Image",
    "Run",
    "Table",
    "UsageError",
)
__version__ = "0.22.0"  # of wandb, whose calls these are: scripts compare it

RETURNED = (None, False, "default", "return_previous")  # values of `reinit` with which the open run is the answer
Run, Table = WandbRun, LoggedTable
run: WandbRun | None = None
config = WandbConfig()
summary: WandbConfig = WandbSummary()
errors, data_types, util, sdk = Errors(), DataTypes(), Util(), Sdk(WandbRun)


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

    The run of an `id` goes on after its last step. The log folder is `dir`, else DEEPSEEK_LOG_DIR, else ./logs. While a run is open
    it is returned, unless `reinit` asks for a new one.
    """
    given = _values(config) or {}
    if run is not None:
        if reinit in RETURNED:
            run.config.update(given)
            return run
        run.finish()
    id = text(id) or os.environ.get("WANDB_RUN_ID", "")
    name = text(name) or os.environ.get("WANDB_NAME", "")
    disabled = (mode or os.environ.get("WANDB_MODE")) == "disabled"
    late = _late(dir) or closed()
    if disabled:
        late.never()
    resumed, step, before = _find(late, name or id, id, resume or os.environ.get("WANDB_RESUME")) or (False, 0, {})
    made = WandbRun(
        late,
        name or known(before, "name") or id,
        text(project) or os.environ.get("WANDB_PROJECT", "") or known(before, "project"),
        id or known(before, "id"),
        step=step,
        resumed=resumed,
        disabled=disabled,
        about=others,
        ended=_forget,
    )
    before.pop("wandb", None)
    given = {**before, **given}
    _take_over(made, given)
    made._begin()
    return made


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


def sweep(*positional: Any, **named: Any) -> str:
    """An id for `agent`."""
    return util.generate_id()


def agent(
    sweep_id: str, function: Callable[[], Any] | None = None, *positional: Any, count: int | None = None, **named: Any
) -> None:
    """Call the function `count` times, once without a count; what it raises passes, and ends its run as crashed."""
    say_once("agent: the values of a sweep are not drawn here; its function is called with the script's own")
    for _ in range(1 if count is None else count):
        try:
            if function is not None:
                function()
        except BaseException as error:
            if run is not None:
                run._end(error)
            raise
        finish()


def define_metric(*positional: Any, **named: Any) -> Inert:
    return Inert()


def login(*positional: Any, **named: Any) -> bool:
    """Nothing is sent."""
    return True


def setup(*positional: Any, **named: Any) -> Inert:
    return Inert()


def __getattr__(name: str) -> Any:
    return not_logged(name)


@guarded
def _values(given: Any) -> dict[str, Any]:
    return WandbConfig.plain(given)


@guarded
def _late(dir: Any) -> LateLog | None:
    return LateLog(dir)


@guarded
def _find(late: LateLog, name: str, id: str, resume: Any) -> tuple[bool, int, dict[str, Any]] | None:
    """Choose the log's folder: does a run go on there, at which step, and with which configuration?"""
    if not name or late.is_inert:
        return None
    rank, world_size = place()
    late.run = name  # also where the log folder cannot be searched
    late.run = folder_name(late.log_dir, name, id, resume, world_size > 1)
    folder = late.log_dir / late.run
    resumed = begun(folder, rank)
    return resumed, next_step(folder, rank), config_of(folder) if resumed else {}


def _take_over(made: WandbRun, given: Mapping[str, Any]) -> None:
    """What was set before `init` is the run's, too."""
    global run, config, summary
    made._describe()
    made.config.update({**config, **given})
    run, config, summary = made, made.config, made.summary


def _forget(ended: WandbRun) -> None:
    global run, config, summary
    if run is ended:
        run, config, summary = None, WandbConfig(), WandbSummary()
