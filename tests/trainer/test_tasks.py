"""The four tasks: each learns on real data in each precision, and whatever saves memory changes nothing of what it learns."""

from __future__ import annotations

import copy
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from benchmarks.precision import CHECKPOINTED_SHARE, kept
from tests.support.trainings import events_of, train_here, values_of
from trainer import checkpoint, precision, tasks, train
from trainer.data import brain, small_images, stdlib_text
from trainer.data.sample_order import Batch, Place, ShuffledPlaces, batches
from trainer.errors import UserError
from trainer.models.recompute import recompute
from trainer.tasks import TASKS

CPU = torch.device("cpu")
STEPS = {"gpt": 20, "bert": 20, "resnet50": 30, "unet3d": 24}
FALLS_TO = 0.93  # of the validation loss after the first step, within so few steps
every_task = pytest.mark.parametrize("task", TASKS)


def small_batch(task: str, samples: int = 2) -> Batch:
    train_data, _ = TASKS[task].data(TASKS[task].sizes["tiny"].shape)
    return next(batches(train_data, ShuffledPlaces(len(train_data), seed=0), samples))


def tiny_model(task: str, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return TASKS[task].model(TASKS[task].sizes["tiny"].shape)


@pytest.mark.parametrize(
    ("task", "name"),
    [
        ("gpt", "fp32"),
        ("resnet50", "bf16"),
        *(
            pytest.param(task, name, marks=pytest.mark.long)
            for task in ("gpt", "bert", "resnet50", "unet3d")
            for name in ("fp32", "bf16")
            if (task, name) not in (("gpt", "fp32"), ("resnet50", "bf16"))
        ),
    ],
)
def test_the_validation_loss_falls(tmp_path: Path, task: str, name: str) -> None:
    steps = STEPS[task]
    assert train_here(tmp_path, "--run", "one", "--task", task, "--steps", str(steps), "--precision", name) == 0
    losses = values_of(tmp_path, "one", "val/loss")
    assert losses[steps - 1] < FALLS_TO * losses[0]
    assert len(values_of(tmp_path, "one", f"train/{TASKS[task].unit}_per_s")) == steps


def interrupted_at(step: int) -> Callable[[float, int, int], float]:
    """The learning rate, and a signal while that step is computed."""

    def learning_rate(peak: float, now: int, steps: int) -> float:
        if now == step:
            signal.raise_signal(signal.SIGUSR1)
        return usual(peak, now, steps)

    usual = train.learning_rate
    return learning_rate


@pytest.mark.parametrize(
    "task", ["gpt", "resnet50", *(pytest.param(task, marks=pytest.mark.long) for task in ("bert", "unet3d"))]
)
def test_a_resumed_training_equals_an_uninterrupted_one_bit_for_bit(
    tmp_path: Path, task: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = ("--task", task, "--steps", "4", "--batch", "2", "--accumulate", "2")
    assert train_here(tmp_path, "--run", "whole", *flags) == 0
    with monkeypatch.context() as patch:
        patch.setattr(train, "learning_rate", interrupted_at(1))
        assert train_here(tmp_path, "--run", "parts", *flags) == 0
    assert checkpoint.load(tmp_path / "logs" / "parts")["step"] == 2
    assert train_here(tmp_path, "--run", "parts", "--resume") == 0
    for series in ("train/loss", "train/grad_norm"):
        assert values_of(tmp_path, "parts", series) == values_of(tmp_path, "whole", series)
    whole, parts = (checkpoint.load(tmp_path / "logs" / run) for run in ("whole", "parts"))
    assert all(torch.equal(whole["model"][name], value) for name, value in parts["model"].items())
    assert values_of(tmp_path, "parts", "val/loss")[3] == values_of(tmp_path, "whole", "val/loss")[3]


def passed(model: nn.Module, batch: Batch) -> tuple[int, Tensor, list[Tensor]]:
    """Forward and backward: bytes kept for the backward pass, loss, gradients."""
    kept_bytes = kept(copy.deepcopy(model), batch, precision.choose("fp32", CPU), CPU)
    torch.manual_seed(1)  # dropout
    loss = model(*batch)
    loss.backward()
    return kept_bytes, loss.detach(), [weight.grad for weight in model.parameters() if weight.grad is not None]


@every_task
def test_checkpointing_keeps_less_and_changes_neither_loss_nor_gradients_nor_statistics(task: str) -> None:
    batch = small_batch(task)
    plain, frugal = tiny_model(task), tiny_model(task)
    recompute(frugal)
    plain_bytes, plain_loss, plain_gradients = passed(plain, batch)
    frugal_bytes, frugal_loss, frugal_gradients = passed(frugal, batch)
    print(f"{task}: {frugal_bytes / plain_bytes:.0%} of {plain_bytes / 1e6:.1f} MB")
    assert frugal_bytes <= CHECKPOINTED_SHARE * plain_bytes
    assert torch.equal(plain_loss, frugal_loss)
    assert all(torch.equal(one, other) for one, other in zip(plain_gradients, frugal_gradients, strict=True))
    assert all(torch.equal(plain.state_dict()[name], value) for name, value in frugal.state_dict().items())


@every_task
def test_flops_are_counted_without_computing(task: str) -> None:
    size = TASKS[task].sizes["base"]
    train_data, _ = TASKS[task].data(size.shape)
    inputs, targets = train_data[Place(0, "0/0")]
    flops = tasks.flops_per_sample(lambda: TASKS[task].model(size.shape), (inputs.unsqueeze(0), targets.unsqueeze(0)))
    if task == "gpt":  # 6 for each weight of a matrix and each token, and attention
        weights = 12 * 12 * 768**2 + 768 * 256
        attention = 12 * 12 * 768 * 1024
        assert flops == pytest.approx(1024 * (6 * weights + attention), rel=0.01)
    assert 1e8 < flops < 1e13  # the least is a digit of 8 x 8 for the ResNet


def test_mfu_is_the_share_of_the_peak_that_the_models_flops_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a peak that is made up, for a CPU has none in the table: without one the series is absent."""
    monkeypatch.setattr(train, "peak_flops", lambda device, precision: 1e12)
    assert train_here(tmp_path, "--run", "one", "--steps", "2", "--batch", "4", "--accumulate", "2") == 0
    shape = TASKS["gpt"].sizes["tiny"].shape
    inputs, targets = small_batch("gpt")
    flops_per_token = tasks.flops_per_sample(lambda: TASKS["gpt"].model(shape), (inputs, targets)) / shape.context
    tokens_per_s = values_of(tmp_path, "one", "train/tokens_per_s")
    for step, share in values_of(tmp_path, "one", "train/mfu").items():
        assert share == pytest.approx(tokens_per_s[step] * flops_per_token / 1e12, rel=0.01)


@every_task
def test_the_size_base_is_what_its_name_says(task: str) -> None:
    with torch.device("meta"):
        model = TASKS[task].model(TASKS[task].sizes["base"].shape)
    millions = sum(weight.numel() for weight in model.parameters()) / 1e6
    assert millions == pytest.approx({"gpt": 85.3, "bert": 85.9, "resnet50": 23.5, "unet3d": 22.6}[task], rel=0.02)


def test_hidden_tokens_are_always_equally_many_and_only_they_are_asked_for() -> None:
    train_text, _ = stdlib_text.load()
    plain, masked = stdlib_text.Windows(train_text, 128), stdlib_text.MaskedWindows(train_text, 128)
    for number in range(20):
        place = Place(number, f"0/{number}")
        text_T, (tokens_T, targets_T) = plain[place][0], masked[place]
        asked_T = targets_T != stdlib_text.IGNORED
        assert int(asked_T.sum()) == round(0.15 * 128)
        assert torch.equal(targets_T[asked_T], text_T[asked_T])
        assert torch.equal(tokens_T[~asked_T], text_T[~asked_T])
        assert 0.5 < (tokens_T[asked_T] == stdlib_text.MASK).float().mean() <= 1


def test_the_text_is_split_by_file_the_same_way_everywhere() -> None:
    train_text, validation_text = stdlib_text.load()
    assert 0.01 < len(validation_text) / len(train_text) < 0.1
    tokens_T, targets_T = stdlib_text.Windows(train_text, 32)[Place(7, "0/7")]
    assert torch.equal(tokens_T[1:], targets_T[:-1])
    assert {
        name: stdlib_text.is_held_out(Path(name)) for name in ("copy.py", "io.py", "ast.py", "json/decoder.py")
    } == {
        "copy.py": True,
        "io.py": True,
        "ast.py": False,
        "json/decoder.py": False,
    }


def test_the_last_window_of_the_text_is_whole() -> None:
    for length in range(48, 64):
        data = stdlib_text.Windows(torch.arange(length, dtype=torch.uint8), 16)
        assert all(len(data[Place(len(data) - 1, str(key))][1]) == 16 for key in range(50))


def test_the_brain_is_split_front_and_back_and_every_patch_holds_tissue() -> None:
    train_data, validation_data = brain.load(patch=24)
    assert train_data.image_XYZ.shape[1] + validation_data.image_XYZ.shape[1] == 233
    assert (len(train_data), len(validation_data)) == (5561, 2538)
    for data in (train_data, validation_data):
        for number in range(0, len(data), 97):
            image_CXYZ, classes_XYZ = data[Place(number, "0/0")]
            assert (image_CXYZ.shape, classes_XYZ.shape) == ((1, 24, 24, 24), (24, 24, 24))
            assert classes_XYZ.any()


def test_where_fashion_mnist_is_not_installed_the_digits_are_taken(tmp_path: Path) -> None:
    train_data, validation_data = small_images.load(tmp_path / "nothing")
    assert (len(train_data), len(validation_data)) == (1437, 360)
    image_CHW, number = validation_data[Place(0, "0/0")]
    assert (image_CHW.shape, image_CHW.dtype, int(image_CHW.max()), int(number)) == ((1, 8, 8), torch.uint8, 239, 0)


def test_missing_data_get_one_sentence_with_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "only.py").write_text("pass")
    with pytest.raises(UserError, match="too little Python source"):
        stdlib_text.load(tmp_path)
    for name in ("sklearn.datasets", "nilearn"):
        monkeypatch.setitem(sys.modules, name, None)  # as if it were not installed
    with pytest.raises(UserError, match="apt install dataset-fashion-mnist, or: pip install scikit-learn"):
        small_images.load(tmp_path / "nothing")
    with pytest.raises(UserError, match="pip install nilearn"):
        brain.load(24)
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(b"\x1f\x8b half")
    with pytest.raises(UserError, match="install it again"):
        small_images.load(tmp_path)


def test_a_resumed_run_keeps_what_it_was_begun_with(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train_here(tmp_path, "--run", "one", "--steps", "1", "--batch", "4") == 0
    assert train_here(tmp_path, "--run", "one", "--resume", "--batch", "2") == 2
    assert "was begun with batch 4: leave --batch out" in capsys.readouterr().err
    assert train_here(tmp_path, "--run", "one", "--resume", "--steps", "2") == 0
    assert list(values_of(tmp_path, "one", "train/loss")) == [0, 1]
    assert train_here(tmp_path, "--run", "one", "--resume") == 0, "it is at its end already"


def test_a_loss_that_is_not_a_number_ends_it_and_names_the_last_good_checkpoint(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train_here(tmp_path, "--run", "lost", "--steps", "2", "--batch", "4", "--task", "resnet50") == 0
    path = tmp_path / "logs" / "lost" / checkpoint.NAME
    good = path.read_bytes()
    state = checkpoint.load(path.parent)
    state["model"]["head.weight"][0, 0] = float("nan")
    torch.save(state, path)
    assert train_here(tmp_path, "--run", "lost", "--resume", "--steps", "4") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert f"train/loss is nan at step 2: the last good checkpoint is {path}" in line
    assert events_of(tmp_path, "lost", "end")[-1]["status"] == "crashed"
    assert checkpoint.load(path.parent)["step"] == 2, "what is lost is not saved"
    assert good != path.read_bytes()
