"""The real trainer on the real text: it learns, stops when told to, goes on bit for bit, and says what a person can mend."""

from __future__ import annotations

import itertools
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.conftest import ROOT, wait_for
from trainer import checkpoint, precision
from trainer.data import stdlib_text
from trainer.errors import UserError
from trainer.log_file import event_line, scalars_line
from trainer.models.gpt import GPT, SIZES, Size
from trainer.phases import Phases
from trainer.stop import SIGNALS
from trainer.train import learning_rate, main

RECORDED = Path(__file__).parent / "recorded" / "run"
SMALL = Size(layers=2, channels=16, heads=2, context=8, batch=1, lr=1e-3)
CPU = torch.device("cpu")
FLAGS = ("--steps", "101", "--batch", "4")
STOP_S = 1.5  # from the signal to the end of the process


@contextmanager
def training(folder: Path, *flags: str, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """`python -m trainer` in a folder of its own, where it writes to ./logs; warnings are errors."""
    command = [sys.executable, "-W", "error", "-m", "trainer", *flags]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    with subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.kill()


def train(folder: Path, *flags: str) -> None:
    with training(folder, *flags) as process:
        assert process.wait(60) == 0


def lines_of(folder: Path, run: str, file: str = "metrics.jsonl") -> list[dict[str, Any]]:
    path = folder / "logs" / run / file
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def values_of(folder: Path, run: str, series: str, file: str = "metrics.jsonl") -> dict[int, float]:
    return {line["step"]: line[series] for line in lines_of(folder, run, file) if series in line}


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
    names |= {f"phase/{name}_s" for name in ("data", "forward", "backward", "optimizer")}
    assert all(set(line) == {"time_s", "step"} | names for line in steps)
    for before, line in itertools.pairwise(steps):
        spent_s = sum(value for name, value in line.items() if name.startswith("phase/"))
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
        asked_s = time.monotonic()
        process.send_signal(number)
        process.send_signal(number)  # the terminal and the parent may both send it
        assert process.wait(10) == 0
        assert time.monotonic() - asked_s < STOP_S
    *_, saved, end = lines_of(folder, run, "events.jsonl")
    assert (end["kind"], end["status"], end["reason"]) == ("end", "finished", f"stopped by {number.name}")
    assert saved["kind"] == "checkpoint"
    last = max(values_of(folder, run, "train/loss"))
    assert last < 100, "it was stopped on its way, or this proves nothing"
    assert checkpoint.load(folder / "logs" / run)["step"] == last + 1 == saved["step"] + 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGUSR1])
def test_a_signal_saves_at_the_end_of_the_step_and_ends_it_well(tmp_path: Path, number: signal.Signals) -> None:
    stop_on_the_way(tmp_path, "stopped", number)


def test_a_resumed_training_equals_an_uninterrupted_one_bit_for_bit(trained: Path) -> None:
    stop_on_the_way(trained, "parts", signal.SIGTERM)
    train(trained, "--run", "parts", "--steps", "101", "--resume")
    assert [event["kind"] for event in lines_of(trained, "parts", "events.jsonl")].count("start") == 2
    for series in ("train/loss", "train/grad_norm", "val/loss"):
        assert values_of(trained, "parts", series) == values_of(trained, "fp32", series)
    whole, parts = (checkpoint.load(trained / "logs" / run) for run in ("fp32", "parts"))
    assert whole["step"] == parts["step"] == 101
    assert all(torch.equal(whole["model"][name], weight) for name, weight in parts["model"].items())
    assert torch.equal(whole["rng"], parts["rng"])
    for name, state in parts["optimizer"]["state"].items():
        assert all(torch.equal(whole["optimizer"]["state"][name][key], value) for key, value in state.items())


@pytest.mark.parametrize("name", ["bf16", "fp16"])
def test_mixed_precision_trains_and_only_fp16_scales_its_gradients(tmp_path: Path, name: str) -> None:
    train(tmp_path, "--run", name, "--steps", "12", "--batch", "1", "--precision", name)
    losses = values_of(tmp_path, name, "train/loss")
    assert losses[11] < losses[0] - 0.1
    scales = values_of(tmp_path, name, "train/grad_scale")
    skipped = [event["step"] for event in lines_of(tmp_path, name, "events.jsonl") if event["kind"] == "overflow"]
    assert len(scales) == (12 if name == "fp16" else 0)
    assert skipped == [step for step in scales if scales.get(step + 1, scales[step]) < scales[step]]


def free_port() -> str:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return str(listener.getsockname()[1])


def test_two_ranks_are_one_run_and_stop_together(tmp_path: Path) -> None:
    flags, port = ("--run", "two", "--batch", "2"), free_port()
    with (
        training(tmp_path, *flags, RANK="0", WORLD_SIZE="2", MASTER_PORT=port) as one,
        training(tmp_path, *flags, RANK="1", WORLD_SIZE="2", MASTER_PORT=port) as two,
    ):
        wait_for(lambda: len(lines_of(tmp_path, "two")) > 3, timeout_s=30)
        two.send_signal(signal.SIGTERM)
        assert (one.wait(20), two.wait(20)) == (0, 0)
    first, second = (values_of(tmp_path, "two", "train/grad_norm", file) for file in ("metrics.jsonl", "metrics.rank1.jsonl"))
    assert first == second, "gradients are averaged over the ranks"
    assert values_of(tmp_path, "two", "train/loss") != values_of(tmp_path, "two", "train/loss", "metrics.rank1.jsonl")
    assert [event["kind"] for event in lines_of(tmp_path, "two", "events.jsonl")].count("checkpoint") == 1


def test_a_rank_that_waits_for_the_others_can_be_ended(tmp_path: Path) -> None:
    port = free_port()
    with training(tmp_path, "--run", "alone", RANK="0", WORLD_SIZE="2", MASTER_PORT=port) as process:
        wait_for(lambda: answers(port), because="it does not listen for the others")
        process.terminate()
        assert process.wait(STOP_S) == -signal.SIGTERM


def answers(port: str) -> bool:
    with socket.socket() as caller:
        return caller.connect_ex(("127.0.0.1", int(port))) == 0


@pytest.fixture
def handlers() -> Iterator[None]:
    """The trainer's main() takes signals over; here it runs in the test's own process."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("handlers")
@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--device", "cuda"], "PyTorch finds no GPU here: use --device cpu"),
        (["--run", "nothing", "--resume"], "start the run without --resume"),
        (["--run", "taken"], "go on with it by --resume"),
        (["--run", "torn", "--resume"], "is not a whole checkpoint"),
        (["--run", "../elsewhere"], "use a plain name"),
        (["--log-dir", "/proc/self/maps"], "choose another --log-dir"),
    ],
)
def test_a_mistake_gets_one_sentence_with_the_remedy(
    tmp_path: Path, flags: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if torch.cuda.is_available() and "cuda" in flags:
        pytest.skip("there is a GPU")
    for run in ("taken", "torn"):
        (tmp_path / run).mkdir()
        (tmp_path / run / "run.json").write_text("{}")
    (tmp_path / "torn" / checkpoint.NAME).write_bytes(b"PK\x03\x04 half")
    assert main(["--log-dir", str(tmp_path), "--device", "cpu", "--steps", "1", *flags]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("deepseek-train: ")
    assert sentence in line


@pytest.mark.parametrize("flags", [["--precision", "int3"], ["--resume"], ["--steps", "many"], ["--batch", "0"], ["--nonsense"]])
def test_a_wrong_flag_gets_one_sentence_and_exit_code_2(flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(flags)
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("see deepseek-train --help")


def test_a_save_that_fails_leaves_the_last_checkpoint_whole(tmp_path: Path) -> None:
    model = GPT(SMALL, 256)
    optimizer = torch.optim.AdamW(model.parameters())
    scaler = precision.choose("fp32", CPU).scaler(CPU)
    path = checkpoint.save(tmp_path, model, optimizer, scaler, 7, {})
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size // 2, limits[1]))
    try:
        with pytest.raises((OSError, RuntimeError)):
            checkpoint.save(tmp_path, model, optimizer, scaler, 8, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert checkpoint.load(tmp_path)["step"] == 7
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UserError, match="not a whole checkpoint"):
        checkpoint.load(tmp_path)


def test_the_text_is_split_by_file_the_same_way_everywhere() -> None:
    train_text, validation_text = stdlib_text.load()
    assert 0.01 < len(validation_text.tokens) / len(train_text.tokens) < 0.1
    tokens_BT, targets_BT = train_text.batch(4, 32, seed=5)
    assert tokens_BT.shape == targets_BT.shape == (4, 32)
    assert torch.equal(tokens_BT[:, 1:], targets_BT[:, :-1])
    assert torch.equal(tokens_BT, train_text.batch(4, 32, seed=5)[0])
    assert not torch.equal(tokens_BT, train_text.batch(4, 32, seed=6)[0])
    assert {name: stdlib_text.held_out(Path(name)) for name in ("copy.py", "io.py", "ast.py", "json/decoder.py")} == {
        "copy.py": True,
        "io.py": True,
        "ast.py": False,
        "json/decoder.py": False,
    }


def test_a_python_without_its_source_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "only.py").write_text("pass")
    with pytest.raises(UserError, match="too little Python source"):
        stdlib_text.load(tmp_path)


def test_a_prediction_sees_no_later_byte() -> None:
    torch.manual_seed(0)
    model = GPT(SMALL, 256)
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.2)  # at its start the model ignores its context
    tokens_BT = torch.randint(256, (1, 8))
    changed_BT = tokens_BT.clone()
    changed_BT[0, 5] += 1
    difference_T = (model(tokens_BT) - model(changed_BT % 256)).abs().amax(-1)[0]
    assert torch.all(difference_T[:5] == 0)
    assert torch.all(difference_T[5:] > 0)


def test_a_cpu_takes_every_precision_and_says_why_it_chose() -> None:
    assert {name: precision.choose(name, CPU).dtype for name in ("fp32", "bf16", "fp16")} == {
        "fp32": torch.float32,
        "bf16": torch.bfloat16,
        "fp16": torch.float16,
    }
    assert precision.choose("auto", CPU).reason
    assert [precision.choose(name, CPU).scaler(CPU).is_enabled() for name in ("fp32", "bf16", "fp16")] == [False, False, True]


def test_phases_add_up_until_they_are_taken() -> None:
    phases = Phases()
    for _ in range(2):
        with phases["forward"]:
            time.sleep(0.01)
    with phases["data"]:
        pass
    assert 0.02 <= phases.take_s()["phase/forward_s"] < 0.5
    assert phases.take_s() == {"phase/forward_s": 0, "phase/data_s": 0}


def test_the_learning_rate_warms_up_and_comes_down_to_a_tenth() -> None:
    rates = [learning_rate(1.0, step, 1000) for step in range(1000)]
    assert rates[0] == 0.01
    assert max(rates) == rates[100] == pytest.approx(1.0)
    assert rates[-1] == pytest.approx(0.1, abs=1e-4)
    assert rates[100:] == sorted(rates[100:], reverse=True)


@pytest.mark.parametrize("file", ["metrics.jsonl", "metrics.rank1.jsonl", "events.jsonl"])
def test_todays_writer_writes_the_recorded_run_to_the_byte(file: str) -> None:
    """The collectors are tested against the same folder: what one side changes, the other must hear of."""
    for line in (RECORDED / file).read_text().splitlines():
        fields = {name: float(value) if value == "Infinity" else value for name, value in json.loads(line).items()}
        time_s = fields.pop("time_s")
        again = (
            event_line(time_s, fields.pop("kind"), fields) if "kind" in fields else scalars_line(time_s, fields.pop("step"), fields)
        )
        assert again == line


def test_the_sizes_fit_their_heads() -> None:
    assert all(size.channels % size.heads == 0 and (size.channels // size.heads) % 2 == 0 for size in SIZES.values())
