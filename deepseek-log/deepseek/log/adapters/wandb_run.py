"""wandb's run between `init` and `finish`, written by RunLog."""

from __future__ import annotations

import atexit
import json
import shutil
import tempfile
from collections.abc import Callable, Mapping
from itertools import chain, islice
from pathlib import Path
from time import time
from typing import Any

from ..run_info import note_of, tags_of
from .guard import Inert, InertCall, guarded, inert_class, report, say_once
from .late_log import LateLog, plain_name
from .wandb_config import MAX_NAMES, WandbConfig, WandbSummary
from .wandb_media import Media, MediaFolder, log_media, media_of

PLAIN = frozenset((float, int))
OF_AN_EVENT = ("kind", "self", "time_s", "rank")  # names that an event has itself


class WandbRun:
    """Without a log (`mode="disabled"`, or a folder that cannot be written) it answers as ever, and nothing is written.

    A copy, also a pickled one, has its names, configuration and summary, and no log.
    """

    offline = False
    sweep_id = None
    entity = url = ""

    def __init__(
        self,
        late: LateLog,
        name: str = "",
        project: str = "",
        id: str = "",
        *,
        step: int = 0,
        resumed: bool = False,
        disabled: bool = False,
        about: Mapping[str, Any] | None = None,
        ended: Callable[[WandbRun], None] | None = None,
    ) -> None:
        """`about` are the further arguments of `init`; `ended` is called when the run ends."""
        about = about or {}
        self.project, self.id, self.resumed, self.disabled, self.start_time = project, id, resumed, disabled, time()
        self.group, self.job_type = text(about.get("group")), text(about.get("job_type"))
        self.settings = Inert()
        self.config = WandbConfig(guarded(late.add_config))
        self._set: dict[str, Any] = {}  # of the summary, by the script: it goes into the event `summary` at the end
        self.summary = WandbSummary(self._set.update)
        self._late, self._name, self._ended = late, name, ended
        self._tags, self._notes = _tags(about.get("tags")) or (), _note(about.get("notes")) or ""
        self._has_id = bool(id)
        self._pending: dict[str, Any] = {}  # of a step that is not finished
        self._media: dict[str, list[Media]] = {}  # likewise
        self._place: MediaFolder | None = None
        self._step = step
        self._dir = ""

    @property
    def name(self) -> str:
        return self._name

    @name.setter
    def name(self, value: Any) -> None:
        """The name that is shown; the folder keeps its own."""
        self._name = str(value)
        self._describe()

    @property
    def tags(self) -> tuple[str, ...]:
        return self._tags

    @tags.setter
    def tags(self, value: Any) -> None:
        self._tags = _tags(value) or ()
        guarded(self._late.describe)(tags=self._tags)

    @property
    def notes(self) -> str:
        return self._notes

    @notes.setter
    def notes(self, value: Any) -> None:
        self._notes = _note(value) or ""
        guarded(self._late.describe)(note=self._notes)

    @property
    def step(self) -> int:
        return self._step

    @property
    def dir(self) -> str:
        """The run's folder; without a log a temporary one."""
        self._dir = self._dir or self._folder() or _temporary() or "."
        return self._dir

    def log(self, data: Mapping[str, Any], step: int | None = None, commit: bool | None = None, **others: Any) -> None:
        """Data of a step gathers until the step is finished: by `commit`, which is the default without `step`, or by a later step."""
        try:  # in place of `guarded`, which is a call more of the one that each step makes
            waits = self._pending or self._media
            if (
                step is None
                and commit is not False
                and data
                and not waits
                and PLAIN.issuperset(map(type, data.values()))
            ):
                step, self._step = self._step, self._step + 1  # the usual call: few steps, each of them here
                if len(self.summary) < MAX_NAMES:
                    dict.update(self.summary, data)
                self._late.scalars(step, data)
            else:
                self._gather(data, step, commit)
        except Exception as error:
            report("WandbRun.log", error)

    def _gather(self, data: Mapping[str, Any], step: int | None, commit: bool | None) -> None:
        if step is not None and step != self._step:
            if step < self._step:
                say_once("log: data of a step that is over is left out; steps only grow")
                return
            self._flush()
            self._step = step
        values = flat(data, self._media)
        self._pending.update(values)
        self.summary.log(values)
        if commit or (commit is None and step is None):
            self._flush()
            self._step += 1

    @guarded
    def alert(self, title: str, text: str = "", level: Any = "INFO", **others: Any) -> None:
        self._late.get().event("alert", step=self._step, text=f"{title}: {text}" if text else title)

    def finish(self, exit_code: int | None = None, **others: Any) -> None:
        """Also at the end of the process."""
        self._end(SystemExit(exit_code) if exit_code else None)

    def define_metric(self, *positional: Any, **named: Any) -> Inert:
        """Charts have the step on their axis; the definition is accepted."""
        return Inert()

    def project_name(self) -> str:
        return self.project

    def get_url(self) -> str:
        return self.url

    def __enter__(self) -> WandbRun:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._end(error)

    def __getattr__(self, name: str) -> Any:
        return not_logged(name)

    def __reduce__(self) -> tuple[Any, ...]:
        return _copy, (self._name, self.project, self.id, dict(self.config), dict(self.summary))

    def _begin(self) -> None:
        """Without a name and an id it has those of its folder."""
        folder = self._open() or ""
        self._name = self._name or folder or "run"
        self.id = self.id or folder or self._name

    def _end(self, error: BaseException | None) -> None:
        if self._ended:
            self._ended(self)
        self._flush()
        self._summarize()
        self._close(error)

    @guarded
    def _open(self) -> str:
        folder = str(self._late.get().run)
        atexit.register(self._flush)  # before the log's own: what comes last is called first
        return folder

    @guarded
    def _describe(self) -> None:
        known = {"project": self.project, "name": self._name, "id": self.id if self._has_id else ""}
        if known := {key: value for key, value in known.items() if value}:
            self._late.add_config({"wandb": known})
        if about := {key: value for key, value in (("tags", self.tags), ("note", self.notes)) if value}:
            self._late.describe(**about)

    @guarded
    def _flush(self) -> None:
        self._write()

    def _write(self) -> None:
        if self._pending:
            values, self._pending = self._pending, {}
            self._late.get().scalars(self._step, values)
        if self._media:
            media, self._media = self._media, {}
            log = self._late.get()
            if not isinstance(log, Inert):
                self._place = self._place or MediaFolder(log.folder, log.rank, self._step)
                log_media(log, self._place, self._step, media)

    @guarded
    def _summarize(self) -> None:
        fields = {f"{name}_" if name in OF_AN_EVENT else str(name): value for name, value in self._set.items()}
        self._set.clear()
        if fields:
            self._late.get().event("summary", **{"step": self._step, **fields})

    @guarded
    def _close(self, error: BaseException | None) -> None:
        atexit.unregister(self._flush)
        self._dir = self._dir or self._folder() or ""
        try:
            self._late.close(error)
        finally:
            self._late.never()

    @guarded
    def _folder(self) -> str:
        return str(self._late.get().folder)


def flat(data: Mapping[str, Any], media: dict[str, list[Media]], prefix: str = "") -> Mapping[str, Any]:
    """`{"train": {"loss": 0.5}} -> {"train.loss": 0.5}`, as wandb names them; images and their like go into `media`."""
    found: dict[str, Any] = {}
    for name, value in data.items():
        if isinstance(value, Mapping):
            found.update(flat(value, media, f"{prefix}{name}."))
        elif several := media_of(value):
            media[f"{prefix}{name}"] = several
        elif not isinstance(value, Inert):
            found[f"{prefix}{name}"] = value
    return found


def not_logged(name: str) -> Any:
    """`Image`, `Settings`, ... are classes of inert things; other names are inert calls."""
    if name.startswith("_"):
        raise AttributeError(name)
    return inert_class(name) if name[:1].isupper() else InertCall(name)


def closed() -> LateLog:
    late = LateLog()
    late.never()
    return late


def text(value: Any) -> str:
    return value if isinstance(value, str) else ""


@guarded
def _note(given: Any) -> str:
    return "" if given is None else note_of(given) or ""


@guarded
def _tags(given: Any) -> tuple[str, ...]:
    return () if given is None else tuple(tags_of(given) or ())


@guarded
def _temporary() -> str:
    """It is removed when the process ends."""
    folder = tempfile.mkdtemp(prefix="run-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _copy(name: str, project: str, id: str, config: Mapping[str, Any], summary: Mapping[str, Any]) -> WandbRun:
    run = WandbRun(closed(), name, project, id)
    run.config.show(config)
    run.summary.show(summary)
    return run


# Which folder wandb's calls are written into, and how far a run that goes on had come.

RESUMES = ("allow", "must", "auto", True)
MAX_RUNS = 5_000  # that are searched for an id
MAX_INFO_BYTES = 1 << 20
TAIL_BYTES = 4 << 20


def folder_name(log_dir: Path, name: str, id: str, resume: Any, several_ranks: bool) -> str:
    """The run of this id, else the one of this name if `resume` asks for it and it has no other id, else a free name: `a -> a-2`.

    `name` may be the id. Several ranks agree on the name without a word between them, so theirs is never changed.
    """
    if id and resume != "never" and (found := with_id(log_dir, id)):
        return found
    name = free = plain_name(name)
    goes_on = resume in RESUMES or (id and name == plain_name(id) and resume != "never")
    if several_ranks or (goes_on and (not id or id_of(log_dir / name) in ("", id))):
        return name
    count = 1
    while (log_dir / free).exists():
        count += 1
        free = f"{name}-{count}"
    return free


def with_id(log_dir: Path, id: str) -> str:
    """The name of the run that was begun with this id, or ""."""
    files = chain(log_dir.glob("*/run.json"), log_dir.glob("*/*/run.json"))
    folders = (file.parent for file in islice(files, MAX_RUNS))
    return next((folder.relative_to(log_dir).as_posix() for folder in folders if id_of(folder) == id), "")


def id_of(folder: Path) -> str:
    """wandb's id of a run, or ""."""
    return known(config_of(folder), "id")


def config_of(folder: Path) -> dict[str, Any]:
    """The configuration of a run, with its names as `wandb`; empty where there is none."""
    try:
        with (folder / "run.json").open("rb") as file:
            config = json.loads(file.read(MAX_INFO_BYTES))["config"]
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return {}
    return config if isinstance(config, dict) else {}


def known(config: dict[str, Any], key: str) -> str:
    """Of wandb's `name`, `project` and `id` in a configuration, or ""."""
    names = config.get("wandb")
    return str(names.get(key, "")) if isinstance(names, dict) else ""


def begun(folder: Path, rank: int) -> bool:
    """Has this rank written into it before?"""
    return (folder / f"events{_suffix(rank)}.jsonl").exists()


def next_step(folder: Path, rank: int) -> int:
    """The step after the last one that is in this rank's file: wandb goes on there."""
    try:
        with (folder / f"metrics{_suffix(rank)}.jsonl").open("rb") as file:
            file.seek(max(0, file.seek(0, 2) - TAIL_BYTES))
            lines = file.read(TAIL_BYTES).splitlines()
    except OSError:
        return 0
    return next((step + 1 for step in map(_step, reversed(lines)) if step is not None), 0)


def _suffix(rank: int) -> str:
    return f".rank{rank}" if rank else ""


def _step(line: bytes) -> int | None:
    """None of a line that is cut, or has none."""
    try:
        step = json.loads(line)["step"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
    return step if type(step) is int else None
