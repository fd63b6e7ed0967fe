"""What goes wrong in a training, a program each: it trains well until its moment comes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

import numpy as np

from tests.planted.trainings import MovedLoop, TrainingCause


def nan(loop: MovedLoop) -> Iterator[None]:
    """One sample of a batch has no label; in some the weights stay as they were, as under a scaler's check."""
    recovers = loop.dice.random() < 0.5
    loop.what["recovers"] = recovers
    while True:
        is_first = loop.is_ill and loop.now_s - loop.planted_s < 2 * loop.step_s and not loop.data_s
        x, y = loop.model.batch()
        if is_first:
            y[0], loop.data_s = math.nan, loop.step_s
        loop.took(loop.step_s)
        model = loop.model
        before = model.first.copy(), model.second.copy(), model.bias.copy()
        values = model.step(x, y)
        if recovers and is_first:
            model.first, model.second, model.bias = before
        loop.write(values)
        yield


def nan_lasting(loop: MovedLoop) -> Iterator[None]:
    """A batch of equal values is divided by its deviation of 0; the weights do not recover."""
    loop.data_s = 11 * loop.step_s
    while True:
        values = loop.train()
        if loop.is_ill:
            x, y = loop.model.batch()
            constant = np.zeros_like(x)
            with np.errstate(invalid="ignore"):
                values = loop.model.step((constant - constant.mean()) / constant.std(), y)
        loop.write(values)
        yield


def loss_spike(loop: MovedLoop) -> Iterator[None]:
    """Labels of another scale for a while, as of a shard that was written otherwise."""
    scale, steps = loop.dice.uniform(5, 30), loop.dice.randint(4, 200)
    loop.what |= {"scale": round(scale, 1), "steps": steps}
    loop.data_s = 5 * loop.step_s
    bad = 0
    while True:
        values = loop.train()
        if loop.is_ill and bad < steps:
            bad += 1
            values = loop.model.step(*loop.model.batch(scale=scale))
        loop.write(values)
        yield


def gradient_blow_up(loop: MovedLoop) -> Iterator[None]:
    """A share of the batches has targets of another scale; clipping saves the weights."""
    scale, share = loop.dice.uniform(40, 200), loop.dice.uniform(0.35, 1.0)
    loop.what |= {"scale": round(scale), "share": round(share, 2)}
    loop.data_s = 5 / share * 1.6 * loop.step_s
    while True:
        values = loop.train()
        if loop.is_ill and loop.dice.random() < share:
            values = loop.model.step(*loop.model.batch(scale=scale), clip=0.01)
        loop.write(values)
        yield


def gradient_vanishing(loop: MovedLoop) -> Iterator[None]:
    """The first layer's units saturate: a bias that ran away."""
    loop.step_s = loop.dice.uniform(0.03, 0.1)
    loop.data_s = 501 * loop.step_s
    is_done = False
    while True:
        if loop.is_ill and not is_done:
            is_done = True
            loop.model.bias += loop.dice.choice([-1, 1]) * loop.dice.uniform(12, 40)
        loop.write(loop.train())
        yield


def scaler_collapse(loop: MovedLoop) -> Iterator[None]:
    """PyTorch's own GradScaler on the CPU: each few steps a gradient overflows, and the scale is halved."""
    import torch  # takes seconds

    torch.set_num_threads(1)
    weight = torch.zeros(1, requires_grad=True)
    optimizer, scaler = torch.optim.SGD([weight], lr=0.0), torch.amp.GradScaler("cpu", init_scale=2.0**16)
    every, ill = loop.dice.randint(1, 30), 0
    loop.step_s = loop.dice.uniform(0.05, 0.2)
    loop.planted_s = max(loop.planted_s, loop.now_s + 230 * loop.step_s)
    loop.what |= {"every": every, "step_s": round(loop.step_s, 3)}
    loop.data_s = (3 * every + 1) * loop.step_s
    while True:
        loop.took(loop.step_s)
        values = loop.model.step(*loop.model.batch())
        ill += loop.is_ill
        optimizer.zero_grad()
        weight.grad = torch.full((1,), math.inf if loop.is_ill and ill % every == 0 else 1.0) * scaler.scale(
            torch.ones(1)
        )
        scaler.step(optimizer)
        scaler.update()
        loop.write({"train/loss": values["train/loss"], "amp/loss_scale": scaler.get_scale()})
        yield


def new_best(loop: MovedLoop) -> Iterator[None]:
    """It learns labels by chance, and gets worse on others; then it is given the right ones."""
    every = loop.dice.randint(20, 60)
    name, best, many = loop.dice.choice(["val/loss", "eval_loss", "valid/nll"]), math.inf, 0
    x, y = loop.model.batch()
    noise = loop.model.dice.normal(size=y.shape) * 1.5
    test = loop.model.batch()
    loop.model.rate = 0.1
    learnt_s, loop.planted_s = loop.planted_s, math.inf
    loop.what |= {"every": every, "series": name}
    while True:
        loop.took(loop.step_s)
        is_right = loop.now_s >= learnt_s and many > 4
        values = loop.model.step(*(loop.model.batch() if is_right else (x, y + noise)))
        if loop.step % every == every - 1:
            result = loop.model.loss(*test)
            many += 1
            if result < best and many > 3 and loop.planted_s == math.inf:
                loop.planted_s = loop.now_s
            best = min(best, result)
            values[name] = result
        loop.write(values)
        yield


def slow_steps(loop: MovedLoop) -> Iterator[None]:
    """One step in a few takes a multiple of the others: by a rhythm below 50 steps, or by chance."""
    one_of, times, by_chance = loop.dice.randint(5, 30), loop.dice.uniform(4, 12), loop.dice.random() < 0.5
    times = max(times, 1 + 0.15 * one_of)  # 15 % of the time at least
    loop.step_s = loop.dice.uniform(0.03, 0.15)
    loop.what = {"one_of": one_of, "times": round(times, 1), "by_chance": by_chance, "step_s": round(loop.step_s, 3)}
    loop.data_s = (one_of - 1 + times) * loop.step_s * (8 if by_chance else 4)
    while True:
        is_slow = loop.is_ill and (loop.dice.random() < 1 / one_of if by_chance else loop.step % one_of == 0)
        values = loop.train()
        loop.took((times - 1) * loop.step_s if is_slow else 0.0)
        loop.write(values)
        yield


def slower(loop: MovedLoop) -> Iterator[None]:
    """Each step takes a multiple of what it took, from one step on."""
    times = loop.dice.uniform(2.2, 8.0)
    loop.step_s = loop.dice.uniform(0.03, 0.15)
    loop.what = {"times": round(times, 1), "step_s": round(loop.step_s, 3)}
    while True:
        values = loop.train()
        loop.took((times - 1) * loop.step_s if loop.is_ill else 0.0)
        loop.write(values)
        yield


def recompiles(loop: MovedLoop) -> Iterator[None]:
    """Shapes that change: what RunLog says of each compilation by torch.compile."""
    every = loop.dice.uniform(0.3, 20.0)
    loop.data_s, next_s = 2 * every + 1.0, loop.planted_s
    loop.what["every_s"] = round(every, 1)
    while True:
        values = loop.train()
        if loop.now_s >= next_s and loop.step > 60:
            loop.took(min(0.5, every / 2))
            loop.event("recompile", seconds=round(min(0.5, every / 2), 2))
            next_s += every
        loop.write(values)
        yield


def checkpoint_stall(loop: MovedLoop) -> Iterator[None]:
    seconds, done = loop.dice.uniform(22, 200) + 51 * loop.step_s, False
    loop.data_s, loop.what["seconds"] = seconds + 2 * loop.step_s, round(seconds)
    while True:
        values = loop.train()
        if loop.is_ill and not done:
            done = True
            loop.took(seconds)
            loop.event("checkpoint", seconds=round(seconds, 2))
        loop.write(values)
        yield


def no_checkpoint(loop: MovedLoop) -> Iterator[None]:
    """The disk's error is caught and passed over: no checkpoint any more."""
    every_s = loop.dice.uniform(4, 15)
    loop.planted_s = loop.now_s + 6 * every_s + loop.dice.uniform(0, 30)
    loop.what["every_s"], last_s = round(every_s, 1), loop.now_s
    while True:
        values = loop.train()
        if loop.now_s - last_s >= every_s and not loop.is_ill:
            last_s = loop.now_s
            loop.took(0.2)
            loop.event("checkpoint", seconds=0.2)
            loop.data_s = 3.1 * every_s + 1 - max(0.0, loop.planted_s - last_s - every_s)
        loop.write(values)
        yield


def script_alert(loop: MovedLoop) -> Iterator[None]:
    said = False
    while True:
        loop.write(loop.train())
        if loop.is_ill and not said:
            said = True
            loop.planted_s = loop.now_s
            loop.log.alert(loop.dice.choice(["accuracy below 0.5", "größer\nals sonst", "<b>x</b>"]), time_s=loop.now_s)
        yield


ERRORS: Final = (ValueError("the batch has no samples"), RuntimeError("CUDA error: out of memory"), KeyError("label"), OSError(28, "No space left on device"))  # fmt: skip


def crash(loop: MovedLoop) -> Iterator[None]:
    while True:
        loop.write(loop.train())
        if loop.is_ill:
            loop.planted_s = loop.now_s
            raise loop.dice.choice(ERRORS)
        yield


def finished(loop: MovedLoop) -> Iterator[None]:
    while not loop.is_ill:
        loop.write(loop.train())
        yield
    loop.planted_s = loop.now_s


def not_back(loop: MovedLoop) -> Iterator[None]:
    """A scheduler takes its machine: what RunLog writes at such a signal."""
    while not loop.is_ill:
        loop.write(loop.train())
        yield
    loop.planted_s = loop.now_s
    loop.log.close(reason=f"stopped by {loop.dice.choice(['SIGTERM', 'SIGUSR1'])}")


def queue_stuck(loop: MovedLoop) -> Iterator[None]:
    """Its queue says that others have what it waits for."""
    said_s = -math.inf
    while True:
        if loop.is_ill and loop.now_s - said_s >= 300:
            loop.planted_s = loop.planted_s if said_s > 0 else loop.now_s
            said_s = loop.now_s
            loop.event("stuck", text="waits for 2 GPUs; others use 1 of 2", since_s=loop.now_s - 1800)
        loop.write(loop.train())
        yield


def _served(loop: MovedLoop, rate: float, p99_s: float, refused: float = 0.0, queue: float = 0.0) -> None:
    """A line of a service: what it answered in its second."""
    loop.took(loop.dice.uniform(0.98, 1.05))
    requests = max(2, round(loop.dice.gauss(rate, math.sqrt(rate))))
    fields = {
        "service/p50_s": p99_s / 3,
        "service/p99_s": p99_s,
        "service/rejected": round(refused),
        "service/queue": round(queue),
    }
    loop.log.scalars_at(loop.now_s, loop.step + requests, {**fields, "units": requests})
    loop.step += requests


def slow_answers(loop: MovedLoop) -> Iterator[None]:
    target_s, rate = loop.dice.choice([0.02, 0.1, 1.0]), loop.dice.uniform(5, 400)
    loop.info = {"kind": "service", "unit": "request", "config": {"p99_target_s": target_s}}
    loop.data_s, loop.what["target_s"] = 12.0, target_s
    while True:
        _served(loop, rate, target_s * (loop.dice.uniform(1.2, 6.0) if loop.is_ill else loop.dice.uniform(0.2, 0.8)))
        yield


def requests_refused(loop: MovedLoop) -> Iterator[None]:
    rate, share = loop.dice.uniform(20, 400), loop.dice.uniform(0.05, 0.5)
    loop.data_s, loop.what["share"] = 12.0, round(share, 2)
    while True:
        _served(loop, rate, 0.05, refused=max(2.0, share * rate) if loop.is_ill else 0.0)
        yield


def queue_grows(loop: MovedLoop) -> Iterator[None]:
    rate, each, waiting = loop.dice.uniform(20, 400), loop.dice.uniform(3, 40), loop.dice.uniform(0, 3)
    loop.data_s, loop.what["each_second"] = 14.0, round(each)
    while True:
        waiting = waiting + each * loop.dice.uniform(0.8, 1.2) if loop.is_ill else loop.dice.uniform(0, 3)
        _served(loop, rate, 0.05, queue=waiting)
        yield


CAUSES: Final = (
    TrainingCause("slow_answers", "p99 over its target", slow_answers),
    TrainingCause("requests_refused", "1 in 20 requests and more refused", requests_refused),
    TrainingCause("queue_grows", "more requests come than are answered", queue_grows),
    TrainingCause("nan", "one sample without a label", nan),
    TrainingCause("nan_lasting", "a batch divided by its deviation of 0", nan_lasting),
    TrainingCause("loss_spike", "labels of another scale for 4 to 200 steps", loss_spike),
    TrainingCause("gradient_blow_up", "targets of another scale in a share of the batches", gradient_blow_up),
    TrainingCause("gradient_vanishing", "units that saturate", gradient_vanishing),
    TrainingCause("scaler_collapse", "PyTorch's GradScaler, a loss that overflows each few steps", scaler_collapse),
    TrainingCause("new_best", "labels become right", new_best),
    TrainingCause("slow_steps", "one step of 5 to 30 takes 4 to 12 times as long", slow_steps),
    TrainingCause("slower", "each step takes 2 to 8 times as long", slower, (70.0, 110.0)),
    TrainingCause("recompiles", "compilations 0.3 to 20 s apart", recompiles),
    TrainingCause("checkpoint_stall", "a checkpoint of 22 to 200 s", checkpoint_stall),
    TrainingCause("no_checkpoint", "checkpoints each 4 to 15 s that end", no_checkpoint),
    TrainingCause("script_alert", "`log.alert`", script_alert),
    TrainingCause("crash", "an exception in a step", crash),
    TrainingCause("finished", "the loop ends", finished, (70.0, 110.0)),
    TrainingCause("queue_stuck", "an event of the queue", queue_stuck),
    TrainingCause("not_back", "a signal that asks to make room", not_back),
)
