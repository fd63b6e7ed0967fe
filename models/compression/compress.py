"""Compresses a model step by step in a work folder, resumable."""

from __future__ import annotations

import datetime
import shlex
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from deepseek.log import RunLog

from ..artifact import Artifact, write
from ..artifact.write import require_free
from ..errors import ModelsError, cannot_write, needed
from ..runtimes.pick import CallTimes, TimeRatio, ratio
from . import measure, train
from .candidates import CandidateMaker, ModelWay, WorkFolder, measured_row
from .data import load
from .measure import ShareEstimate
from .recipe import BITS, TEMPERATURES, WIDTHS, CandidateChoice, CandidateResult, CompressionRecipe, StudentChoice

# Searches width, bits and temperature with Optuna, and decides on the result.

JOURNAL, STUDY = "search.log", "compression"
ALONE = 0.0  # the temperature of a student without a teacher


def search(maker: CandidateMaker, trials: int) -> list[CandidateResult]:
    """The candidates of so many trials, with those of earlier calls on the same work folder: high accuracy and low latency, both.

    A choice that comes again is not made again. Raises ModelsError on a full disk.
    """
    optuna = needed("optuna")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    found: dict[CandidateChoice, CandidateResult] = {}
    try:
        study = _study(optuna, maker.work.path / JOURNAL)
        for params in _tried(optuna, study):
            _candidate(maker, found, params)
        while len(study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))) < trials:
            trial = study.ask(_space(optuna))
            candidate = _candidate(maker, found, trial.params)
            study.tell(trial, [candidate.accuracy.value, candidate.times.p50_ms])
    except OSError as error:
        raise cannot_write(maker.work.path / JOURNAL, error) from error
    return list(found.values())


def choice_of(params: dict[str, Any]) -> CandidateChoice:
    return CandidateChoice(StudentChoice(params["width"], params["temperature"] or None), params["bits"])


def _candidate(
    maker: CandidateMaker, found: dict[CandidateChoice, CandidateResult], params: dict[str, Any]
) -> CandidateResult:
    choice = choice_of(params)
    if choice not in found:
        found[choice] = maker.candidate(choice)
    return found[choice]


def _study(optuna: Any, path: Path) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(path)))
        sampler = optuna.samplers.TPESampler(seed=0, multivariate=True)
        return optuna.create_study(
            study_name=STUDY, storage=storage, sampler=sampler, directions=["maximize", "minimize"], load_if_exists=True
        )


def _space(optuna: Any) -> dict[str, Any]:
    kinds = optuna.distributions.CategoricalDistribution
    return {"width": kinds(WIDTHS), "bits": kinds(tuple(BITS)), "temperature": kinds((ALONE, *TEMPERATURES))}


def _tried(optuna: Any, study: Any) -> Iterator[dict[str, Any]]:
    """What earlier calls tried to the end; what they were stopped in is marked as failed."""
    states = optuna.trial.TrialState
    for trial in study.get_trials(states=(states.RUNNING,)):
        study.tell(trial.number, state=states.FAIL)
    for trial in study.get_trials(states=(states.COMPLETE,)):
        yield trial.params


# Which candidate it is: the fastest that passes on the validation, timed once more beside the others, and judged on data that nothing was chosen by.

TEACHER = "teacher"


@dataclass(frozen=True)
class CompressionVerdict:
    """`accuracy`, `of_teacher` and `kept` are on the test data. `refusals` is empty for what was written to `artifact`."""

    chosen: CandidateResult
    accuracy: ShareEstimate
    of_teacher: ShareEstimate
    kept: ShareEstimate
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


def decide(maker: CandidateMaker, found: list[CandidateResult]) -> CompressionVerdict:
    """Of those that pass, else of all, the fastest in a common timing. Only it meets the test data.

    What passes there too is written to the recipe's `out`. Raises ModelsError on a full disk.
    """
    entrants = [candidate for candidate in found if not candidate.refusals] or found
    ways = {str(place): _way(maker, candidate) for place, candidate in enumerate(entrants)}
    times = maker.timed({TEACHER: maker.reference_way, **ways})
    place = min(range(len(entrants)), key=lambda place: times[str(place)].p50_ms)
    chosen, way = entrants[place], ways[str(place)]
    teacher_N, student_N = (
        measure.right(each.session, maker.data, maker.data.test) for each in (maker.reference_way, way)
    )
    kept, faster = measure.kept(teacher_N, student_N), ratio(times[TEACHER], times[str(place)])
    verdict = CompressionVerdict(
        chosen,
        measure.share(student_N),
        measure.share(teacher_N),
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


def _way(maker: CandidateMaker, candidate: CandidateResult) -> ModelWay:
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


def compress(recipe: CompressionRecipe, progress: Callable[[str], None] = lambda sentence: None) -> CompressionVerdict:
    """The verdict has the artifact, or says which gates its best candidate does not pass. `progress` gets a sentence an epoch and a candidate.

    What was made stays in the recipe's `work`; called again, it goes on there. Raises ModelsError for what the user can change.
    """
    recipe.require()
    require_free(recipe.out)
    train.require(recipe.teacher)
    data = load(recipe.data, recipe.images)
    with WorkFolder(recipe.work, recipe.about()) as work, _run(recipe) as log:
        progress(
            f"the run {log.run} is in {recipe.logs}: deepseek-dashboard --log-dir {shlex.quote(str(recipe.logs))} shows it"
        )
        maker = CandidateMaker(recipe, data, work, log, progress)
        maker.teacher()
        found = (
            search(maker, recipe.trials) if recipe.trials else [maker.candidate(choice) for choice in recipe.choices()]
        )
        verdict = decide(maker, found)
        log.text(
            str(verdict)
            if verdict.artifact
            else f"no candidate passes; the nearest: {verdict}; {'; '.join(verdict.refusals)}"
        )
        return verdict


def _run(recipe: CompressionRecipe) -> RunLog:
    try:
        return RunLog(
            recipe.logs, recipe.run, kind="compression", unit="candidate", name="compress", config=recipe.config()
        )
    except OSError as error:
        raise cannot_write(recipe.logs, error) from error
    except ValueError as error:  # a name that leaves the folder
        raise ModelsError(str(error)) from error
