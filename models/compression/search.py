"""A search over the student's width, its bits and the temperature, by Optuna; what was tried stays in a file, and a stopped search goes on."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import cannot_write
from ..extras import needed
from .candidate import BITS, TEMPERATURES, WIDTHS, CandidateChoice, CandidateFound, StudentChoice

if TYPE_CHECKING:
    from .making import CandidateMaker

JOURNAL, STUDY = "search.log", "compression"
ALONE = 0.0  # the temperature of a student without a teacher


def search(maker: CandidateMaker, trials: int) -> list[CandidateFound]:
    """The candidates of so many trials, with those of earlier calls on the same work folder: high accuracy and low latency, both.

    A choice that comes again is not made again. Raises ModelsError on a full disk.
    """
    optuna = needed("optuna")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    found: dict[CandidateChoice, CandidateFound] = {}
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
    maker: CandidateMaker, found: dict[CandidateChoice, CandidateFound], params: dict[str, Any]
) -> CandidateFound:
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
