"""Buckets of a curve as columns on its axis."""

from __future__ import annotations

from typing_extensions import TypedDict

from collectors.store.protocol import Buckets

from ..answer import Column, Counts, Gaps


class BucketColumns(TypedDict):
    x: Column
    x_end: Column
    segment: Counts
    min: Gaps
    max: Gaps
    mean: Gaps
    count: Counts
    non_finite: Counts
    points_total: int


def bucket_columns(buckets: Buckets) -> BucketColumns:
    return {
        "x": buckets.t,
        "x_end": buckets.t_end,
        "segment": buckets.segment,
        "min": buckets.min,
        "max": buckets.max,
        "mean": buckets.mean,
        "count": buckets.count,
        "non_finite": buckets.non_finite,
        "points_total": buckets.points_total,
    }
