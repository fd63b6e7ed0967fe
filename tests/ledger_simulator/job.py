"""What a simulated training does: how much work a step is, and what else happens in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal


@dataclass(frozen=True)
class Job:
    """Times of a step in ms, unless the name says otherwise; every duration varies by `noise`."""

    seconds: float = 180.0
    gpu_ms: float = 60.0  # of kernels
    launches: int = 450
    launch_us: float = 25.0  # of the host, each
    tiny_share: float = 0.0  # of the launches, at a step's start: kernels of 3 us
    next_ms: float = 0.3  # a loader that is ready
    decode_ms: float = 0.0  # in the main thread
    worker_ms: float = 0.0  # workers deliver a batch each so many ms
    worker_spread: float = 0.3
    prefetch: int = 4
    copy_ms: float = 0.3
    python_ms: float = 0.0  # between launches
    shadow_ms: float = 0.0  # after the launches, before the wait for the GPU
    gil_waits: int = 0
    gil_ms: float = 5.0
    item_every: int = 50  # steps; 0 for never
    layer_items: int = 0  # more waits for the GPU in the forward pass
    write_ms: float = 0.05
    write_every: int = 1
    checkpoint_every: int = 0
    checkpoint_s: float = 2.0
    validation_every: int = 0
    validation_batches: int = 40
    validation_ms: float = 40.0  # of loading, a batch
    validation_gpu_ms: float = 20.0
    collection_every_s: float = 0.0
    collection_ms: float = 150.0
    noise: float = 0.2
    collectives: Literal["", "ddp", "fsdp"] = ""
    buckets: int = 4  # collectives of a pass
    collective_ms: float = 0.0  # of one, where all ranks are there
    straggle_ms: float = 0.0  # decoding that one rank has besides
    from_half: Mapping[str, Any] = field(default_factory=dict)  # what changes at half time

    def second_half(self) -> Job:
        return replace(self, **self.from_half, from_half={})
