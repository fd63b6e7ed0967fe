"""Which candidate it is: the fastest that passes on the validation, timed once more beside the others, and judged on data that nothing was chosen by."""

from __future__ import annotations

import datetime
from dataclasses import dataclass, replace

from ..artifact import Artifact, write
from ..errors import ModelsError
from ..runtimes.timing import CallTimes, TimeRatio, ratio
from . import measuring
from .candidate import CandidateFound
from .making import CandidateMaker, ModelWay, measured_row
from .measuring import ShareFound

TEACHER = "teacher"


@dataclass(frozen=True)
class CompressionVerdict:
    """`accuracy`, `of_teacher` and `kept` are on the test data. `refusals` is empty for what was written to `artifact`."""

    chosen: CandidateFound
    accuracy: ShareFound
    of_teacher: ShareFound
    kept: ShareFound
    smaller: float
    times: CallTimes
    teacher_times: CallTimes  # of its fastest fp32 runtime
    faster: TimeRatio
    refusals: tuple[str, ...]
    artifact: Artifact | None = None

    def __str__(self) -> str:
        """In a sentence."""
        return (
            f"{self.chosen.choice} in {self.chosen.runtime} ({self.chosen.precision}): {self.smaller:.1f} times smaller, "
            f"{self.faster.value:.1f} times faster ({self.faster.lowest:.1f} to {self.faster.highest:.1f}), {self.accuracy} right on untouched data, "
            f"which is {self.kept} of the teacher's {self.of_teacher}"
        )


def decide(maker: CandidateMaker, found: list[CandidateFound]) -> CompressionVerdict:
    """Of those that pass, else of all, the fastest in a common timing. Only it meets the test data.

    What passes there too is written to the recipe's `out`. Raises ModelsError on a full disk.
    """
    entrants = [candidate for candidate in found if not candidate.refusals] or found
    ways = {str(place): _way(maker, candidate) for place, candidate in enumerate(entrants)}
    times = maker.timed({TEACHER: maker.reference_way, **ways})
    place = min(range(len(entrants)), key=lambda place: times[str(place)].p50_ms)
    chosen, way = entrants[place], ways[str(place)]
    teacher_N, student_N = (
        measuring.right(each.session, maker.data, maker.data.test) for each in (maker.reference_way, way)
    )
    kept, faster = measuring.kept(teacher_N, student_N), ratio(times[TEACHER], times[str(place)])
    verdict = CompressionVerdict(
        chosen,
        measuring.share(student_N),
        measuring.share(teacher_N),
        kept,
        chosen.smaller,
        times[str(place)],
        times[TEACHER],
        faster,
        maker.recipe.gates.refusals(chosen.smaller, kept, faster),
    )
    if verdict.refusals:
        return verdict
    rows = [measured_row(way, times[str(place)], maker.recipe.threads, str(datetime.date.today()))]
    return replace(verdict, artifact=_written(maker, verdict, rows))


def refused(verdict: CompressionVerdict, work: object) -> ModelsError:
    """The sentence for a compression without a candidate that passes."""
    return ModelsError(
        f"no candidate passes; the nearest is {verdict.chosen.choice}: {'; '.join(verdict.refusals)}; all of them are in {work}"
    )


def _way(maker: CandidateMaker, candidate: CandidateFound) -> ModelWay:
    return next(
        way
        for way in maker.ways(candidate.artifact)
        if (way.runtime, way.precision) == (candidate.runtime, candidate.precision)
    )


def _written(maker: CandidateMaker, verdict: CompressionVerdict, rows: list[dict[str, object]]) -> Artifact:
    artifact, share = verdict.chosen.artifact, verdict.accuracy
    accuracy = {
        "value": share.value,
        "lowest": share.lowest,
        "highest": share.highest,
        "items": share.items,
        "data": f"{maker.data.name}, test",
    }
    accuracy |= {"kept": verdict.kept.value, "kept_lowest": verdict.kept.lowest, "teacher": verdict.of_teacher.value}
    manifest = replace(artifact.manifest, name=maker.recipe.out.name, measured=tuple(rows), accuracy=accuracy, files={})
    return write(maker.recipe.out, artifact.model, manifest, artifact.golden().inputs)
