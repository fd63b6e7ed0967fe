"""File formats: which files of the log folder are read and how, one row per format."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from ..machine.run_state import is_text
from ..records import PROGRESS_NAMES, Labels, labels_of
from .formats import (
    Format,
    hugging_face,
    jsonl,
    lightning,
    lm_eval,
    mlflow,
    nccl_inspector,
    run_json,
    samples,
    tables,
    tensorboard,
    text,
    wandb,
)
from .formats.text import PendingPoints
from .formats.text.lines import LineReader
from .formats.text.numbers import TextNumbers
from .formats.values import escape_control
from .run import WRITES_S, kept_names

if TYPE_CHECKING:
    from .run import RunFolder


DATABASE = re.compile(r"(.+\.(?:db|sqlite3?))(?:-wal|-journal)?")
RANK = re.compile(r"\.rank(\d{1,9})\.(?:jsonl|log|out|err|txt)$")
EVENTS = re.compile(r"events(\.rank\d{1,9}|\.queue)?\.jsonl")  # those of a queue of jobs have a file of their own
SMALL_BYTES = 8 << 20
TABLE_HEAD_BYTES = 64 << 10  # holds the header, in which a column may be new anywhere


class Origin(NamedTuple):
    """The file that a format is made for."""

    run: RunFolder
    name: str  # of the file, in its folder
    host: str
    written_s: float  # when it was last written, Unix seconds
    part: str = ""  # the name of its folder, where that is a part of the run's folder
    path: Path = Path()

    @property
    def rank(self) -> int:
        """`metrics.rank3.jsonl -> 3`; 0 for all others."""
        return rank_of(self.name)


State = Mapping[str, Any]  # the last `Format.state` of the file


class FileFormat(NamedTuple):
    """`reading` says what the format receives: whole lines or bytes after the last offset, or the whole file when it changed.

    A database has no format of its own: what it holds shows when it is opened (`FollowedDatabases`).
    """

    name: str
    takes: Callable[[str], bool]  # a file of that name
    reading: Literal["lines", "bytes", "whole", "database"]
    make: Callable[[Origin, State], Format] | None = None
    without_suffix: bool = False  # a run that is one file is called like it, without its suffix
    part: Callable[[str], str | None] | None = (
        None  # None for the name of a folder that is a run; such files are no runs by themselves
    )
    first: Callable[[int], tuple[str, ...]] = lambda rank: ()  # files of the folder that are read before a rank's lines
    most_bytes: int = SMALL_BYTES  # of a file that is read whole
    head_bytes: int = 64  # that are remembered of a file's start, to notice that it was written anew
    stands_for: Callable[[Path], Path] = lambda path: path  # the file whose run and state this one has
    check_head: Callable[[str, bytes], bool] | None = (
        None  # see `jsonl.check_head`; before more than 64 kB of a file are read
    )
    after_jsonl: bool = False  # read once the run's JSONL is, whose names it does not repeat
    has_bars: bool = False  # a half line with carriage returns is the state of a progress bar
    within: re.Pattern[str] | None = None  # the only folders whose files it takes
    main_of: Callable[[Path], Path] = lambda path: path  # the file that is read when this one changed
    run_folder: Callable[[Path], Path | None] | None = None  # of the run, where that is not the folder of the file
    title: Callable[[Path, Callable[[Path], bytes]], str] | None = (
        None  # of such a run, given its folder and what reads a file
    )


def rank_of(name: str) -> int:
    found = RANK.search(name)
    return int(found[1]) if found else 0


def events_of(rank: int) -> tuple[str, ...]:
    """What may hold the start of this rank."""
    return (f"events.rank{rank}.jsonl", "events.jsonl") if rank else ("events.jsonl",)


def _info(origin: Origin, state: State) -> Format:
    return run_json.RunInfoFile(origin.run.name, origin.run.take_info, run_json.parse)


def _exited(origin: Origin, state: State) -> Format:
    ended = origin.run.events[origin.name] = run_json.ExitFile(origin.run.name, state)
    return ended


def _events(origin: Origin, state: State) -> Format:
    events = origin.run.events[origin.name] = jsonl.EventsParser(origin.run.name, state, origin.rank)
    return jsonl.EventLines(events, functools.partial(_metrics, origin), state)


def _samples(origin: Origin, state: State) -> Format:
    return samples.LoggedSamples(origin.run.name, origin.rank)


def _metrics(origin: Origin, state: State) -> jsonl.JsonLines:
    run, rank = origin.run, origin.rank
    labels = labels_of(host=escape_control(origin.host), rank=rank or None)

    def beside(name: str) -> str:
        return "is left out: the JSONL has the steps" if name in PROGRESS_NAMES else run.names().fault(name)

    metrics = jsonl.MetricsParser(
        run.name, labels, lambda: run.starts_of(rank), state, run.names(), run.source_priority.take_jsonl
    )
    return jsonl.JsonLines(metrics, _lines(origin, jsonl.text_state(state), beside, lambda: True))


def _tensorboard(origin: Origin, state: State) -> Format:
    run, file = origin.run, f"{origin.part}/{origin.name}".lstrip("/")
    labels, prefix = labels_of(host=escape_control(origin.host)), tensorboard.part(origin.part) or ""
    take = functools.partial(run.take_config, file)
    return tensorboard.EventFile(
        run.name, labels, escape_control(file), escape_control(prefix), _fault(origin, origin.name, state), take, state
    )


def _labels(origin: Origin) -> Labels:
    return labels_of(host=escape_control(origin.host))


def _fault(origin: Origin, file: str, state: State) -> Callable[[str], str]:
    """Why a series of that name is left out of the file, which keeps those that its state names."""
    names, priority = origin.run.names(), origin.run.source_priority
    priority.keep(kept_names(state), file)
    return lambda name: names.fault(name) or priority.why_left_out(name, file)


def _delimited(origin: Origin, state: State) -> Format:
    file = escape_control(origin.name)
    return tables.DelimitedFile(origin.run.name, file, _labels(origin), _fault(origin, file, state), state)


def _hparams(origin: Origin, state: State) -> Format:
    take = functools.partial(origin.run.take_config, escape_control(origin.name))
    return run_json.RunInfoFile(origin.run.name, take, lightning.parse)


def _trainer_state(origin: Origin, state: State) -> Format:
    named, priority = _fault(origin, hugging_face.STATE_FILE, state), origin.run.source_priority

    def fault(name: str) -> str:
        return "is left out: the run's text has it, with its time" if priority.has_told_text() else named(name)

    return hugging_face.TrainerState(origin.run.name, _labels(origin), fault, state)


def _results(origin: Origin, state: State) -> Format:
    fault = _fault(origin, hugging_face.ALL_RESULTS, state)
    return hugging_face.Results(origin.run.name, _labels(origin), fault, origin.written_s, state)


def _lm_eval(origin: Origin, state: State) -> Format:
    run, file = origin.run, escape_control(origin.name)
    fault = _fault(origin, lm_eval.SOURCE, state)

    def take(config: dict[str, Any]) -> dict[str, Any] | None:
        run.kind = lm_eval.KIND
        return run.take_config(file, config)

    return lm_eval.Scores(run.name, _labels(origin), fault, take, origin.written_s, state)


def _mlflow_metric(origin: Origin, state: State) -> Format:
    name = mlflow.name_of(origin.path)
    return mlflow.MetricFile(origin.run.name, _labels(origin), name, _fault(origin, origin.path.name, state), state)


def _mlflow_params(origin: Origin, state: State) -> Format:
    take = functools.partial(origin.run.take_config, "params")
    return mlflow.Params(origin.run.name, mlflow.name_of(origin.path), take, state)


def _mlflow_meta(origin: Origin, state: State) -> Format:
    meta = mlflow.RunMeta(origin.run.name, state)
    origin.run.events[origin.name] = meta.life
    return meta


def _mlflow_all_params(path: Path) -> Path:
    """`<run>/params/optimizer/lr -> <run>/params`"""
    return next((folder for folder in path.parents if mlflow.RUN_FOLDER.fullmatch(folder.parent.name)), path)


def _mlflow(name: str, takes: Callable[[str], bool], reading: Literal["lines", "whole"], **others: Any) -> FileFormat:
    return FileFormat(name, takes, reading, run_folder=mlflow.run_folder, title=mlflow.title, **others)


def _wandb(origin: Origin, state: State) -> Format:
    run, file = origin.run, escape_control(origin.name)
    run.parts.update(wandb.PARTS)
    found = wandb.WandbFile(
        run.name, _labels(origin), _fault(origin, file, state), functools.partial(run.take_config, file), state
    )
    run.events[file] = found.life
    return found


def _beside_checkpoints(path: Path) -> Path:
    """`out/checkpoint-500/trainer_state.json -> out/trainer_state.json`"""
    return path.parent.parent / path.name if hugging_face.CHECKPOINT.fullmatch(path.parent.name) else path


def _nccl_inspector(origin: Origin, state: State) -> Format:
    return nccl_inspector.InspectorFile(origin.run.name, state)


def _text(origin: Origin, state: State) -> Format:
    run, file = origin.run, escape_control(origin.name)
    early = PendingPoints(
        run.name, lambda: WRITES_S if run.has_ended else run.source_priority.wait_s(), state, origin.written_s
    )
    run.source_priority.is_a_text(file, early)
    wants = functools.partial(run.source_priority.wants, file, is_new=not early.is_over)
    return _lines(origin, state, _fault(origin, file, state), wants, early, run.source_priority.in_jsonl)


def _lines(
    origin: Origin,
    state: State,
    fault: Callable[[str], str],
    wants_numbers: Callable[[], bool],
    early: PendingPoints | None = None,
    elsewhere: Callable[[], Collection[str]] = tuple,
) -> text.TextLog:
    run, file, reader = origin.run, escape_control(origin.name), LineReader()

    def numbers(speaker: int | str, kept: State) -> TextNumbers:
        rank, worker = (speaker or None, None) if isinstance(speaker, int) else (None, escape_control(speaker))
        return TextNumbers(
            run.name, labels_of(host=escape_control(origin.host), rank=rank, worker=worker), fault, kept, reader
        )

    rank = origin.rank if RANK.search(origin.name) else None
    take_unit, written_s = functools.partial(run.take_unit, file), origin.written_s
    return text.TextLog(
        run.name, file, written_s, state, numbers, wants_numbers, rank, take_unit, early, elsewhere, run.is_coarse
    )


def _main_of_database(path: Path) -> Path:
    """`a/mlflow.db-wal -> a/mlflow.db`"""
    found = DATABASE.fullmatch(path.name)
    return path.with_name(found[1]) if found else path


FORMATS: tuple[
    FileFormat, ...
] = (  # a file has the first matching format; the files of a folder are read in this order
    _mlflow("MLflow meta.yaml", lambda name: name == mlflow.META_FILE, "whole", make=_mlflow_meta, within=mlflow.META),
    _mlflow(
        "MLflow params",
        lambda name: True,
        "whole",
        make=_mlflow_params,
        within=mlflow.PARAM,
        stands_for=_mlflow_all_params,
    ),
    _mlflow("MLflow metrics", lambda name: True, "lines", make=_mlflow_metric, within=mlflow.METRIC),
    FileFormat("run.json", lambda name: name == run_json.FILE, "whole", _info),
    FileFormat("exit", lambda name: name == run_json.EXIT_FILE, "whole", _exited),
    FileFormat("events", lambda name: EVENTS.fullmatch(name) is not None, "lines", _events, without_suffix=True),
    FileFormat(
        "samples", lambda name: samples.FILE.fullmatch(name) is not None, "lines", _samples, without_suffix=True
    ),
    FileFormat(
        "metrics",
        lambda name: name.endswith(".jsonl"),
        "lines",
        _metrics,
        without_suffix=True,
        first=events_of,
        check_head=jsonl.check_head,
    ),
    FileFormat(
        "tensorboard", lambda name: name.startswith(tensorboard.NAME), "bytes", _tensorboard, part=tensorboard.part
    ),
    FileFormat("database", lambda name: DATABASE.fullmatch(name) is not None, "database", main_of=_main_of_database),
    FileFormat("wandb", lambda name: name.endswith(".wandb"), "bytes", _wandb, without_suffix=True),
    FileFormat(
        "wandb output",
        lambda name: name == wandb.OUTPUT_FILE,
        "lines",
        _text,
        has_bars=True,
        within=wandb.OUTPUT,
        run_folder=wandb.run_folder,
    ),
    FileFormat(
        "csv", lambda name: name.endswith(".csv"), "lines", _delimited, without_suffix=True, head_bytes=TABLE_HEAD_BYTES
    ),
    FileFormat(
        "tsv", lambda name: name.endswith(".tsv"), "lines", _delimited, without_suffix=True, head_bytes=TABLE_HEAD_BYTES
    ),
    FileFormat(
        "hparams.yaml", lambda name: name == lightning.FILE, "whole", _hparams, most_bytes=lightning.MAX_YAML_BYTES
    ),
    FileFormat(
        "trainer_state.json",
        lambda name: name == hugging_face.STATE_FILE,
        "whole",
        _trainer_state,
        without_suffix=True,
        most_bytes=hugging_face.MAX_STATE_BYTES,
        stands_for=_beside_checkpoints,
        after_jsonl=True,
    ),
    FileFormat(
        "results.json",
        lambda name: hugging_face.RESULTS.fullmatch(name) is not None,
        "whole",
        _results,
        without_suffix=True,
        stands_for=lambda path: path.with_name(hugging_face.ALL_RESULTS),
        after_jsonl=True,
    ),
    FileFormat(
        "lm-evaluation-harness",
        lambda name: lm_eval.FILE.fullmatch(name) is not None,
        "whole",
        _lm_eval,
        without_suffix=True,
    ),
    FileFormat(
        "NCCL Inspector",
        lambda name: nccl_inspector.FILE.fullmatch(name) is not None,
        "lines",
        _nccl_inspector,
        within=nccl_inspector.FOLDER,
        run_folder=nccl_inspector.run_folder,
    ),
    FileFormat("text", is_text, "lines", _text, without_suffix=True, has_bars=True),
)


TEXT = FORMATS[-1]  # also of the standard output of a run's process, whatever that is called


def format_of(path: str | Path) -> FileFormat | None:
    """None for a file that is not read."""
    folder, _, name = str(path).rpartition("/")
    if name.startswith(".") or (name.startswith("debug") and wandb.OWN_LOG.search(str(path))):
        return None
    return next((row for row in FORMATS if _takes(row, folder, name)), None)


def _takes(row: FileFormat, folder: str, name: str) -> bool:
    return row.takes(name) and (row.within is None or row.within.search(folder) is not None)


def main_of(path: Path) -> Path:
    """The file that is read when this one changed: of what lies beside a database, the database."""
    known = format_of(path)
    return known.main_of(path) if known else path


def reading_order(path: Path) -> tuple[str, int, str]:
    """In each folder the run's description comes first, then its events, metrics and text."""
    folder, name = str(path.parent), path.name
    return folder, next((i for i, row in enumerate(FORMATS) if _takes(row, folder, name)), len(FORMATS)), name
