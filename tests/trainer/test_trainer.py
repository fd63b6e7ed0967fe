"""The real trainer on the real text: it learns, stops when told to, goes on bit for bit, and says what a person can mend."""

from __future__ import annotations

import itertools
import json
import re
import signal
import socket
from pathlib import Path

import pytest
import torch

from deepseek.log.files import event_line, scalars_line
from tests.conftest import ROOT, wait_for
from tests.support.trainings import events_of, free_port, lines_of, train, train_here, training, values_of
from trainer import checkpoint
from trainer.models.gpt import GPT, Shape
from trainer.tasks import TASKS
from trainer.train import WARMUP_STEPS, learning_rate, main

RECORDED = Path(__file__).parents[1] / "data" / "recorded" / "run"
SMALL = Shape(layers=2, channels=16, heads=2, context=8, vocabulary=256)
FLAGS = ("--steps", "101", "--batch", "4")
STOP_S = 10.0  # from the signal to the end of the process, on a machine that does other work, too


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    train(folder, "--run", "fp32", *FLAGS)
    return folder


def test_training_and_validation_loss_fall(trained: Path) -> None:
    losses = values_of(trained, "fp32", "train/loss")
    assert list(losses) == list(range(101))
    assert losses[0] == pytest.approx(5.545, abs=0.01), "ln 256: it begins by knowing nothing of bytes"
    assert losses[100] < 3.4
    assert values_of(trained, "fp32", "val/loss")[100] < 3.4


def test_every_step_tells_its_phases_and_they_fit_into_it(trained: Path) -> None:
    steps = [line for line in lines_of(trained, "fp32") if "train/loss" in line]
    names = {"train/loss", "train/grad_norm", "train/lr", "train/tokens_per_s"}
    names |= {f"phase/{name}_s" for name in ("data", "h2d", "forward", "backward", "optimizer")}
    assert all(set(line) >= {"time_s", "step"} | names for line in steps)
    assert {"phase/validation_s", "phase/checkpoint_s"} <= set(steps[-1])
    for before, line in itertools.pairwise(steps):
        spent_s = sum(value for name, value in line.items() if name.startswith("phase/") and name != "phase/log_s")
        assert 0 < spent_s <= line["time_s"] - before["time_s"] + 0.001


def test_validations_and_checkpoints_are_events_with_their_duration_and_lines_of_the_text_log(trained: Path) -> None:
    events = lines_of(trained, "fp32", "events.jsonl")
    assert [event["kind"] for event in events] == ["start", "validation", "validation", "checkpoint", "end"]
    assert all(0 < event["seconds"] < 5 for event in events[1:4])
    text = (trained / "logs" / "fp32" / "train.log").read_text()
    assert "INFO step 100 | validation loss" in text
    assert "INFO step 100 | saved checkpoint.pt" in text


def stop_on_the_way(folder: Path, run: str, number: signal.Signals) -> None:
    with training(folder, "--run", run, *FLAGS) as process:
        wait_for(lambda: len(lines_of(folder, run)) > 3)
        before = len(lines_of(folder, run))
        process.send_signal(number)
        process.send_signal(number)  # the terminal and the parent may both send it
        assert process.wait(STOP_S) == 0
    *_, saved, end = lines_of(folder, run, "events.jsonl")
    assert (end["kind"], end["status"], end["reason"]) == ("end", "finished", f"stopped by {number.name}")
    assert saved["kind"] == "checkpoint"
    last = max(values_of(folder, run, "train/loss"))
    assert last < min(100, before + 20), "it ended with its step; it was stopped on its way, or this proves nothing"
    assert checkpoint.load(folder / "logs" / run)["step"] == last + 1 == saved["step"] + 1


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGUSR1, marks=pytest.mark.long)])
def test_a_signal_saves_at_the_end_of_the_step_and_ends_it_well(tmp_path: Path, number: signal.Signals) -> None:
    stop_on_the_way(tmp_path, "stopped", number)


def test_a_resumed_training_equals_an_uninterrupted_one_bit_for_bit(trained: Path) -> None:
    stop_on_the_way(trained, "parts", signal.SIGTERM)
    train(trained, "--run", "parts", "--steps", "101", "--resume")
    assert len(events_of(trained, "parts", "start")) == 2
    for series in ("train/loss", "train/grad_norm", "val/loss"):
        assert values_of(trained, "parts", series) == values_of(trained, "fp32", series)
    whole, parts = (checkpoint.load(trained / "logs" / run) for run in ("fp32", "parts"))
    assert whole["step"] == parts["step"] == 101
    assert all(torch.equal(whole["model"][name], weight) for name, weight in parts["model"].items())
    assert all(
        torch.equal(one["cpu"], other["cpu"])
        for one, other in zip(whole["generators"], parts["generators"], strict=True)
    )
    assert whole["position"] == parts["position"] == 101 * 4
    for name, state in parts["optimizer"]["state"].items():
        assert all(torch.equal(whole["optimizer"]["state"][name][key], value) for key, value in state.items())


def test_a_rank_that_waits_for_the_others_can_be_ended(tmp_path: Path) -> None:
    port = free_port()
    with training(tmp_path, "--run", "alone", RANK="0", WORLD_SIZE="2", MASTER_PORT=port) as process:
        wait_for(lambda: answers(port), because="it does not listen for the others")
        process.terminate()
        assert process.wait(STOP_S) == -signal.SIGTERM


def answers(port: str) -> bool:
    with socket.socket() as caller:
        return caller.connect_ex(("127.0.0.1", int(port))) == 0


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--device", "cuda"], "PyTorch finds no GPU here: use --device cpu"),
        (["--run", "nothing", "--resume"], "start the run without --resume"),
        (["--run", "taken"], "go on with it by --resume"),
        (["--run", "torn", "--resume"], "is not a whole checkpoint"),
        (["--run", "../elsewhere"], "use a plain name"),
        (["--log-dir", "/proc/self/maps"], "choose another --log-dir"),
        (["--log-dir", "/sys/kernel"], "choose another --log-dir"),  # read-only, for root as well
        (["--precision", "tf32"], "on a CPU use --precision fp32 or bf16"),
    ],
)
def test_a_mistake_gets_one_sentence_with_the_remedy(
    tmp_path: Path, flags: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if torch.cuda.is_available() and "cuda" in flags:
        pytest.skip("there is a GPU")
    logs = tmp_path / "logs"
    for run in ("taken", "torn"):
        (logs / run).mkdir(parents=True)
        (logs / run / "run.json").write_text("{}")
    (logs / "torn" / checkpoint.NAME).write_bytes(b"PK\x03\x04 half")
    assert train_here(tmp_path, "--steps", "1", *flags) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("deepseek-train: ")
    assert sentence in line


@pytest.mark.parametrize(
    "flags", [["--precision", "int3"], ["--resume"], ["--steps", "many"], ["--batch", "0"], ["--nonsense"]]
)
def test_a_wrong_flag_gets_one_sentence_and_exit_code_2(flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(flags)
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("see deepseek-train --help")


def test_the_docs_tell_every_flag_and_every_task(capsys: pytest.CaptureFixture[str]) -> None:
    text = (ROOT / "docs" / "trainer.md").read_text()
    with pytest.raises(SystemExit):
        main(["--help"])
    shown = capsys.readouterr().out
    assert {f"`{flag}" for flag in re.findall(r"--[a-z-]+", shown)} - {"`--help"} <= set(
        re.findall(r"`--[a-z-]+", text)
    )
    assert all(f"| `{task}` |" in text for task in TASKS)


def test_a_prediction_sees_no_later_byte() -> None:
    torch.manual_seed(0)
    model = GPT(SMALL)
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.2)  # at its start the model ignores its context
    tokens_BT = torch.randint(256, (1, 8))
    changed_BT = tokens_BT.clone()
    changed_BT[0, 5] += 1
    difference_T = (model(tokens_BT) - model(changed_BT % 256)).abs().amax(-1)[0]
    assert torch.all(difference_T[:5] == 0)
    assert torch.all(difference_T[5:] > 0)


def test_the_learning_rate_warms_up_and_comes_down_to_a_tenth() -> None:
    rates = [learning_rate(1.0, step, 1000) for step in range(1000)]
    assert rates[0] == 0.01
    assert max(rates) == rates[WARMUP_STEPS] == pytest.approx(1.0)
    assert rates[-1] == pytest.approx(0.1, abs=1e-4)
    assert rates[100:] == sorted(rates[100:], reverse=True)
    assert max(learning_rate(1.0, step, 30) for step in range(30)) == 1.0, "a short run warms up in a tenth of it"


@pytest.mark.parametrize("file", ["metrics.jsonl", "metrics.rank1.jsonl", "events.jsonl"])
def test_todays_writer_writes_the_recorded_run_to_the_byte(file: str) -> None:
    """The collectors are tested against the same folder: what one side changes, the other must hear of."""
    for line in (RECORDED / file).read_text().splitlines():
        fields = {name: float(value) if value == "Infinity" else value for name, value in json.loads(line).items()}
        time_s = fields.pop("time_s")
        again = (
            event_line(time_s, fields.pop("kind"), fields)
            if "kind" in fields
            else scalars_line(time_s, fields.pop("step"), fields)
        )
        assert again == line
