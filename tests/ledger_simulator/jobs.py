"""Which jobs are simulated: named ones with one cause or two, and random ones with one to three causes of random size."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import numpy as np

from .job import Job

SCENARIOS: Final = {
    "healthy": Job(),
    "loader in main": Job(decode_ms=90),
    "loader in workers": Job(worker_ms=85),
    "a wait every step": Job(gpu_ms=30, item_every=1, tiny_share=0.25),
    "ten waits a step": Job(seconds=90, gpu_ms=30, item_every=1, layer_items=10, tiny_share=0.1),
    "launch-bound": Job(seconds=120, launches=3000, launch_us=12, gpu_ms=18),
    "GIL": Job(gpu_ms=30, gil_waits=8),
    "checkpoint": Job(checkpoint_every=200, checkpoint_s=2.2, seconds=300),
    "slow writer after .item()": Job(gpu_ms=50, item_every=1, write_ms=15),
    "validation": Job(validation_every=150, seconds=300),
    "garbage collection": Job(collection_every_s=1.2, collection_ms=250),
    "data and Python": Job(gpu_ms=40, item_every=1, decode_ms=18, python_ms=22, launch_us=20),
    "log and data": Job(gpu_ms=40, item_every=0, write_ms=30, decode_ms=20),
    "half data, half launch-bound": Job(
        seconds=240, decode_ms=90, from_half={"decode_ms": 0.0, "launches": 3000, "launch_us": 12, "gpu_ms": 18}
    ),
    "short steps, data": Job(seconds=120, gpu_ms=3, launches=60, launch_us=20, worker_ms=5, copy_ms=0.05),
    "short steps, waits": Job(
        seconds=90, gpu_ms=3, launches=60, launch_us=20, item_every=1, tiny_share=0.3, copy_ms=0.05, next_ms=0.2
    ),
    "long steps, data": Job(seconds=600, gpu_ms=1400, launches=6000, launch_us=25, worker_ms=2000, worker_spread=0.2),
    "hidden Python": Job(gpu_ms=60, item_every=1, shadow_ms=25, tiny_share=0.3),
}
CAUSES = (
    "decode",
    "worker",
    "python",
    "shadow",
    "gil",
    "write",
    "checkpoint",
    "validation",
    "gc",
    "sync",
    "tiny",
    "layer",
)
MAX_PORTIONS = 20_000  # of launches that are worked out: a job with more is shorter
MIN_S = 75.0


def random_job(seed: int) -> Job:
    random = np.random.default_rng(seed)
    job = _base(random)
    for cause in random.choice(CAUSES, size=int(random.integers(1, 4)), replace=False):
        job = replace(job, **_cause(str(cause), job, random))
    return _shortened(job)


def healthy_job(seed: int) -> Job:
    """The same without a cause; a loop that is not bound by its launches."""
    random = np.random.default_rng(seed)
    job = replace(_base(random), item_every=int(random.choice([10, 50, 0])), tiny_share=0.0)
    return _shortened(
        replace(job, launches=min(job.launches, int(job.gpu_ms * 1e3 / job.launch_us / 2)), copy_ms=0.002 * job.gpu_ms)
    )


def _base(random: np.random.Generator) -> Job:
    gpu_ms = _log_uniform(random, 4, 800)
    return Job(
        seconds=180 if gpu_ms < 300 else 400,
        gpu_ms=gpu_ms,
        launches=int(np.clip(_log_uniform(random, 60, 1500), 40, gpu_ms * 1e3 / 8)),
        launch_us=float(random.uniform(12, 30)),
        item_every=int(random.choice([1, 10, 50, 0])),
        copy_ms=gpu_ms * float(random.uniform(0, 0.01)),
        tiny_share=float(random.choice([0, 0, 0.2])),
        next_ms=min(0.3, gpu_ms / 50),
    )


def _cause(cause: str, job: Job, random: np.random.Generator) -> dict[str, Any]:
    gpu_ms = job.gpu_ms
    size_ms = gpu_ms * _log_uniform(random, 0.1, 1.5)
    match cause:
        case "decode":
            return {"decode_ms": size_ms}
        case "worker":
            return {"worker_ms": gpu_ms + size_ms, "worker_spread": float(random.uniform(0.05, 0.5))}
        case "python":
            return {"python_ms": size_ms}
        case "shadow":
            return {"shadow_ms": gpu_ms * float(random.uniform(0.1, 0.6))}
        case "gil":
            return {"gil_waits": int(np.clip(size_ms / 5, 1, 40))}
        case "write":
            return {"write_ms": size_ms}
        case "checkpoint":
            return {"checkpoint_every": max(5, int(12e3 / gpu_ms)), "checkpoint_s": _log_uniform(random, 0.5, 4)}
        case "validation":
            loading, kernels = _log_uniform(random, 10, 100), _log_uniform(random, 5, 60)
            every = max(5, int(15e3 / gpu_ms))
            return {
                "validation_every": every,
                "validation_batches": 30,
                "validation_ms": loading,
                "validation_gpu_ms": kernels,
            }
        case "gc":
            return {"collection_every_s": _log_uniform(random, 0.5, 4), "collection_ms": _log_uniform(random, 60, 400)}
        case "sync":
            return {"item_every": 1}
        case "tiny":
            return {"launches": int(np.clip(gpu_ms * 1e3 / random.uniform(5, 12), 100, 6000))}
        case _:
            return {"layer_items": int(random.integers(2, 12)), "item_every": 1}


def _log_uniform(random: np.random.Generator, lo: float, hi: float) -> float:
    return float(np.exp(random.uniform(np.log(lo), np.log(hi))))


def _shortened(job: Job) -> Job:
    portions = job.launches / 128 * job.seconds / (job.gpu_ms / 1e3)
    return job if portions <= MAX_PORTIONS else replace(job, seconds=max(MIN_S, job.seconds * MAX_PORTIONS / portions))
