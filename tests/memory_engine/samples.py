"""Samples of data of one run: what is kept of them, what they are called, which are asked for."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

from collectors.records import (
    Sample,
)
from collectors.store.store import (
    MAX_SAMPLE_BYTES,
    MAX_SAMPLE_NAMES,
    MAX_SAMPLES,
    SampleName,
    SampleNames,
    SampleQuery,
)


class RunSamples:
    """`samples`: of all runs, in order of arrival."""

    def __init__(self, run: str, samples: Sequence[Sample]) -> None:
        self._kept: list[Sample] = []  # with their numbers
        self._left_out = 0  # beyond the limits
        counts: dict[str, int] = defaultdict(int)
        size = 0
        for number, sample in enumerate(samples, 1):
            if sample.run == run:
                fits = counts[sample.kind] < MAX_SAMPLES and size + len(sample.data) <= MAX_SAMPLE_BYTES
                self._kept += [sample._replace(number=number)] if fits else []
                counts[sample.kind] += fits
                size += len(sample.data) * fits
                self._left_out += not fits

    def names(self) -> SampleNames:
        names = sorted({sample.name for sample in self._kept})
        shown = [
            _summed_up(name, [sample for sample in self._kept if sample.name == name])
            for name in names[:MAX_SAMPLE_NAMES]
        ]
        return SampleNames(shown, len(names) - len(shown), self._left_out)

    def read(self, query: SampleQuery) -> list[Sample]:
        found = [sample for sample in self._kept if _is_asked(sample, query)]
        if query.name is not None:
            found.sort(key=lambda sample: (-math.inf if sample.step is None else sample.step, sample.number))
            found = found[max(0, len(found) - query.limit) :]
        return [sample if query.data else sample._replace(data=b"") for sample in found[: query.limit]]


def _is_asked(sample: Sample, query: SampleQuery) -> bool:
    name_fits, number_fits = query.name in (None, sample.name), query.number in (None, sample.number)
    lo, hi = query.from_step, query.to_step
    inside = (
        lo is None and hi is None
        if sample.step is None
        else (sample.step if lo is None else lo) <= sample.step <= (sample.step if hi is None else hi)
    )
    return name_fits and number_fits and sample.number > query.after and inside


def _summed_up(name: str, samples: Sequence[Sample]) -> SampleName:
    steps = [sample.step for sample in samples if sample.step is not None]
    times = [sample.time_s for sample in samples if sample.time_s is not None]
    ends = min(steps, default=None), max(steps, default=None), min(times, default=None), max(times, default=None)
    return SampleName(name, tuple(sorted({sample.kind for sample in samples})), len(samples), *ends)
