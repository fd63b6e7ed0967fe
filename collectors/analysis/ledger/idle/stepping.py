"""What a run that logs its steps adds: how long each waited for data beyond its lead, and its garbage collections."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ...stacks.traces import Bools, Floats, Range, overlaps


class StepLeads(NamedTuple):
    """One entry a step, in order of their ends. What stood between two steps, such as a checkpoint, is no step."""

    end_s: Floats
    data_s: Floats  # how long its data took, at its beginning
    lead_s: Floats  # by how much the host was ahead of the device at its end; NaN where unknown
    whole: Bools  # False for what is no step

    def starved(self) -> tuple[Floats, Floats]:
        """When the device surely had nothing to do for want of data: from the end of the lead to the end of the data phase."""
        begin, before = self.end_s[:-1], self.lead_s[:-1]
        chosen = self.whole[1:] & np.isfinite(before)
        starts, ends = begin + before, begin + self.data_s[1:]
        chosen &= ends > starts
        return starts[chosen], ends[chosen]

    def ahead(self, bounds: Floats, least_share: float) -> Floats:
        """Between each two bounds: of the steps that end there, how many end with the host ahead by this share of a step."""
        took = np.diff(self.end_s, prepend=np.nan)
        known = self.whole & np.isfinite(took) & np.isfinite(self.lead_s)
        which = np.searchsorted(bounds, self.end_s[known], "right") - 1
        inside = (which >= 0) & (which < len(bounds) - 1)
        count = np.bincount(which[inside], minlength=len(bounds) - 1)
        ahead = self.lead_s[known] > least_share * took[known]
        shares: Floats = np.bincount(which[inside], ahead[inside], len(bounds) - 1) / np.maximum(count, 1)
        return shares


def overlapping_s(starts: Floats, ends: Floats, bounds: Floats) -> Floats:
    """Seconds of intervals between each two neighbouring bounds."""
    i, j = overlaps(starts, ends, bounds[:-1], bounds[1:])
    seconds = np.minimum(ends[i], bounds[1:][j]) - np.maximum(starts[i], bounds[:-1][j])
    found: Floats = np.bincount(j, seconds, len(bounds) - 1).astype(np.float64)
    return found


def during(time_s: Floats, ranges: list[Range]) -> Bools:
    """Which moments lie in these ranges, which neither overlap nor stand out of order."""
    bounds = np.asarray(ranges, np.float64).reshape(-1)
    inside: Bools = np.searchsorted(bounds, time_s, "right") % 2 == 1
    return inside
