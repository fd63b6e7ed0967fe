"""wandb's calls, written by RunLog: steps, commits, configuration and names; and whatever else a script asks of wandb costs it nothing.

What wandb itself makes of the same calls: tests/integrations/adapters.py, in `make test-long`.
"""

from __future__ import annotations

import copy
import json
import struct
import subprocess
import sys
import wave
from argparse import Namespace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.running import ROOT, script

Line = dict[str, Any]
CALL = """
import sys
import deepseek.log.adapters.wandb as wandb
wandb.init(name="run", dir=sys.argv[1], config={"lr": 0.1})
wandb.log({"loss": 1.0})
wandb.log({"loss": 2.0}, commit=False)
"""


def lines_of(log_dir: Path, file: str = "metrics.jsonl", run: str = "run") -> list[Line]:
    path = log_dir / run / file
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def config_of(log_dir: Path, run: str = "run") -> Line:
    config: Line = json.loads((log_dir / run / "run.json").read_text())["config"]
    return config


def rows(log_dir: Path) -> list[Line]:
    return [{name: value for name, value in line.items() if name != "time_s"} for line in lines_of(log_dir)]


def test_steps_count_themselves_and_a_commit_ends_one(wandb: ModuleType, tmp_path: Path) -> None:
    with wandb.init(name="run", dir=tmp_path) as run:
        run.log({"a": 1})
        run.log({"b": 2}, commit=False)
        run.log({"c": 3})
        run.log({"d": 4}, step=10)
        run.log({"e": 5}, step=10)
        run.log({"too": "late"}, step=3)
        run.log({"f": 6}, step=12, commit=True)
        run.log({"g": 7})
        run.log({"rest": 8}, commit=False)
    assert rows(tmp_path) == [
        {"step": 0, "a": 1},
        {"step": 1, "b": 2, "c": 3},
        {"step": 10, "d": 4, "e": 5},
        {"step": 12, "f": 6},
        {"step": 13, "g": 7},
        {"step": 14, "rest": 8},
    ]


CALLS = st.lists(
    st.tuples(
        st.dictionaries(st.sampled_from("abc"), st.integers(0, 9), min_size=1),
        st.none() | st.integers(0, 9),
        st.none() | st.booleans(),
    ),
    max_size=20,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(CALLS)
def test_a_step_is_one_line_with_the_last_value_of_each_name(
    wandb: ModuleType, tmp_path_factory: pytest.TempPathFactory, calls: list[Any]
) -> None:
    folder = tmp_path_factory.mktemp("calls")
    expected: dict[int, Line] = {}
    with wandb.init(name="run", dir=folder) as run:
        for data, step, commit in calls:
            at = run.step if step is None else step
            if at >= run.step:
                expected.setdefault(at, {}).update(data)
            run.log(data, step=step, commit=commit)
    assert rows(folder) == [{"step": step, **data} for step, data in sorted(expected.items())]


def test_nested_names_have_dots_and_media_are_samples(
    wandb: ModuleType, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    table = wandb.Table(columns=["word", "logit"], data=[["a", 1.5], ["b", float("nan")]])
    table.add_data("<b>", wandb.Image("c.png", caption="a cat"))
    with wandb.init(name="run", dir=tmp_path) as run:
        run.log({"train": {"loss": 0.5, "deep": {"er": 1}}, "image": wandb.Image("a.png"), "table": table})
        run.log({"histogram": wandb.Histogram([1, 2, 2, 4], num_bins=3)})
        run.log({"val": {"counted": wandb.Histogram(np_histogram=([3, 1], [0.0, 0.5, 2.0]))}}, step=7)
        run.log(
            {
                "page": wandb.Html("<script>alert(1)</script>"),
                "several": [wandb.Image("1.png"), wandb.Image(tmp_path / "run" / "2.png")],
            }
        )
    assert rows(tmp_path) == [{"step": 0, "train.loss": 0.5, "train.deep.er": 1}]
    found = {line["name"]: line for line in lines_of(tmp_path, "logged_samples.jsonl")}
    assert found["image"]["path"] == str(Path("a.png").absolute()) and found["image"]["step"] == 0
    rows_ = [["a", 1.5], ["b", "nan"], ["<b>", "a cat"]]
    assert json.loads(found["table"]["text"]) == {"columns": ["word", "logit"], "rows": rows_, "total": 3}
    assert (
        json.loads(found["histogram"]["text"]) == {"edges": [1, 2, 3, 4], "counts": [1, 2, 1]}
        and found["histogram"]["kind"] == "histogram"
    )
    assert (json.loads(found["val.counted"]["text"])["counts"], found["val.counted"]["step"]) == ([3, 1], 7)
    assert found["page"]["text"] == "<script>alert(1)</script>\n"
    assert found["several"]["path"].endswith("/1.png") and found["several/1"]["path"] == "2.png"
    assert capfd.readouterr().err == ""


def test_what_lies_in_memory_is_written_beside_the_log_as_far_as_it_goes(
    wandb: ModuleType, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without Pillow, which is not among what the tests install: an image says so; a figure draws itself."""

    class Figure:
        def savefig(self, file: Any, format: str) -> None:
            file.write(b"drawn as " + format.encode())

    monkeypatch.setattr(sys.modules["deepseek.log.adapters.wandb_media"], "MAX_FILES", 3)
    monkeypatch.setitem(sys.modules, "PIL", None)
    with wandb.init(name="run", dir=tmp_path) as run:
        run.log({"tone": wandb.Audio([0.0, 0.5, -2.0], sample_rate=8000), "pixels": wandb.Image([[0, 1], [1, 0]])})
        for number in range(4):
            run.log({"a/../b c": wandb.Image(Figure()), "loss": number})
        run.log({"odd": wandb.Audio(object()), "odder": wandb.Histogram("text"), "loss": 9})
    lines = lines_of(tmp_path, "logged_samples.jsonl")
    assert [line["path"] for line in lines] == ["media/tone-0-1.wav", "media/a-b-c-1-2.png", "media/a-b-c-2-3.png"]
    with wave.open(str(tmp_path / "run" / lines[0]["path"])) as sound:
        assert sound.getframerate() == 8000 and sound.readframes(9) == struct.pack("<3h", 0, 16383, -32767)
    assert (tmp_path / "run" / lines[1]["path"]).read_bytes() == b"drawn as png"
    assert [line["loss"] for line in lines_of(tmp_path)] == [0, 1, 2, 3, 9]
    said = capfd.readouterr().err
    assert "Pillow is not installed" in said and said.count("pass paths of files") == 1


def test_the_configuration_is_what_it_was_set_to_in_any_way(wandb: ModuleType, tmp_path: Path) -> None:
    wandb.config.early = 1
    run = wandb.init(project="shop", name="run", dir=tmp_path, config=Namespace(lr=0.1, layers=[2, 4]))
    wandb.config.batch = 8
    wandb.config["seed"] = 7
    run.config.update({"lr": 0.2}, allow_val_change=True)
    run.config.setdefaults({"lr": 0.3, "decay": 0.01})
    assert (wandb.config.lr, wandb.config.get("decay"), "batch" in wandb.config, wandb.run) == (0.2, 0.01, True, run)
    wandb.finish()
    expected = {"early": 1, "lr": 0.2, "layers": [2, 4], "batch": 8, "seed": 7, "decay": 0.01}
    assert config_of(tmp_path) == {**expected, "wandb": {"project": "shop", "name": "run"}}
    assert wandb.run is None and dict(wandb.config) == {}


def test_a_run_ends_as_its_script_says(wandb: ModuleType, tmp_path: Path) -> None:
    wandb.init(name="good", dir=tmp_path)
    wandb.summary["best"] = 0.25
    wandb.alert("slow", "the loss is flat")
    wandb.finish()
    wandb.init(name="bad", dir=tmp_path)
    wandb.finish(exit_code=3)
    with pytest.raises(ValueError, match="bad batch"), wandb.init(name="worse", dir=tmp_path):
        raise ValueError("bad batch")
    good, bad, worse = (lines_of(tmp_path, "events.jsonl", name) for name in ("good", "bad", "worse"))
    assert [event["kind"] for event in good] == ["start", "alert", "summary", "end"] and good[2]["best"] == 0.25
    assert [(events[-1]["status"], events[-1]["reason"]) for events in (good, bad, worse)] == [
        ("finished", ""),
        ("crashed", "exit 3"),
        ("crashed", "ValueError: bad batch"),
    ]


def test_names_are_those_of_runs_in_the_log_folder(
    wandb: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEEPSEEK_LOG_DIR", str(tmp_path))
    for options in (
        {"name": "one"},
        {"name": "one"},
        {"id": "one", "resume": "allow"},
        {"name": "../../out"},
        {"name": "/etc/x"},
    ):
        first = wandb.init(**options)
        assert wandb.init() is first
        first.finish()
    assert sorted(path.parent.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("run.json")) == [
        "one",
        "one-2",
        "out",
        "x",
    ]
    assert sum(event["kind"] == "start" for event in lines_of(tmp_path, "events.jsonl", "one")) == 2


def test_a_disabled_run_writes_nothing(wandb: ModuleType, tmp_path: Path) -> None:
    with wandb.init(name="run", dir=tmp_path, mode="disabled", config={"lr": 1}) as run:
        run.log({"loss": 1})
        assert run.config.lr == 1
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_logged_is_accepted_and_said_once(
    wandb: ModuleType, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run = wandb.init(name="run", dir=tmp_path, settings=wandb.Settings(console="off"), id=wandb.util.generate_id())
    capfd.readouterr()
    for _ in range(3):
        for thing in (wandb, run):
            thing.plot_it(1, two=3).anything[4].further()
            thing.use_artifact("a:latest").download()
    assert capfd.readouterr().err.count("is not logged here") == 2
    picture = wandb.Image("a.png", caption="x")
    assert isinstance(picture, wandb.Image) and list(copy.deepcopy(picture)) == [] and f"{run.no_such_call()}" == ""
    with pytest.raises(AttributeError):
        wandb.__no_such_thing__  # noqa: B018


@pytest.mark.parametrize(
    "data",
    [None, 7, {1: 2}, {"a": object()}, {"a": "text"}, {"a": [1, 2]}, {"": 1}, {"a" * 2000: 1}, {"a": float("nan")}],
    ids=range(9),
)
def test_nothing_that_is_logged_raises(wandb: ModuleType, tmp_path: Path, data: Any) -> None:
    circle: Line = {}
    circle["itself"] = circle
    with wandb.init(name="run", dir=tmp_path) as run:
        for odd in (data, circle):
            run.log(odd)
            run.config.update(odd)
            run.log({"good": 1}, step=odd)
        run.log({"good": 2})
    assert [line["good"] for line in lines_of(tmp_path) if "good" in line][-1] == 2


def test_a_step_that_is_not_committed_is_in_the_log_of_a_script_that_just_ends(tmp_path: Path) -> None:
    with script(CALL, str(tmp_path)) as process:
        assert process.wait(30) == 0
    assert rows(tmp_path) == [{"step": 0, "loss": 1.0}, {"step": 1, "loss": 2.0}]


def test_each_rank_writes_files_of_its_own(tmp_path: Path) -> None:
    for rank in "01":
        with script(CALL, str(tmp_path), RANK=rank, WORLD_SIZE="2") as process:
            assert process.wait(30) == 0
    assert len(lines_of(tmp_path)) == len(lines_of(tmp_path, "metrics.rank1.jsonl")) == 2


def test_wandb_itself_stays_importable_beside_it() -> None:
    """`import wandb` is wandb, or nothing where it is not installed, and never ours."""
    code = "import deepseek.log.adapters.wandb, importlib.util; print(importlib.util.find_spec('wandb'))"
    answer = subprocess.run([sys.executable, "-I", "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "integrations" not in answer.stdout


def about_of(log_dir: Path) -> tuple[Any, Any]:
    info = json.loads((log_dir / "run" / "run.json").read_text())
    return info.get("tags"), info.get("note")


def test_tags_and_notes_reach_the_run_and_stay_when_it_goes_on(wandb: ModuleType, tmp_path: Path) -> None:
    with wandb.init(name="run", dir=tmp_path, tags=["baseline", "lr-sweep"], notes="why") as run:
        run.log({"a": 1})
        assert (run.tags, run.notes) == (("baseline", "lr-sweep"), "why")
    assert about_of(tmp_path) == (["baseline", "lr-sweep"], "why")
    with wandb.init(name="run", dir=tmp_path, resume="allow") as run:
        run.log({"a": 2})
    assert about_of(tmp_path) == (["baseline", "lr-sweep"], "why")
    with wandb.init(name="run", dir=tmp_path, resume="allow", tags="one") as run:
        run.tags += ("two",)
        run.notes = "because"
    assert about_of(tmp_path) == (["one", "two"], "because")


def test_odd_tags_and_notes_are_kept_as_far_as_they_are_text(wandb: ModuleType, tmp_path: Path) -> None:
    with wandb.init(name="run", dir=tmp_path, tags=["a", None, 7, b"x"], notes=3) as run:
        assert (run.tags, run.notes) == (("a", "7"), "3")
        run.tags = b"x"
        assert run.tags == ()
        run.tags, run.notes = "c", ["x"]
        assert (run.tags, run.notes) == (("c",), "")
    assert json.loads((tmp_path / "run" / "run.json").read_text())["tags"] == ["c"]


def test_a_run_without_tags_and_notes_says_nothing_of_them(wandb: ModuleType, tmp_path: Path) -> None:
    with wandb.init(name="run", dir=tmp_path, tags=None, notes=None) as run:
        run.log({"a": 1})
    assert about_of(tmp_path) == (None, None)
