"""Out of memory: find a batch that fits by trying, which alone includes the allocator, the kernels and other programs."""

from __future__ import annotations

import gc
from collections.abc import Callable

import torch

from .data.sample_order import Batch, Data, Place
from .models.recompute import recompute
from .options import Config
from .precision import Precision
from .tasks import TASKS

PRECISE_SHARE = 8  # the search ends less than an eighth below the largest batch
SPARE_SHARE = 10  # of what fits, a tenth is left for what differs from run to run


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether memory ran out: on a GPU, or on a CPU with limited process memory. Elsewhere Linux kills the process instead."""
    return isinstance(error, torch.OutOfMemoryError) or any(
        words in str(error) for words in ("out of memory", "can't allocate memory", "CUBLAS_STATUS_ALLOC_FAILED")
    )


def advice(config: Config, data: Data, device: torch.device, numbers: Precision) -> str:
    """One sentence. Call it when nothing references the failed model any more."""
    gc.unfreeze()
    gc.collect()  # shared and recomputed models refer to themselves
    asked = f"{config.task} {config.size} in {numbers.name} runs out of memory with --batch {config.batch}"
    less = "--size tiny" if config.checkpointing else "--checkpointing"
    largest = largest_batch(config.batch, lambda batch: fits(batch, config, data, device, numbers))
    batch = largest - largest // SPARE_SHARE
    if batch == 0:
        return f"{asked}, and with a single sample, too: try {less}"
    micro_batches = -(-config.batch * config.accumulate // batch)
    return f"{asked}: {batch} fits; the same number of samples a step is --batch {batch} --accumulate {micro_batches}, or try {less}"


def largest_batch(too_large: int, fits: Callable[[int], bool]) -> int:
    """0 when not even one sample fits."""
    found = 0
    while too_large - found > max(1, found // PRECISE_SHARE):
        middle = (found + too_large) // 2
        if fits(middle):
            found = middle
        else:
            too_large = middle
    return found


def fits(batch: int, config: Config, data: Data, device: torch.device, numbers: Precision) -> bool:
    """Train a model of its own for one step."""
    sample = data[Place(0, "fitting")]
    try:
        _step((_repeated(sample[0], batch), _repeated(sample[1], batch)), config, device, numbers)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        return False
    return True


def _repeated(sample: torch.Tensor, batch: int) -> torch.Tensor:
    return sample.unsqueeze(0).repeat(batch, *[1] * sample.dim())


def _step(batch: Batch, config: Config, device: torch.device, numbers: Precision) -> None:
    task = TASKS[config.task]
    model = task.model(task.sizes[config.size].shape).to(device)
    if config.checkpointing:
        recompute(model)
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    with numbers.autocast(device):
        loss = model(*(part.to(device) for part in batch))
    loss.backward()
    optimizer.step()
