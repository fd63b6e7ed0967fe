"""RunLog as scripts use it: what is written of values, phases, samples and processes."""

from __future__ import annotations

import argparse
import itertools
import json
import logging
import math
import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepseek.log import RunLog
from tests.support.logging_scripts import LOG_THOUSAND, events_of, lines_of, run_to_its_end, steps_of
from tests.support.logging_scripts import log as log  # a fixture
from tests.support.running import ROOT, script


def test_two_ranks_write_one_run(tmp_path: Path) -> None:
    with (
        script(LOG_THOUSAND, str(tmp_path), RANK="0", WORLD_SIZE="2") as one,
        script(LOG_THOUSAND, str(tmp_path), RANK="1", WORLD_SIZE="2") as two,
    ):
        assert (one.wait(30), two.wait(30)) == (0, 0)
    assert steps_of(tmp_path) == steps_of(tmp_path, "metrics.rank1.jsonl") == list(range(1000))
    assert sorted(event["rank"] for event in events_of(tmp_path, "start")) == [0, 1]
    assert sorted(event.get("rank", 0) for event in events_of(tmp_path, "end")) == [0, 1]
    info = json.loads((tmp_path / "run" / "run.json").read_text())
    assert (info["world_size"], info["pid"]) == (2, one.pid)


def test_each_rank_has_an_events_file_of_its_own_and_says_where_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two hosts that append to one file of a network file system overwrite each other."""
    for name, value in {
        "RANK": "3",
        "WORLD_SIZE": "16",
        "LOCAL_RANK": "1",
        "SLURM_JOB_ID": "4127",
        "TORCHELASTIC_RESTART_COUNT": "2",
    }.items():
        monkeypatch.setenv(name, value)
    with RunLog(tmp_path, "run") as log:
        log.event("note", text="hello")
    assert [path.name for path in (tmp_path / "run").glob("events*")] == ["events.rank3.jsonl"]
    start, note, end = lines_of(tmp_path / "run" / "events.rank3.jsonl")
    place = {"rank": 3, "world_size": 16, "local_rank": 1, "job_id": "4127", "restarts": 2}
    assert place.items() <= start.items() and (start["kind"], note["rank"], end["kind"]) == ("start", 3, "end")


class Hostile:
    """A value of a config that cannot even be shown."""

    def __str__(self) -> str:
        raise RuntimeError("never")

    __repr__ = __str__


def around(depth: int) -> object:
    value: object = 1
    for _ in range(depth):
        value = {"a": [value]}
    return value


def test_what_a_reader_cannot_take_is_written_as_its_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that a script says of itself may end it, nor be lost for who reads it."""
    pytest.importorskip("orjson", reason="the readers are the dashboard's")
    from collectors.logs.formats import Tally
    from collectors.logs.formats.jsonl import EventsParser
    from collectors.logs.formats.run_json import parse
    from collectors.records import Event

    circle: dict[str, object] = {}
    circle["itself"] = circle
    odd = {
        "seed": 2**127,
        "huge": 10**5000,
        ("a", 1): float("nan"),
        "name": "caf\udce9",
        "deep": around(500),
        "circle": circle,
        "x": Hostile(),
    }
    monkeypatch.setattr(sys, "orig_argv", ["python", "caf\udce9.py"])
    monkeypatch.setenv("RANK", "first")
    with RunLog(tmp_path, "run", config=odd) as log:
        log.event("odd\ud800", **{str(name): value for name, value in odd.items()})
        log.scalars(2**127, {"a\udce9": 1.0, "big": 2**127})
    data = (tmp_path / "run" / "run.json").read_bytes()
    tally = Tally()
    info = parse(data, tally)
    assert info is not None and (tally.lines_skipped, tally.fields_skipped, tally.first_skip) == (0, 0, "")
    assert (info["config"]["seed"], info["config"]["('a', 1)"]) == (str(2**127), "NaN")
    assert "caf\\udce9" in info["command"] and info["config"]["x"] == "<Hostile: RuntimeError>"
    events = EventsParser("run")
    found = events.parse((tmp_path / "run" / "events.jsonl").read_bytes().splitlines(), None)
    assert [type(event) for event in found] == [
        Event
    ] * 3 and events.tally.lines_skipped == events.tally.fields_skipped == 0
    assert lines_of(tmp_path / "run" / "metrics.jsonl")[0]["a\\udce9"] == 1.0


def test_a_run_that_is_continued_without_a_configuration_keeps_its_own(tmp_path: Path) -> None:
    def config() -> object:
        return json.loads((tmp_path / "run" / "run.json").read_text())["config"]

    RunLog(tmp_path, "run", config={"lr": 0.1}).close()
    with RunLog(tmp_path, "run") as log:
        assert config() == {"lr": 0.1}
        log.add_config({"batch": 32})
    assert config() == {"lr": 0.1, "batch": 32}
    RunLog(tmp_path, "run", config={"lr": 0.2}).close()
    assert config() == {"lr": 0.2}


class Failing:
    """A number that cannot be read."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __float__(self) -> float:
        raise self.error

    __iter__ = __len__ = __float__


@pytest.mark.parametrize("error", [KeyError("x"), OSError(5, "gone"), AssertionError(), SystemExit(3)], ids=repr)
def test_a_value_that_fails_in_its_own_way_costs_no_other_line(
    tmp_path: Path, error: BaseException, capsys: pytest.CaptureFixture[str]
) -> None:
    with RunLog(tmp_path, "run") as log:
        log.scalars(1, loss=0.5)
        log.scalars(2, loss=Failing(error))
        log.scalars(3, loss=0.25)
        if isinstance(error, Exception):
            log.event("odd", value=Failing(error))
    lines = lines_of(tmp_path / "run" / "metrics.jsonl")
    assert [line["loss"] for line in lines if "loss" in line] == [0.5, 0.25] and "not logged" in capsys.readouterr().err
    assert events_of(tmp_path, "end")


@pytest.mark.parametrize(
    ("tags", "written"),
    [
        (["a", "b"], ["a", "b"]),
        ("baseline", ["baseline"]),
        (iter(["a"]), ["a"]),
        ([1, None, Hostile()], ["1"]),
        (np.array(["a", "b"]), ["a", "b"]),
        (5, ["before"]),
        ({"a": 1}, ["before"]),
        (Failing(KeyError("x")), ["before"]),
    ],
)
def test_tags_and_notes_may_be_anything(tmp_path: Path, tags: Any, written: list[str]) -> None:
    with RunLog(tmp_path, "run") as log:
        log.describe(tags=["before"])
        log.describe(tags=tags, note=3)  # type: ignore[arg-type]
    info = json.loads((tmp_path / "run" / "run.json").read_text())
    assert (info["tags"], info["note"]) == (written, "3")


def test_a_configuration_is_a_mapping_or_what_has_attributes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with RunLog(tmp_path, "run", config=argparse.Namespace(lr=0.1)) as log:  # type: ignore[arg-type]
        log.add_config(None)  # type: ignore[arg-type]
        log.add_config([("a", 1)])  # type: ignore[arg-type]
        log.add_config({"batch": 32})
        log.text(ValueError("no data"))  # type: ignore[arg-type]
        log.alert(Hostile())  # type: ignore[arg-type]
        log.close("crashed", ValueError("no data"))  # type: ignore[arg-type]
    assert json.loads((tmp_path / "run" / "run.json").read_text())["config"] == {"lr": 0.1, "batch": 32}
    assert "the configuration is not logged: list has no names" in capsys.readouterr().err
    assert [event["reason"] for event in events_of(tmp_path, "end")] == ["no data"]
    assert [path.read_text().endswith("INFO no data\n") for path in (tmp_path / "run").glob("*.log")] == [True]


def test_several_ranks_need_a_name_and_no_name_leaves_the_log_folder(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="name it"):
        RunLog(tmp_path, world_size=2)
    for name in ("", "../other", "/elsewhere", "a/../../b"):
        with pytest.raises(ValueError, match="plain name"):
            RunLog(tmp_path, name)
    with RunLog(tmp_path, "sweep/lr-3") as log:
        assert log.run == "sweep/lr-3"


def test_runs_without_a_name_that_start_in_the_same_second_are_two(tmp_path: Path) -> None:
    with RunLog(tmp_path, name="train") as one, RunLog(tmp_path, name="train") as two:
        assert one.run != two.run
        assert one.run.startswith("train-2")


def test_the_start_event_tells_which_process_logs(tmp_path: Path, log: RunLog) -> None:
    (start,) = events_of(tmp_path, "start")
    stat = Path(f"/proc/{os.getpid()}/stat").read_text()
    assert start["pid"] == os.getpid()
    assert start["pid_start_ticks"] == int(stat[stat.rindex(")") + 2 :].split()[19])
    assert start["boot_id"] == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert (start["host"], start["rank"]) == (os.uname().nodename, 0)


def test_a_resumed_run_keeps_what_its_first_start_said_of_the_process(tmp_path: Path) -> None:
    run_to_its_end(LOG_THOUSAND, tmp_path)
    first = json.loads((tmp_path / "run" / "run.json").read_text())
    with RunLog(tmp_path, "run", config={"lr": 0.1, "data": tmp_path}):
        pass
    again = json.loads((tmp_path / "run" / "run.json").read_text())
    kept = ("pid", "host", "started_s", "kind", "run")
    assert {key: again[key] for key in kept} == {key: first[key] for key in kept}
    assert again["config"] == {"lr": 0.1, "data": str(tmp_path)}
    assert len(events_of(tmp_path, "start")) == 2


class Raises:
    """Whatever is asked of it."""

    def __iter__(self) -> Any:
        raise OSError("gone")

    __str__ = __len__ = __bool__ = __iter__


NAN = float("nan")
LONG = "word " * 20


def described_by(folder: Path, **given: Any) -> dict[str, Any]:
    """What a run's `run.json` says, once a script has described it so."""
    with RunLog(folder, "run") as log:
        log.describe(**given)
    described: dict[str, Any] = json.loads((folder / "run" / "run.json").read_text())
    return described


@pytest.mark.parametrize(
    ("given", "kept", "said"),
    [
        ("abc", ["abc"], ""),
        ([], [], ""),
        ((tag for tag in "ab"), ["a", "b"], ""),
        ({"one"}, ["one"], ""),
        (np.array(["a", "b"]), ["a", "b"], ""),
        (np.arange(2), ["0", "1"], ""),
        ([1, 2.5, True, NAN, np.int64(7)], ["1", "2.5", "True", "nan", "7"], ""),
        (["a", "a", " a "], ["a"], ""),
        (["a\nb", "c\0d", "\ud800"], ["a b", "c d", "\\ud800"], ""),
        (["a", None, ["b"], b"c"], ["a"], "a tag is left out: NoneType is not text"),
        (["", " ", "a"], ["a"], "a tag is left out: it is empty"),
        ([LONG], ["word " * 9 + "word…"], "has more than 50 characters"),
        ([*map(str, range(30))], [*map(str, range(20))], "at most 20 tags: 10 more are left out"),
        (map(str, itertools.count()), [*map(str, range(20))], "are left out"),
        (b"ab", None, "tags are not set: bytes is neither a list of texts nor a text"),
        ({"a": 1}, None, "tags are not set: dict"),
        (7, None, "tags are not set: int"),
        (object(), None, "tags are not set: object"),
        (Raises(), None, "tags are not set: reading them raised OSError"),
        ([Raises(), "a"], ["a"], "a tag is left out: Raises is not text"),
    ],
)
def test_tags_are_what_a_user_meant_and_what_is_lost_of_them_is_said(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    given: Any,
    kept: Any,
    said: str,
) -> None:
    monkeypatch.setattr("deepseek.log.files._warned", set())
    described = described_by(tmp_path, tags=given)
    heard = capsys.readouterr().err
    assert (described.get("tags"), said in heard, bool(heard)) == (kept, True, bool(said))


@pytest.mark.parametrize(
    ("given", "kept", "said"),
    [
        ("why", "why", ""),
        ("", "", ""),
        (7, "7", ""),
        ("a\ud800", "a\\ud800", ""),
        ("n" * 50_000, "n" * 3999 + "…", "the note is cut: it has 50,000 characters, of which 4,000 are kept"),
        (["a"], None, "the note is not set: list is not text"),
        (b"a", None, "the note is not set: bytes is not text"),
        (Raises(), None, "the note is not set: Raises is not text"),
    ],
)
def test_a_note_is_text_and_what_is_lost_of_it_is_said(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    given: Any,
    kept: Any,
    said: str,
) -> None:
    monkeypatch.setattr("deepseek.log.files._warned", set())
    described = described_by(tmp_path, note=given)
    heard = capsys.readouterr().err
    assert (described.get("note"), said in heard, bool(heard)) == (kept, True, bool(said))


def test_what_is_not_a_number_is_left_out_and_warned_about_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with RunLog(tmp_path, "run") as log:
        for step in range(3):
            log.scalars(step, {"loss": 0.5, "name": "0.5", "both": np.ones(2), "none": None})
    assert [set(line) for line in lines_of(tmp_path / "run" / "metrics.jsonl")] == [{"time_s", "step", "loss"}] * 3
    warnings = capsys.readouterr().err.splitlines()
    assert [warning.split("'")[1] for warning in warnings] == ["name", "both", "none"]


def test_a_dict_that_is_used_again_is_logged_as_it_was(tmp_path: Path) -> None:
    values = {"loss": 0.0}
    with RunLog(tmp_path, "run") as log:
        for step in range(100):
            values["loss"] = float(step)
            log.scalars(step, values)
    assert [line["loss"] for line in lines_of(tmp_path / "run" / "metrics.jsonl")] == list(range(100))


def log_many(log: RunLog, count: int) -> None:
    for step in range(count):
        log.scalars(step, loss=0.5)


def test_phases_go_with_the_next_line_of_scalars_and_begin_anew(log: RunLog) -> None:
    for step in range(2):
        with log.phase("data"):
            time.sleep(0.01)
        with log.phase("forward"):
            pass
        log.scalars(step, loss=0.5)
        log.scalars(step, {"val/loss": 0.5})
    log.close()
    first, validation, second, _ = lines_of(log.folder / "metrics.jsonl")
    assert first.keys() == {"time_s", "step", "loss", "phase/data_s", "phase/forward_s"}
    assert validation.keys() == {"time_s", "step", "val/loss"}
    assert all(0.01 <= line["phase/data_s"] < 1 for line in (first, second))
    assert all(line["phase/forward_s"] < 0.01 for line in (first, second))


def test_what_is_known_late_keeps_its_own_step_and_time(log: RunLog) -> None:
    with log.phase("data"):
        log.scalars_at(1.5, 7, {"train/loss": 0.25})
    log.event("recompile", time_s=1.25, seconds=0.5)
    log.close()
    assert lines_of(log.folder / "metrics.jsonl") == [{"time_s": 1.5, "step": 7, "train/loss": 0.25}]
    (event,) = lines_of(log.folder / "events.jsonl")[1:-1]
    assert event == {"time_s": 1.25, "kind": "recompile", "seconds": 0.5}


def test_a_run_says_what_its_unit_of_work_is(tmp_path: Path) -> None:
    for unit in ("", " "):
        with pytest.raises(ValueError, match="a unit of work needs a name"):
            RunLog(tmp_path, "run", unit=unit)
    with RunLog(tmp_path, "plain"), RunLog(tmp_path, "service", kind="service", unit="request"):
        pass
    told = [json.loads((tmp_path / name / "run.json").read_text()) for name in ("plain", "service")]
    assert [(info["kind"], info["unit"]) for info in told] == [("training", "step"), ("service", "request")]


GUIDE = (ROOT / "docs" / "run-log.md").read_text()


@pytest.mark.parametrize(
    "example",
    re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL),
    ids=["training", "samples", "units", "logging", "profiling"],
)
def test_the_examples_of_the_guide_run(example: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with script(example) as process:
        assert process.wait(20) == 0
    (events,) = tmp_path.glob("logs/*/events.jsonl")
    assert lines_of(events)[-1]["status"] == "finished"
    assert len(list(events.parent.glob("*.jsonl"))) + len(list(events.parent.glob("*.log"))) >= 2


def test_threads_log_into_one_file_of_whole_lines(tmp_path: Path) -> None:
    with RunLog(tmp_path, "run") as log:
        threads = [threading.Thread(target=log_many, args=(log, 2000)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(lines_of(tmp_path / "run" / "metrics.jsonl")) == 8000


def test_events_take_any_value_and_lines_of_text_stay_together(tmp_path: Path) -> None:
    with RunLog(tmp_path, "run", name="mine", rank=2, world_size=3) as log:
        log.event("note", step=3, seconds=0.25, text="a\nb", path=tmp_path, nan=math.nan, nested={"a": [1, None]})
        log.text("first\nsecond\n", level="WARNING")
    (note,) = events_of(tmp_path, "note")
    assert (note["rank"], note["step"], note["text"], note["path"], note["nan"]) == (2, 3, "a\nb", str(tmp_path), "NaN")
    assert note["nested"] == {"a": [1, None]}
    first, second = (tmp_path / "run" / "mine.rank2.log").read_text().splitlines()
    assert first.endswith(" WARNING first")
    assert second == "second"


def test_a_line_of_text_has_the_level_that_it_begins_with(tmp_path: Path) -> None:
    said = {
        "WARNING: slow batch": "WARNING",
        "ERROR disk full": "ERROR",
        "Errors: 0": "INFO",
        "INFORMED": "INFO",
        "": "INFO",
    }
    with RunLog(tmp_path, "run", name="mine") as log:
        for line in said:
            log.text(line)
        log.text("ERROR: not one", level="INFO")
    found = [line.split(" ")[2] for line in (tmp_path / "run" / "mine.log").read_text().splitlines()]
    assert found == [*said.values(), "INFO"]


def test_a_sample_is_text_or_where_a_file_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with RunLog(tmp_path, "run", rank=1, world_size=2) as log:
        (log.folder / "image.png").write_bytes(b"not read")
        log.sample("image", log.folder / "image.png", 7)
        log.sample("gone", "elsewhere/ä b.WAV", 8)
        log.sample("text", "see elsewhere/image.png\n", 9)
        log.sample("table", "{}", kind="table")
        log.sample("any name", Path("Makefile"))
        monkeypatch.chdir("/")
    image, gone, text, table, made = lines_of(log.folder / "logged_samples.rank1.jsonl")
    assert image.pop("time_s") > 1e9 and image.pop("written_s") > 1e9
    assert image == {"step": 7, "name": "image", "path": "image.png", "bytes": 8}
    assert (gone["path"], gone["step"], "bytes" in gone) == (str(tmp_path / "elsewhere" / "ä b.WAV"), 8, False)
    assert (text["text"], text["step"]) == ("see elsewhere/image.png\n", 9)
    assert (table["kind"], table["text"], "step" in table) == ("table", "{}", False)
    assert made["path"] == str(tmp_path / "Makefile")


def test_no_sample_raises_and_a_long_one_is_cut(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Odd:
        def __repr__(self) -> str:
            raise ValueError("odd")

        def __fspath__(self) -> str:
            raise RuntimeError("odd")

    gone = tmp_path / "gone"
    gone.mkdir()
    with RunLog(tmp_path, "run") as log:
        monkeypatch.chdir(gone)
        gone.rmdir()
        odd: list[tuple[Any, Any, Any]] = [
            (Odd(), "x", 1),
            ("a", Odd(), 1),
            ("b", b"x", 1),
            ("c", None, 1),
            ("d", "x", Odd()),
            ("e", "rel.png", 1),
        ]
        odd += [("f\ud800", "\ud800\0", math.nan), ("g", "a\0.png", 2**80), ("long", "ä" * 100_000, 1)]
        for name, value, step in odd:
            log.sample(name, value, step)
        monkeypatch.chdir(tmp_path)
    lines = lines_of(log.folder / "logged_samples.jsonl")
    assert [len(line["text"]) for line in lines if line["name"] == "long"] == [30_000]
    assert {"d", "long"} <= {line["name"] for line in lines} and not {"a", "b", "c", "e"} & {
        line["name"] for line in lines
    }
    said = capsys.readouterr().err
    assert (
        "is neither text nor a path" in said and "is cut to 60,000 bytes" in said and "the step of sample 'd'" in said
    )


def test_the_logging_handler_sends_a_scripts_logging_to_the_text_log(tmp_path: Path) -> None:
    logger = logging.getLogger("a script")
    with RunLog(tmp_path, "run", name="mine") as log:
        logger.addHandler(log.handler())
        logger.warning("learning rate %g is high", 0.5)
    logger.warning("nobody listens any more")
    assert (tmp_path / "run" / "mine.log").read_text().endswith(" WARNING learning rate 0.5 is high\n")


def test_a_script_that_changes_its_folder_still_logs_where_it_began(tmp_path: Path) -> None:
    code = LOG_THOUSAND.replace("for step", "os.chdir('/')\nfor step").replace("sys.argv[1]", "'logs'")
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT / "deepseek-log")}
    ) as process:
        assert process.wait(30) == 0
    assert steps_of(tmp_path / "logs") == list(range(1000))


def test_opening_and_closing_leaks_no_thread_and_no_descriptor(tmp_path: Path) -> None:
    before = threading.active_count(), len(list(Path("/proc/self/fd").iterdir()))
    for count in range(50):
        with RunLog(tmp_path, f"run-{count}", name="x", rank=1) as log:
            log.scalars(0, loss=1.0)
            log.text("hello")
    assert (threading.active_count(), len(list(Path("/proc/self/fd").iterdir()))) == before


def test_it_needs_nothing_but_the_standard_library() -> None:
    """`-S`: what is installed beside it cannot be imported."""
    code = f"import sys; sys.path.insert(0, {str(ROOT / 'deepseek-log')!r}); from deepseek.log import RunLog; print(*sys.modules)"
    answer = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True)
    assert "deepseek.log.run_log" in answer.stdout.split()


def test_the_command_line_is_written_without_its_secrets(tmp_path: Path) -> None:
    code = f"import sys; from deepseek.log import RunLog; RunLog({str(tmp_path)!r}, 'run').close()"
    words = [
        "--token",
        "zzsecret1",
        "--db=postgres://ada:zzsecret2@host/d",
        "--header",
        "Authorization: Token zzsecret3",
        "--lr",
        "3e-4",
    ]
    subprocess.run([sys.executable, "-c", code, *words], cwd=ROOT, check=True, timeout=30)
    text = (tmp_path / "run" / "run.json").read_text()
    assert "zzsecret" not in text and json.loads(text)["command"].endswith("--lr 3e-4")
