"""The loop of a simulated training: a step is data, a copy, forward, backward and optimizer, and what the job has besides."""

from __future__ import annotations

from collections.abc import Generator

from .job import Job
from .labels import (
    BACKWARD,
    DECODE,
    FORWARD,
    GIL,
    ITEM,
    LAYER_ITEM,
    NEXT,
    OPTIMIZER,
    PYTHON,
    SAVE,
    SHADOW,
    STATE_TO_CPU,
    TO_GPU,
    VALIDATION,
    VALIDATION_ITEM,
    VALIDATION_NEXT,
    WRITE,
)
from .machine import Machine, Step

PASSES = ((FORWARD, 0.33), (BACKWARD, 0.56), (OPTIMIZER, 0.11))  # of the launches
OF_VALIDATION = 9000.0  # where its launches begin
VALIDATION_LAUNCHES = 150

Collectives = Generator[float, float, None]


def simulated(job: Job, seed: int) -> Machine:
    """Of one rank alone."""
    machine = Machine(job, seed)
    for _ in train(machine, job):
        raise AssertionError("a job with collectives needs its other ranks: see ranks.py")
    return machine


def train(machine: Machine, job: Job, straggles: bool = False) -> Collectives:
    """Yields the moments at which the rank is ready for its collectives, and is sent those at which all are."""
    loader, step, half_s = Loader(job), 0, job.seconds / 2
    while machine.host_s < job.seconds:
        if job.from_half and machine.host_s > half_s:
            job = job.second_half()
            loader.job = job
        begin_s = machine.host_s
        loader.next(machine, step)
        machine.work(DECODE, machine.varied(job.straggle_ms) if straggles else 0.0)
        data_s = machine.host_s - begin_s
        if job.copy_ms:
            machine.copy(TO_GPU, machine.varied(job.copy_ms))
        yield from passes(machine, job)
        machine.work(SHADOW, machine.varied(job.shadow_ms))
        if job.item_every and step % job.item_every == 0:
            machine.wait(ITEM)
        if step % job.write_every == 0:
            machine.work(WRITE, machine.varied(job.write_ms))
        step += 1
        machine.steps.append(Step(machine.host_s, data_s, max(0.0, machine.gpu_s - machine.host_s)))
        between(machine, job, step)
    machine.wait(ITEM)


class Loader:
    """In the main thread, or workers that deliver ahead of it."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self._ready_s = 0.0
        self._taken_s: list[float] = []

    def next(self, machine: Machine, step: int) -> None:
        job = self.job
        if not job.worker_ms:
            machine.work(NEXT, machine.varied(job.next_ms))
            machine.work(DECODE, machine.varied(job.decode_ms))
            self._taken_s.append(machine.host_s)
            return
        may_begin_s = self._taken_s[step - job.prefetch] if step >= job.prefetch else 0.0
        spread = float(machine.random.lognormal(-(job.worker_spread**2) / 2, job.worker_spread))
        self._ready_s = max(self._ready_s, may_begin_s) + job.worker_ms / 1e3 * spread
        machine.work(NEXT, max(0.1, (self._ready_s - machine.host_s) * 1e3))
        self._taken_s.append(machine.host_s)


def passes(machine: Machine, job: Job) -> Collectives:
    """Forward, backward and optimizer."""
    tiny = int(job.launches * job.tiny_share)
    rest = job.launches - tiny
    kernel_us = (job.gpu_ms * 1e3 - 3 * tiny) / rest
    if tiny:
        machine.launch(FORWARD, tiny, job.launch_us, 3.0)
    parts = max(4, job.gil_waits // 3, job.layer_items) if job.python_ms or job.gil_waits or job.layer_items else 1
    parts = max(parts, job.buckets) if job.collectives else parts
    gil_left = job.gil_waits
    for label, share in PASSES:
        count = int(rest * share)
        if job.collectives and label == OPTIMIZER:
            machine.join_streams()
        for part in range(parts):
            if job.collectives == "fsdp" and label != OPTIMIZER and part < job.buckets:  # gathers the layer's weights
                yield from machine.collective(job.collective_ms, after_gpu=False)
                machine.join_streams()
            portion = count * (part + 1) // parts - count * part // parts
            if portion:
                machine.launch(label, portion, job.launch_us, kernel_us, 100 * label + part * count / parts / 10)
            if label == FORWARD:
                machine.work(PYTHON, machine.varied(job.python_ms / parts))
                if part < job.layer_items:
                    machine.wait(LAYER_ITEM)
            if label == BACKWARD and job.collectives and part < job.buckets:  # sends the gradients of the layer
                yield from machine.collective(job.collective_ms, after_gpu=True)
            if gil_left > 0 and label != OPTIMIZER:
                machine.work(GIL, machine.varied(job.gil_ms))
                gil_left -= 1


def between(machine: Machine, job: Job, step: int) -> None:
    """Checkpoint and validation, which are no steps."""
    if job.checkpoint_every and step % job.checkpoint_every == 0:
        machine.wait(STATE_TO_CPU)
        machine.work(SAVE, machine.varied(job.checkpoint_s * 1e3))
        machine.steps.append(Step(machine.host_s, -1.0, 0.0))
    if job.validation_every and step % job.validation_every == 0:
        for _ in range(job.validation_batches):
            machine.work(VALIDATION_NEXT, machine.varied(job.validation_ms))
            machine.copy(TO_GPU, 0.2)
            kernel_us = job.validation_gpu_ms / VALIDATION_LAUNCHES * 1e3
            machine.launch(VALIDATION, VALIDATION_LAUNCHES, job.launch_us, kernel_us, OF_VALIDATION)
            machine.wait(VALIDATION_ITEM)
        machine.steps.append(Step(machine.host_s, -1.0, 0.0))
