"""Whether an attempt ended because memory ran out: of a card, or of the host."""

from __future__ import annotations

import os
import re
from pathlib import Path

from collectors.process.last_words import killed_for_memory

from .plain_file import open_plain

TAIL_BYTES = 64 << 10
SAID = re.compile(
    rb"torch(?:\.cuda)?\.OutOfMemoryError|CUDA out of memory|CUDA error: out of memory|cudaErrorMemoryAllocation|CUBLAS_STATUS_ALLOC_FAILED"
    rb"|RESOURCE_EXHAUSTED: Out of memory|^(?:numpy\.[\w.]*)?(?:_Array)?MemoryError\b|DefaultCPUAllocator: can't allocate memory"
    rb"|runs out of memory with --batch",
    re.MULTILINE,
)
NEAR = 0.95  # of the slot's memory: SIGKILL there is the kernel's
SIGKILL = -9


def out_of_memory(
    code: int | None, output: Path, process: tuple[int, int] | None, peak_mib: float, limit_mib: float | None
) -> bool:
    """`code` as of an AttemptEnd, `output` its output.log, `process` its pid and start ticks; peak and limit on one slot."""
    if code in (None, 0):
        return False
    if code == SIGKILL:
        near = limit_mib is not None and peak_mib >= NEAR * limit_mib
        return near or (process is not None and killed_for_memory(*process))
    return SAID.search(tail_of(output)) is not None


def tail_of(path: Path, most_bytes: int = TAIL_BYTES) -> bytes:
    """b"" where it cannot be read."""
    try:
        with open_plain(path) as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - most_bytes))
            return file.read(most_bytes)
    except OSError:
        return b""
