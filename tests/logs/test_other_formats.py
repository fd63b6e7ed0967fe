"""What Lightning and Hugging Face's Trainer write beside their metrics, and that what two files say is counted once."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectors.logs.formats import Tally, lightning
from collectors.logs.formats.hugging_face import TrainerState
from collectors.logs.formats.values import MAX_DEPTH
from collectors.records import Points, RunInfo
from tests.support.following import LABELS, RECORDED, Follower, offset_of, series_of, until


def history(*steps: int, scale: float = 1.0) -> str:
    return json.dumps(
        {
            "global_step": steps[-1],
            "log_history": [{"step": step, "loss": scale / step, "epoch": step / 10} for step in steps],
        }
    )


# trainer_state.json


def test_the_history_of_checkpoints_and_of_the_folder_is_counted_once(follower: Follower, tmp_path: Path) -> None:
    source, out = RECORDED / "hugging_face", tmp_path / "out"
    states = ["checkpoint-20/trainer_state.json", "checkpoint-40/trainer_state.json", "trainer_state.json"]
    for state in states:
        (out / state).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source / state, out / state)
        count = len(json.loads((source / state).read_text())["log_history"])
        until(follower, lambda count=count: offset_of(follower, "out/trainer_state.json").state.get("count") == count)
        follower.restart()
    expected = json.loads((source / "trainer_state.json").read_text())["log_history"]
    losses = [(entry["step"], entry["loss"]) for entry in expected if "loss" in entry]
    found = series_of(follower.records)
    assert found["train/loss"] == losses and len(losses) == 8
    assert [step for step, _ in found["eval/loss"]] == [entry["step"] for entry in expected if "eval_loss" in entry]
    assert {record.run for record in follower.records if isinstance(record, Points)} == {"out"}


def test_all_of_them_there_at_once_are_counted_once(follower: Follower, tmp_path: Path) -> None:
    shutil.copytree(RECORDED / "hugging_face", tmp_path / "out")
    (tmp_path / "out" / "train.log").unlink()
    until(follower, lambda: {"out/trainer_state.json", "out/all_results.json"} <= follower.offsets.keys())
    follower.values(1)
    assert len(series_of(follower.records)["train/loss"]) == 8


def test_a_training_that_begins_again_is_a_new_segment_and_one_that_is_resumed_goes_on() -> None:
    state = TrainerState("a", LABELS, lambda name: "")
    first = state.parse_whole(history(1, 2, 3).encode())
    resumed = state.parse_whole(history(1, 2, 3, 4).encode())
    older = state.parse_whole(history(1, 2).encode())
    again = state.parse_whole(history(1, 2, scale=3.0).encode())
    points = [
        [(one.step, one.segment) for one in part if isinstance(one, Points)] for part in (first, resumed, older, again)
    ]
    assert points == [[(1, 0), (2, 0), (3, 0)], [(4, 0)], [], [(1, 1), (2, 1)]]


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text() | st.integers(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
@settings(deadline=None)
def test_any_history_is_read_or_counted(value: object) -> None:
    for data in (
        value,
        {"log_history": value},
        {"log_history": [value]},
        {"log_history": [{"step": 1, "loss": value}]},
    ):
        state = TrainerState("a", LABELS, lambda name: "")
        for record in state.parse_whole(json.dumps(data).encode()):
            assert isinstance(record, Points) and len(record.names) == len(record.values)


def test_final_values_stand_once_whatever_files_have_them(follower: Follower, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    for name in ("all_results.json", "eval_results.json", "train_results.json"):
        shutil.copy(RECORDED / "hugging_face" / name, out / name)
    expected = json.loads((out / "all_results.json").read_text())
    follower.values(len(expected))
    found = series_of(follower.records)
    assert {name: [value for _, value in values] for name, values in found.items()} == {
        f"final/{name}": [value] for name, value in expected.items()
    }
    follower.restart()
    assert len(follower.values(len(expected))) == len(expected)


# hparams.yaml


def test_hparams_are_the_configuration_of_the_run(follower: Follower, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    shutil.copy(RECORDED / "lightning" / "hparams.yaml", tmp_path / "a")
    until(follower, lambda: "a/hparams.yaml" in follower.offsets)
    (info,) = [record for record in follower.records if isinstance(record, RunInfo)]
    assert info.run == "a" and info.info["config"]["lr"] == 3e-4 and info.info["config"]["nested"] == {"dropout": 0.1}
    assert info.info["config"]["layers"] == [2, 4] and "options" not in info.info["config"]
    assert follower.offsets["a/hparams.yaml"].first_skip == "options has a tag that is not read"


def test_run_json_keeps_its_place(follower: Follower, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "run.json").write_text('{"config": {"lr": 1}, "unit": "epoch"}')
    (tmp_path / "a" / "hparams.yaml").write_text("lr: 2\n")
    until(follower, lambda: {"a/hparams.yaml", "a/run.json"} <= follower.offsets.keys())
    assert [record.info["config"] for record in follower.records if isinstance(record, RunInfo)] == [{"lr": 1}]


@pytest.mark.parametrize(
    ("text", "config"),
    [
        ("a: !!python/object/apply:os.system ['touch /tmp/x']\nb: 1", {"b": 1}),
        ("a: !!python/object:x.Y {lr: 1}\nb: [1, !!python/object:x.Y {}, 2]", {"b": [1, 2]}),
        ("a: !!python/name:torch.nn.ReLU ''\nb: !!python/tuple [1, 2]", {"a": "torch.nn.ReLU", "b": [1, 2]}),
        ("a: 2026-11-25\nb: !!binary aGk=\nc: !!set {x}\n1: 2", {"a": "2026-11-25", "1": 2}),
        ("a: .nan\nb: 123456789012345678901", {"a": "NaN", "b": "123456789012345678901"}),
        ("just text", {}),
        ("a: [", {}),
        ("a: &x [*x]\nb: 1", None),
        ("[" * 5_000, {}),
        (
            "a: &a [x]\n"
            + "".join(f"{chr(98 + i)}: &{chr(98 + i)} [{','.join([f'*{chr(97 + i)}'] * 9)}]\n" for i in range(20)),
            None,
        ),
    ],
)
def test_yaml_of_any_kind_costs_itself(text: str, config: dict[str, object] | None) -> None:
    found = lightning.parse(text.encode(), Tally()) or {}
    assert config is None or found == config
    assert depth(found) <= MAX_DEPTH + 1 and len(json.dumps(found)) < 100_000


def depth(value: object) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max(map(depth, inner), default=0)


@given(st.binary(max_size=300) | st.text(alphabet="ab:-&*!|>[]{},'\"\n #?%@", max_size=200).map(str.encode))
@settings(deadline=None, max_examples=300)
def test_any_bytes_are_yaml_or_counted(data: bytes) -> None:
    tally = Tally()
    json.dumps(lightning.parse(data, tally))


# the same series in two files


def test_what_the_jsonl_has_is_left_out_of_the_others(follower: Follower, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "metrics.jsonl").write_text('{"step":1,"train/loss":1.0}\n{"step":2,"train/loss":0.5}\n')
    follower.values(2)
    (out / "trainer_state.json").write_text(history(1, 2))
    (out / "metrics.csv").write_text("step,train/loss,acc\n1,1.0,0.1\n2,0.5,0.2\n")
    follower.values(6)
    found = series_of(follower.records)
    assert {name: len(values) for name, values in found.items()} == {"train/loss": 2, "train/epoch": 2, "acc": 2}
    assert follower.offsets["out/metrics.csv"].first_skip == "line 2: train/loss is left out: the run's JSONL has it"


def test_of_two_tables_the_first_keeps_the_name_also_after_a_restart(follower: Follower, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "a.csv").write_text("step,loss\n1,1.0\n")
    follower.values(1)
    follower.restart()
    (out / "b.csv").write_text("step,loss,acc\n1,1.0,0.5\n")
    follower.values(2)
    with (out / "a.csv").open("a") as file:
        file.write("2,0.5\n")
    assert follower.values(3) == [1.0, 0.5, 0.5]
    assert {name: len(values) for name, values in series_of(follower.records).items()} == {"loss": 2, "acc": 1}
