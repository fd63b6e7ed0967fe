"""Compresses a model step by step in a work folder, resumable."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..artifact.write import require_free
from ..errors import ModelsError, cannot_write, needed
from . import data as images
from . import train
from .candidates import CandidateMaker, WorkFolder
from .recipe import CompressionRecipe
from .search import CompressionVerdict, decide, search

if TYPE_CHECKING:
    from deepseek.trainer.run_log import RunLog


def compress(recipe: CompressionRecipe, progress: Callable[[str], None] = lambda sentence: None) -> CompressionVerdict:
    """The verdict has the artifact, or says which gates its best candidate does not pass. `progress` gets a sentence an epoch and a candidate.

    What was made stays in the recipe's `work`; called again, it goes on there. Raises ModelsError for what the user can change.
    """
    recipe.require()
    require_free(recipe.out)
    train.require(recipe.teacher)
    data = images.load(recipe.data, recipe.images)
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
    kept = needed("deepseek.trainer.run_log")
    try:
        log: RunLog = kept.RunLog(
            recipe.logs, recipe.run, kind="compression", unit="candidate", name="compress", config=recipe.config()
        )
    except OSError as error:
        raise cannot_write(recipe.logs, error) from error
    except ValueError as error:  # a name that leaves the folder
        raise ModelsError(str(error)) from error
    return log
