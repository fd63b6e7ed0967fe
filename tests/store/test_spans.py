"""Spans of stacks as the bytes of one profile's row, and back."""

from __future__ import annotations

import numpy as np
import pytest

from collectors.store.sqlite import codec
from collectors.store.sqlite.stacks import UNKNOWN, ProcessSpans, decode, encode

HOUR_NS = 3600 * 10**9


def busy(count: int, threads: int, seed: int = 1) -> ProcessSpans:
    """What a sampler at 100 Hz tells of threads whose every sample is another stack: each span ends where the next one begins."""
    noise = np.random.default_rng(seed)
    lengths = noise.integers(8_000_000, 12_000_000, (threads, count))
    ends = 10**18 + np.cumsum(lengths, axis=1)
    known = noise.random((threads, count)) < 0.9
    return ProcessSpans(
        start_ns=(ends - lengths).ravel(),
        duration_ns=lengths.ravel(),
        tid=np.repeat(np.arange(threads) + 4127, count),
        stack=noise.choice(noise.integers(0, 2**62, 200), threads * count),
        gil=noise.integers(-1, 2, threads * count),
        cpu_ns=np.where(known, lengths - noise.integers(0, 200_000, (threads, count)), UNKNOWN).ravel(),
        resolved=noise.integers(0, 2, threads * count),
    )


@pytest.mark.parametrize(("count", "threads"), [(0, 0), (1, 1), (2, 3), (500, 4)])
def test_spans_come_back_to_the_microsecond(count: int, threads: int) -> None:
    spans = busy(count, threads)
    shuffled = np.random.default_rng(2).permutation(len(spans.tid))
    back = decode(encode(ProcessSpans(*(column[shuffled] for column in spans))))
    for name in ("tid", "stack", "gil", "resolved"):
        assert np.array_equal(getattr(back, name), getattr(spans, name))
    for name in ("start_ns", "duration_ns", "cpu_ns"):
        assert np.abs(getattr(back, name) - getattr(spans, name)).max(initial=0) < 1000
    assert np.array_equal(back.cpu_ns == UNKNOWN, spans.cpu_ns == UNKNOWN)
    assert all(np.array_equal(*both) for both in zip(decode(encode(back)), back, strict=True)), (
        "merging loses nothing more"
    )


def test_spans_that_overlap_or_leave_gaps_come_back() -> None:
    start, length = np.array([0, 5_000, 7_000]), np.array([9_000, 1_000, 3_000])
    one = np.ones(3, np.int64)
    spans = ProcessSpans(start, length, tid=one, stack=one, gil=one, cpu_ns=UNKNOWN * one, resolved=one)
    assert all(np.array_equal(*both) for both in zip(decode(encode(spans)), spans, strict=True))


def test_spans_of_a_store_from_before_gaps_are_read() -> None:
    spans = busy(50, 2)
    stacks, index = np.unique(spans.stack, return_inverse=True)
    old = codec.encode([*spans._replace(stack=index.astype(np.int64)), stacks])
    assert all(np.array_equal(*both) for both in zip(decode(old), spans, strict=True))


def test_an_hour_of_a_busy_thread_is_below_three_megabytes() -> None:
    minute = busy(6_000, 1)
    assert len(encode(minute)) * 60 <= 3e6
