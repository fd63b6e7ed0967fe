"""Scripts as people write them for wandb run through its calls of ours: they go on, and what they look into answers with wandb's types."""

from __future__ import annotations

import copy
import io
import json
import pickle
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from deepseek.log.adapters.guard import Inert
from tests.deepseek_log.test_wandb_calls import config_of, lines_of, rows
from tests.support.running import script

NOWHERE = "/proc/nope"  # no folder can be made there
STRINGS = ("name", "id", "url", "project", "entity", "group", "notes", "job_type", "dir")
FALSE = ("resumed", "offline", "disabled", "sweep_id", "settings", "any_other")


def five(wandb: ModuleType, folder: Path, **options: Any) -> None:
    with wandb.init(dir=folder, **options) as run:
        assert run.step == 0 and run.resumed is False
        for number in range(5):
            run.log({"a": number})


@pytest.mark.parametrize(
    ("first", "second"),
    [
        *(({"id": "res"}, {"id": "res", "resume": resume}) for resume in ("allow", "must", "auto", True, None)),
        ({"id": "res", "name": "shown"}, {"id": "res", "resume": "must"}),
        ({"id": "res", "name": "shown"}, {"id": "res", "name": "other"}),
        ({"name": "shown"}, {"name": "shown", "resume": True}),
        ({"name": "group/shown", "id": "res"}, {"id": "res"}),
    ],
)
def test_a_run_goes_on_after_its_last_step(wandb: ModuleType, tmp_path: Path, first: Any, second: Any) -> None:
    five(wandb, tmp_path, **first)
    with wandb.init(dir=tmp_path, **second) as run:
        assert (run.step, run.resumed) == (5, True)
        run.log({"a": 5})
    (metrics,) = tmp_path.rglob("metrics.jsonl")
    assert [json.loads(line)["step"] for line in metrics.read_text().splitlines()] == list(range(6))


def test_a_run_that_goes_on_keeps_its_names_and_its_configuration(wandb: ModuleType, tmp_path: Path) -> None:
    five(wandb, tmp_path, id="res", name="shown", project="shop", config={"lr": 0.1, "layers": [2, 4]})
    for _ in range(2):
        with wandb.init(dir=tmp_path, id="res", resume="must", config={"lr": 0.2}) as run:
            assert (run.name, run.project, run.id, dict(run.config)) == (
                "shown",
                "shop",
                "res",
                {"lr": 0.2, "layers": [2, 4]},
            )
    names = {"project": "shop", "name": "shown", "id": "res"}
    assert config_of(tmp_path, "shown") == {"lr": 0.2, "layers": [2, 4], "wandb": names}


@pytest.mark.parametrize(
    "second",
    [
        {"name": "run"},
        {"id": "other", "name": "run", "resume": "allow"},
        {"id": "res", "resume": "never"},
        {"id": "new"},
        {},
    ],
)
def test_another_run_begins_at_its_beginning(wandb: ModuleType, tmp_path: Path, second: Any) -> None:
    five(wandb, tmp_path, name="run", id="res")
    five(wandb, tmp_path, **second)
    assert len(list(tmp_path.rglob("metrics.jsonl"))) == 2


def test_a_run_that_was_killed_in_the_middle_of_a_line_goes_on(wandb: ModuleType, tmp_path: Path) -> None:
    five(wandb, tmp_path, id="res")
    with (tmp_path / "res" / "metrics.jsonl").open("a") as file:
        file.write('{"step":99,"a"')
    with wandb.init(dir=tmp_path, id="res") as run:
        assert run.step == 5


def test_an_agent_calls_its_function_as_often_as_it_should(
    wandb: ModuleType, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def main() -> None:
        wandb.init(dir=tmp_path, name="try")
        wandb.log({"loss": 1})

    sweep_id = wandb.sweep({"method": "grid", "parameters": {"lr": {"values": [1, 2]}}}, project="shop")
    assert isinstance(sweep_id, str) and sweep_id
    wandb.agent(sweep_id, function=main, count=2)
    wandb.agent(sweep_id, main)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["try", "try-2", "try-3"] and wandb.run is None
    assert capfd.readouterr().err.count("not drawn here") == 1
    with pytest.raises(ZeroDivisionError):
        wandb.agent(sweep_id, lambda: 1 / (wandb.init(dir=tmp_path, name="bad").step))
    assert lines_of(tmp_path, "events.jsonl", "bad")[-1]["status"] == "crashed"


@pytest.mark.parametrize(
    "options", [{}, {"mode": "disabled"}, {"dir": NOWHERE}, {"dir": 7}, {"name": "x" * 300}, {"id": "\0/.."}]
)
def test_a_run_answers_whatever_becomes_of_its_log(wandb: ModuleType, tmp_path: Path, options: Any) -> None:
    run = wandb.init(
        **{"dir": tmp_path, "config": {"lr": 0.1}, "tags": ["a", "b"], "notes": "n", "group": "g", **options}
    )
    for _ in range(2):
        run.log({"acc": 0.5})
    run.name = "better"
    run.summary["best"] = 1
    assert {type(getattr(run, name)) for name in STRINGS} == {str} and run.id and Path(run.dir).is_dir()
    assert not any(getattr(run, name) for name in FALSE if options.get("mode") != "disabled" or name != "disabled")
    assert (run.name, run.config.lr, run.step, run.tags, run.notes, run.group) == (
        "better",
        0.1,
        2,
        ("a", "b"),
        "n",
        "g",
    )
    assert (
        run.start_time > 1e9
        and isinstance(run, wandb.sdk.wandb_run.Run)
        and wandb.run is run
        and wandb.config is run.config
    )
    assert (wandb.summary["acc"], run.summary.get("best"), run.get_url(), run.project_name()) == (0.5, 1, "", "")
    if not options:
        run.finish()
        assert config_of(tmp_path, run.id)["wandb"] == {"name": "better"} and Path(run.dir).is_dir()


def test_steps_are_counted_where_the_log_raises(
    wandb: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def refuse(*positional: Any) -> None:
        raise RuntimeError("a fault of the steps")

    run = wandb.init(name="run", dir=tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr("deepseek.log.run_log.RunLog.scalars", refuse)
        for step in (None, None, 7, 8):
            run.log({"a": 1}, step=step)
    assert run.step == 8 and capfd.readouterr().err.count("a fault of the steps") == 1
    run.finish()
    assert rows(tmp_path) == [{"step": 8, "a": 1}]


@pytest.mark.parametrize("name", ["x" * 300, ".hidden", "a\nb"])
def test_an_odd_name_is_a_run_that_is_logged(wandb: ModuleType, tmp_path: Path, name: str) -> None:
    with wandb.init(name=name, dir=tmp_path) as run:
        run.log({"a": 1})
        assert run.name == name
    (metrics,) = tmp_path.glob("*/metrics.jsonl")
    assert len(metrics.parent.name) < 150 and not metrics.parent.name.startswith(".")


def test_the_summary_has_what_was_logged_last(wandb: ModuleType, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    weight = torch.ones((), requires_grad=True)
    with wandb.init(name="run", dir=tmp_path) as run:
        for number in range(3):
            run.log(
                {"acc": number / 2, "train": {"loss": number}, "tensor": weight * number, "image": wandb.Image("a")}
            )
        assert (run.summary["acc"], wandb.summary["train.loss"], wandb.summary["train"]["loss"]) == (1.0, 2, 2)
        assert type(run.summary["tensor"]) is float and "image" not in run.summary
        assert not any(getattr(value, "requires_grad", False) for value in run.summary.values())
        with pytest.raises(KeyError):
            run.summary["none"]
        run.summary.update({"kind": "a", "self": 2, "best": 3})
        run.summary["acc"] = 9
    (event,) = (event for event in lines_of(tmp_path, "events.jsonl") if event["kind"] == "summary")
    assert (event["kind_"], event["self_"], event["best"], event["acc"]) == ("a", 2, 3, 9) and "tensor" not in event
    assert lines_of(tmp_path, "events.jsonl")[-1]["status"] == "finished"


@pytest.mark.parametrize(
    "text",
    ["lr: 0.1\nlayers: [2, 4]\n", "wandb_version: 1\nlr:\n  desc: null\n  value: 0.1\nlayers:\n  value: [2, 4]\n"],
)
def test_a_configuration_is_read_from_a_yaml_file(wandb: ModuleType, tmp_path: Path, text: str) -> None:
    (tmp_path / "c.yaml").write_text(text)
    with wandb.init(name="run", dir=tmp_path, config=str(tmp_path / "c.yaml")) as run:
        assert dict(run.config) == {"lr": 0.1, "layers": [2, 4]}
        with pytest.raises(AttributeError):
            wandb.config.decay  # noqa: B018


@pytest.mark.parametrize(
    "content", [None, b"\xff\xfe\x00", b"a: [", b"- 1\n", b"", b"!!python/object:os.x {}\n"], ids=range(6)
)
def test_a_configuration_that_cannot_be_read_is_one_sentence(
    wandb: ModuleType, tmp_path: Path, capfd: pytest.CaptureFixture[str], content: bytes | None
) -> None:
    file = tmp_path / "c.yaml"
    if content is not None:
        file.write_bytes(content)
    with wandb.init(name="run", dir=tmp_path, config=file) as run:
        run.log({"a": 1})
    assert capfd.readouterr().err.count("c.yaml is left out") == 1 and rows(tmp_path) == [{"step": 0, "a": 1}]


def test_without_pyyaml_a_yaml_file_is_one_sentence(tmp_path: Path) -> None:
    code = "import sys; sys.modules['yaml'] = None\nimport deepseek.log.adapters.wandb as wandb\n"
    code += "run = wandb.init(name='run', dir=sys.argv[1], config='c.yaml')\nassert dict(run.config) == {}"
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and done.stderr.count("needs PyYAML") == 1, done.stderr


def test_configuration_and_run_are_copied_and_pickled(wandb: ModuleType, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    run = wandb.init(name="run", dir=tmp_path, config={"lr": 0.1, "deep": {"er": [1]}})
    run.log({"acc": 0.5, "tensor": torch.ones(())})
    torch.save({"c": wandb.config}, io.BytesIO())
    copies = [copy.copy(wandb.config), copy.deepcopy(wandb.config), pickle.loads(pickle.dumps(wandb.config))]
    for config in copies:
        assert type(config) is type(wandb.config) and config == wandb.config and config.lr == 0.1
        config.lr = 7
    assert json.loads(json.dumps(dict(wandb.config))) == {"lr": 0.1, "deep": {"er": [1]}} and wandb.config.lr == 0.1
    for other in (pickle.loads(pickle.dumps(wandb.run)), copy.deepcopy({"run": run})["run"]):
        other.log({"acc": 3})
        other.finish()
        assert (other.name, other.id, other.config.lr, other.summary["acc"]) == ("run", "run", 0.1, 3)
    assert wandb.run is run and run.summary["acc"] == 0.5
    wandb.finish()
    assert len(lines_of(tmp_path)) == 1 and config_of(tmp_path)["lr"] == 0.1


def test_what_scripts_take_from_the_module_is_there(wandb: ModuleType, tmp_path: Path) -> None:
    assert isinstance(wandb.__version__, str) and int(wandb.__version__.split(".")[1])
    ids = {wandb.util.generate_id() for _ in range(20)}
    assert len(ids) == 20 and {len(id) for id in ids} == {8} and all(id.isalnum() for id in ids)
    wandb.init(name="run", dir=tmp_path)
    wandb.alert(title="slow", text="flat", level=wandb.AlertLevel.WARN)
    table = wandb.Table(columns=["a", "b"], data=[[1, 2]])
    table.add_data(3, 4)
    assert table.data == [[1, 2], [3, 4]] and table.columns == ["a", "b"] and isinstance(table, wandb.data_types.Table)
    wandb.log({"table": table})
    for error in (
        wandb.CommError,
        wandb.UsageError,
        wandb.errors.CommError,
        wandb.errors.AnyOtherError,
        wandb.AnyOtherError,
    ):
        with pytest.raises(error):
            raise error("x")
    assert issubclass(wandb.CommError, wandb.Error) and wandb.errors.Error is wandb.Error
    assert [event["text"] for event in lines_of_open(wandb, tmp_path) if event["kind"] == "alert"] == ["slow: flat"]


def lines_of_open(wandb: ModuleType, folder: Path) -> list[dict[str, Any]]:
    wandb.finish()
    return lines_of(folder, "events.jsonl")


def test_an_inert_class_can_be_the_base_of_a_class(wandb: ModuleType, capfd: pytest.CaptureFixture[str]) -> None:
    for base in (
        wandb.keras.WandbCallback,
        wandb.keras.WandbMetricsLogger,
        wandb.integration.keras.WandbMetricsLogger,
        wandb.made,
    ):

        class Mine(base):  # type: ignore[misc, valid-type]
            def __init__(self) -> None:
                super().__init__("x")
                self.count = 1

            def on_epoch_end(self, epoch: int) -> int:
                self.count += epoch
                return self.count

        mine = Mine()
        assert isinstance(mine, Mine) and mine.on_epoch_end(2) == 3 and not mine.set_model(None)
    wandb.keras.WandbCallback(monitor="loss")
    assert "WandbCallback logs nothing here" in capfd.readouterr().err


@pytest.mark.parametrize("thing", [Inert(), Inert().any.thing(1)[2], Inert().Class(3)])
def test_an_inert_thing_is_false_empty_and_raises_nothing(thing: Any) -> None:
    assert (
        not thing and len(thing) == 0 and list(thing) == [] and 1 not in thing and f"{thing}{thing:.3f}{thing:>8}" == ""
    )
    assert (int(thing), float(thing), thing < 1, thing >= 1) == (0, 0.0, False, False)
    for result in (thing + 1, 1 + thing, "a" + thing, thing * 2, thing / 3, 2 - thing):
        assert isinstance(result, Inert)
    assert not pickle.loads(pickle.dumps(Inert())) and not copy.deepcopy(thing) and repr(thing) and hash(thing)


def test_a_disabled_runs_folder_is_gone_after_the_process(tmp_path: Path) -> None:
    code = "import sys, pathlib, deepseek.log.adapters.wandb as wandb\nrun = wandb.init(mode='disabled')\n"
    code += (
        "assert pathlib.Path(run.dir).is_dir() and run.dir == run.dir\npathlib.Path(sys.argv[1]).write_text(run.dir)"
    )
    with script(code, str(tmp_path / "dir")) as process:
        assert process.wait(30) == 0
    assert not Path((tmp_path / "dir").read_text()).exists()
